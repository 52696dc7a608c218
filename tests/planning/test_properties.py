"""What must hold for every world, however it came about."""

from __future__ import annotations

from hypothesis import given

from kvsync.model.entry import Identity, Mode
from kvsync.model.plan import TargetPlan
from kvsync.model.policy import Adopt, Policy, Prune
from tests.planning.worlds import NO_GUARD, NOW, OWNER, World, worlds


def _is_ours(world: World, identity: object) -> bool:
    held = world.store.get(identity)  # type: ignore[call-overload]
    return held is not None and held.mark is not None and held.mark.owner == OWNER


def _untouchable(world: World, plan: TargetPlan) -> set[object]:
    """What no plan may change: what another owner marked, and what nobody marked unless a policy says otherwise, or the mark
    is lost of an entry that the files still want."""
    policy = world.desired.policy
    is_open = policy.prune is Prune.SCOPE or policy.adopt is not Adopt.NEVER
    return {
        identity
        for identity, held in world.store.items()
        if not _is_ours(world, identity)
        and (held.mark is not None or not (is_open or _has_lost_its_mark(world, identity)))
    }


def _has_lost_its_mark(world: World, identity: Identity) -> bool:
    """True for an entry that the files want and the ledger knows as ours, found without any mark."""
    last, held = world.applied.get(identity), world.store[identity]
    return identity in world.desired.entries and held.mark is None and last is not None and not last.has_ended


@given(worlds())
def test_a_second_plan_is_empty(world: World) -> None:
    """Once a plan is applied, planning again finds nothing more to do."""
    world.apply(world.plan().changes)
    again = world.plan()
    assert again.changes == ()


@given(worlds())
def test_what_is_ours_becomes_what_is_desired(world: World) -> None:
    """After applying, every enforced entry is in the store as desired, unless it was refused, ended, or is ignored."""
    plan = world.plan()
    world.apply(plan.changes)
    refused = {refusal.identity for refusal in plan.refused}
    for identity, one in world.desired.entries.items():
        ended = (one.expires_at or NOW + 1) <= NOW
        if identity in refused or ended or one.mode is not Mode.ENFORCE or identity.key in world.desired.policy.ignore:
            continue
        assert world.store[identity].fingerprint == one.fingerprint
        assert _is_ours(world, identity)


@given(worlds(Policy(prune=Prune.OWNED, guard=NO_GUARD)))
def test_what_is_ours_and_undesired_is_gone(world: World) -> None:
    """With prune: owned nothing of ours stays that the files do not ask for, but what was refused."""
    plan = world.plan()
    world.apply(plan.changes)
    refused = {refusal.identity for refusal in plan.refused}
    assert not [
        identity
        for identity in world.store
        if _is_ours(world, identity) and identity not in world.desired.entries and identity not in refused
    ]


@given(worlds())
def test_what_is_not_ours_is_never_touched(world: World) -> None:
    """Entries of another owner never, entries of nobody only as policy.adopt and prune: scope say, and entries that lost their
    mark are never deleted for that."""
    plan = world.plan()
    touched = {change.identity for change in plan.changes}
    assert not touched & _untouchable(world, plan)
    for change in plan.changes:
        if change.before is None or change.before.mark is not None:
            continue
        if change.after is None:
            assert world.desired.policy.prune is Prune.SCOPE
        elif not _has_lost_its_mark(world, change.identity):
            equal = change.before.fingerprint == change.after.fingerprint
            assert world.desired.policy.adopt is Adopt.ALWAYS or (
                world.desired.policy.adopt is Adopt.IF_EQUAL and equal
            )


@given(worlds(Policy(prune=Prune.OFF, guard=NO_GUARD)))
def test_prune_off_deletes_only_what_is_named_or_ended(world: World) -> None:
    """With prune: off only `absent` keys and entries that ended as declared are deleted."""
    for change in world.plan().changes:
        if change.after is None:
            assert change.identity.key in world.desired.absent or change.cause == "expired"


@given(worlds())
def test_protected_and_locked_entries_are_left_alone(world: World) -> None:
    """Nothing that bears a protected mark or a lock is overwritten or deleted without being told."""
    for change in world.plan().changes:
        before = change.before
        if before is None or change.action in ("renew", "adopt"):
            continue
        assert not before.locked
        protected = before.mark is not None and before.mark.owner == OWNER and before.mark.protected
        assert not protected or change.cause == "expired"


@given(worlds())
def test_every_change_keeps_the_version_it_saw(world: World) -> None:
    """A change of something that exists carries it, so that applying can insist on that version; a create has none."""
    for change in world.plan().changes:
        assert (change.before is None) == (change.action == "create")
        assert change.before is None or change.before == world.store[change.identity]


@given(worlds())
def test_the_order_of_the_input_never_matters(world: World) -> None:
    """The same facts in another order give the same plan and the same digest."""
    first = world.plan()
    world.store = dict(reversed(world.store.items()))
    world.desired = type(world.desired)(
        world.desired.target,
        dict(reversed(list(world.desired.entries.items()))),
        dict(reversed(list(world.desired.settled.items()))),
        world.desired.digest,
        world.desired.policy,
        world.desired.absent,
    )
    assert world.plan() == first


@given(worlds())
def test_every_entry_is_accounted_for(world: World) -> None:
    """Every identity on either side is a change, a refusal, reported, or in one of the counts."""
    plan = world.plan()
    live = {key for key, one in world.store.items() if one.expires_at is None or one.expires_at > world.now}
    listed = len(plan.changes) + len(plan.refused) + len(plan.reported)
    counted = plan.unchanged + plan.foreign + plan.ignored + plan.expired
    assert listed + counted == len(live | world.desired.entries.keys())
