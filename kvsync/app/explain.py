"""Explains why an entry has its action, from the files, the store, and what was last applied."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from kvsync.app import Workspace, resolve_targets
from kvsync.apply.read_back import shown_etag
from kvsync.desired import DesiredState
from kvsync.errors import StoreError
from kvsync.model.capabilities import Capabilities
from kvsync.model.change import DRIFT_CLASSES, Action, Change, Class, Refusal
from kvsync.model.desired import Desired
from kvsync.model.entry import Actual, Applied, Entry, Identity, Mode, Target, identity_order
from kvsync.model.pass_options import PassOptions
from kvsync.model.plan import TargetPlan
from kvsync.model.policy import Policy, Prune
from kvsync.planning.compare import key_matcher
from kvsync.reconcile import TargetPass
from kvsync.state import ChangeRecord, ParkedRecord, Pause
from kvsync.util.concurrency import gather_or_cancel

_NOT_MANAGED = Policy(prune=Prune.OFF)
"""Of a target that no file names."""

KEPT = 5
"""How many of its last changes an entry is shown with."""


@dataclass(frozen=True, slots=True)
class EntryExplanation:
    """Explanation of one entry. `verdict` is what is to be done about it, None for nothing; `reported` says that it is only
    reported. `why` are sentences, in order; `error` is why the store could not be asked."""

    target: Target
    identity: Identity
    entry: Entry | None
    actual: Actual | None
    applied: Applied | None
    verdict: Change | Refusal | None
    reported: bool
    why: tuple[str, ...]
    changes: tuple[ChangeRecord, ...]
    error: str | None = None


async def explain(
    workspace: Workspace, loaded: DesiredState, key: str, label: str | None = None, targets: Sequence[str] = ()
) -> tuple[EntryExplanation, ...]:
    """Explain every entry with this key (and this label, unless it is None) in the targets, all of them when none is named.
    Raises UsageError when a target does not exist, StateDirError."""
    ask = PassOptions(keys=(glob.escape(key),))
    left = {} if targets else _left_targets(workspace, loaded, key)
    loaded = replace(loaded, targets={**loaded.targets, **left})
    chosen = resolve_targets(loaded, targets) or sorted(loaded.managed)
    passes = await gather_or_cancel(_open_pass(workspace, loaded, target, ask) for target in chosen)
    explained = await gather_or_cancel(_of_target(workspace, loaded, one, key) for one in passes)
    found = (one for part in explained for one in part)
    return tuple(one for one in found if label is None or one.identity.label == label)


def _left_targets(workspace: Workspace, loaded: DesiredState, key: str) -> dict[Target, Desired]:
    """The targets that no file names any more, and in which kvsync still owns an entry with this key; nothing is wanted of
    them."""
    places, ledger = workspace.state.places.all(), workspace.state.ledger
    known = {target: one.place for target, one in places.items() if target in loaded.managed}
    return {
        target: Desired(target, {}, {}, digest="", policy=_NOT_MANAGED)
        for target, one in places.items()
        if target not in known and target.store in workspace.stores and one.place not in known.values()
        if any(name.key == key for name in ledger.all(one.place))
    }


async def _open_pass(workspace: Workspace, loaded: DesiredState, target: Target, ask: PassOptions) -> TargetPass:
    """A pass over the target where it leads; where that cannot be found out, the plan of the pass says why."""
    try:
        place = await workspace.find_place(target)
    except StoreError:
        place = workspace.stores[target.store].place(target.namespace)
    return workspace.target_pass(target, place, loaded, ask)


async def _of_target(
    workspace: Workspace, loaded: DesiredState, target_pass: TargetPass, key: str
) -> list[EntryExplanation]:
    target, observer = target_pass.target, target_pass.observer
    plan = await target_pass.plan()
    desired = loaded.targets.get(target) or Desired(target, {}, {}, digest="")
    store = workspace.stores[target.store]
    held = {} if plan.error else await target_pass.held(key)
    judged: tuple[Change | Refusal, ...] = (*plan.changes, *plan.reported, *plan.refused)
    verdicts = {one.identity: one for one in judged}
    reported = {one.identity for one in plan.reported}
    wanted = [identity for identity in desired.entries if identity.key == key]
    applied = observer.ledger.get({*wanted, *held})
    identities = sorted({*wanted, *held, *verdicts}, key=identity_order)
    found = []
    for identity in identities:
        entry, actual, verdict = desired.entries.get(identity), held.get(identity), verdicts.get(identity)
        why = _why(entry, actual, verdict, desired.policy, workspace.config.owner, reported=identity in reported)
        found.append(
            EntryExplanation(
                target,
                identity,
                entry,
                observer.shown(actual, entry) if actual is not None else None,
                _shown(applied.get(identity), store.capabilities),
                verdict,
                identity in reported,
                (*why, *_unread(observer.unread.get(identity)), *_blockers(workspace, plan, desired, key)),
                tuple(workspace.state.journal.changes_of(target, identity, KEPT)),
                plan.error,
            )
        )
    return found


def _shown(applied: Applied | None, capabilities: Capabilities) -> Applied | None:
    """What was applied, as it may be shown: the etag of what is sensitive may be made of its size."""
    if applied is None:
        return None
    return replace(applied, etag=shown_etag(applied.etag, sensitive=applied.mark.sensitive, capabilities=capabilities))


def _why(
    entry: Entry | None,
    actual: Actual | None,
    verdict: Change | Refusal | None,
    policy: Policy,
    owner: str,
    *,
    reported: bool,
) -> Iterable[str]:
    """Why there is this verdict, and which line of the policy decides."""
    if verdict is None:
        yield _idle(entry, actual, policy, owner)
        return
    yield _CAUSES[verdict.cause]
    if isinstance(verdict, Refusal):
        yield f"refused: {verdict.reason}"
    elif verdict.reasons:
        yield f"differs in: {', '.join(verdict.reasons)}"
    yield from _policy_line(verdict, policy)
    if reported:
        yield "it is reported only, not written"


def _idle(entry: Entry | None, actual: Actual | None, policy: Policy, owner: str) -> str:
    if entry is None:
        if actual is None or actual.mark is None or actual.mark.owner != owner:
            return "it is not in the files, and kvsync does not own it: left unchanged"
        if policy is _NOT_MANAGED:
            return (
                "no file names its target any more, so it is left unchanged (an orphan); write keys: {} for the target to"
                " delete it, or run kvsync release to give it up"
            )
        if policy.prune is Prune.OFF:
            return "no file names it any more, and policy.prune is off (an orphan); kvsync release gives it up"
        return "it is not in the files, and its mark was made for another place, key or label: a copy, left unchanged"
    if entry.mode is not Mode.ENFORCE:
        return f"its mode is {entry.mode}: it is not kept in sync"
    return "it expired as declared" if actual is None else "it matches the files"


def _policy_line(verdict: Change | Refusal, policy: Policy) -> Iterable[str]:
    if verdict.cause in DRIFT_CLASSES:
        yield f"policy.drift.{verdict.cause} is {getattr(policy.drift, verdict.cause.value)}"
    if verdict.cause is Class.UNOWNED:
        yield f"policy.adopt is {policy.adopt}"
    if verdict.action is Action.DELETE:
        yield f"policy.prune is {policy.prune}"


def _unread(reason: str | None) -> tuple[str, ...]:
    return () if reason is None else (f"the store holds it, but it could not be read: {reason}",)


def _blockers(workspace: Workspace, plan: TargetPlan, desired: Desired, key: str) -> Iterable[str]:
    """What else keeps anything from being done."""
    if key_matcher(desired.policy.ignore)(key):
        yield "it matches policy.ignore: kvsync ignores it"
    yield from (f"the target is left unchanged: {problem}" for problem in plan.problems)
    pause: Pause | None = workspace.state.pauses.find(plan.target)
    if pause is not None:
        yield f"{pause} is paused" + (f" ({pause.reason})" if pause.reason else "")
    parked: ParkedRecord | None = workspace.state.parked.find(plan.target)
    if parked is not None and parked.approved_at is None:
        yield from (f"the target is parked: {reason}" for reason in parked.reasons)


_CAUSES = {
    Class.NEW: "it is in the files, but not in the store",
    Class.CHANGED: "the files changed since it was applied",
    Class.REMOVED: "it is no longer in the files, and kvsync owns it",
    Class.DRIFTED: "another writer changed it in the store; the files did not change",
    Class.MISSING: "another writer deleted it from the store; it is still in the files",
    Class.CONFLICT: "another writer changed it in the store, and the files changed too",
    Class.EXPIRING: "it expires soon, or has just expired",
    Class.EXPIRED: "it expired as declared",
    Class.FOREIGN: "it is not in the files, and kvsync does not own it",
    Class.UNOWNED: "it exists without an owner",
    Class.TAKEN: "it exists, and belongs to another owner",
    Class.PROTECTED: "it is protected",
    Class.LOCKED: "it is locked in the store",
}
