"""What must hold for every target, however its state came about."""

from __future__ import annotations

from hypothesis import given

from kvsync.model.entry import Identity, Mode
from kvsync.model.plan import TargetPlan
from kvsync.model.policy import Adopt, Policy, Prune
from tests.planning.target_model import NO_GUARD, NOW, OWNER, TargetModel, models


def _is_ours(model: TargetModel, identity: object) -> bool:
    held = model.store.get(identity)  # type: ignore[call-overload]
    return held is not None and held.mark is not None and held.mark.owner == OWNER


def _untouchable(model: TargetModel, plan: TargetPlan) -> set[object]:
    """What no plan may change: what another owner marked, and what nobody marked unless a policy says otherwise, or the mark
    is lost of an entry that the files still want."""
    policy = model.desired.policy
    is_open = policy.prune is Prune.SCOPE or policy.adopt is not Adopt.NEVER
    return {
        identity
        for identity, held in model.store.items()
        if not _is_ours(model, identity)
        and (held.mark is not None or not (is_open or _has_lost_its_mark(model, identity)))
    }


def _has_lost_its_mark(model: TargetModel, identity: Identity) -> bool:
    """True for an entry that the files want and the ledger knows as ours, found without any mark."""
    last, held = model.applied.get(identity), model.store[identity]
    return identity in model.desired.entries and held.mark is None and last is not None and not last.has_ended


@given(models())
def test_a_second_plan_is_empty(model: TargetModel) -> None:
    """Once a plan is applied, planning again finds nothing more to do."""
    model.apply(model.plan().changes)
    again = model.plan()
    assert again.changes == ()


@given(models())
def test_what_is_ours_becomes_what_is_desired(model: TargetModel) -> None:
    """After applying, every enforced entry is in the store as desired, unless it was refused, ended, or is ignored. It is ours,
    unless it is locked there and needed no change."""
    plan = model.plan()
    model.apply(plan.changes)
    refused = {refusal.identity for refusal in plan.refused}
    for identity, one in model.desired.entries.items():
        ended = (one.expires_at or NOW + 1) <= NOW
        if identity in refused or ended or one.mode is not Mode.ENFORCE or identity.key in model.desired.policy.ignore:
            continue
        assert model.store[identity].fingerprint == one.fingerprint
        assert _is_ours(model, identity) or model.store[identity].locked


@given(models(Policy(prune=Prune.OWNED, guard=NO_GUARD)))
def test_what_is_ours_and_undesired_is_gone(model: TargetModel) -> None:
    """With prune: owned nothing of ours stays that the files do not ask for, but what was refused."""
    plan = model.plan()
    model.apply(plan.changes)
    refused = {refusal.identity for refusal in plan.refused}
    assert not [
        identity
        for identity in model.store
        if _is_ours(model, identity) and identity not in model.desired.entries and identity not in refused
    ]


@given(models())
def test_what_is_not_ours_is_never_touched(model: TargetModel) -> None:
    """Entries of another owner never, entries of nobody only as policy.adopt and prune: scope say, and entries that lost their
    mark are never deleted for that."""
    plan = model.plan()
    touched = {change.identity for change in plan.changes}
    assert not touched & _untouchable(model, plan)
    for change in plan.changes:
        if change.before is None or change.before.mark is not None:
            continue
        if change.after is None:
            assert model.desired.policy.prune is Prune.SCOPE
        elif not _has_lost_its_mark(model, change.identity):
            equal = change.before.fingerprint == change.after.fingerprint
            assert model.desired.policy.adopt is Adopt.ALWAYS or (
                model.desired.policy.adopt is Adopt.IF_EQUAL and equal
            )


@given(models(Policy(prune=Prune.OFF, guard=NO_GUARD)))
def test_prune_off_deletes_only_what_is_named_or_ended(model: TargetModel) -> None:
    """With prune: off only `absent` keys and entries that ended as declared are deleted."""
    for change in model.plan().changes:
        if change.after is None:
            assert change.identity.key in model.desired.absent or change.cause == "expired"


@given(models())
def test_protected_and_locked_entries_are_left_alone(model: TargetModel) -> None:
    """Nothing that bears a protected mark or a lock is overwritten or deleted without being told."""
    for change in model.plan().changes:
        before = change.before
        if before is None or change.action in ("renew", "adopt"):
            continue
        assert not before.locked
        protected = before.mark is not None and before.mark.owner == OWNER and before.mark.protected
        assert not protected or change.cause == "expired"


@given(models())
def test_every_change_keeps_the_version_it_saw(model: TargetModel) -> None:
    """A change of something that exists carries it, so that applying can insist on that version; a create has none."""
    for change in model.plan().changes:
        assert (change.before is None) == (change.action == "create")
        assert change.before is None or change.before == model.store[change.identity]


@given(models())
def test_the_order_of_the_input_never_matters(model: TargetModel) -> None:
    """The same facts in another order give the same plan and the same digest."""
    first = model.plan()
    model.store = dict(reversed(model.store.items()))
    model.desired = type(model.desired)(
        model.desired.target,
        dict(reversed(list(model.desired.entries.items()))),
        dict(reversed(list(model.desired.settled.items()))),
        model.desired.digest,
        model.desired.policy,
        model.desired.absent,
    )
    assert model.plan() == first


@given(models())
def test_every_entry_is_accounted_for(model: TargetModel) -> None:
    """Every identity on either side is a change, a refusal, reported, or in one of the counts."""
    plan = model.plan()
    live = {key for key, one in model.store.items() if one.expires_at is None or one.expires_at > model.now}
    listed = len(plan.changes) + len(plan.refused) + len(plan.reported)
    counted = plan.unchanged + plan.foreign + plan.ignored + plan.expired
    assert listed + counted == len(live | model.desired.entries.keys())
