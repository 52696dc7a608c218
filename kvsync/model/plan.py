"""Plan: the changes of each target with their reasons and cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import field, replace
from operator import attrgetter
from typing import Final, NamedTuple

from kvsync.errors import ErrorCode, Problem, with_code
from kvsync.model.change import DRIFT_CLASSES, Action, Change, Outcome, OutcomeKind, Refusal
from kvsync.model.digest import plan_digest
from kvsync.model.entry import Target
from kvsync.model.place import Place
from kvsync.model.wave import WavePosition
from kvsync.util.values import dataclass

MOST_PROBLEMS: Final = 10
"""Maximum number of problems shown for one target: thousands of targets of one file share all of its problems."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Cost of applying a plan: requests to the store, bytes sent, and seconds at the store's declared rate."""

    requests: int = 0
    bytes: int = 0
    seconds: float = 0.0

    def plus(self, other: Cost) -> Cost:
        """Return the cost of both plans, applied one after the other."""
        seconds = round(self.seconds + other.seconds, 3)
        return Cost(self.requests + other.requests, self.bytes + other.bytes, seconds)


@dataclass(frozen=True, slots=True)
class Stats:
    """Cost of making a plan: requests, bytes received, seconds."""

    requests: int = 0
    bytes_received: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class TargetPlan:
    """The plan of one target.

    `place` is the place that the target resolves to, None if it could not be determined. `moved_from` is the place that it
    resolved to in the last pass, if that was a different one. `changes` are the changes that an apply makes, in the order of
    `identity_order`. `refused` are differences that kvsync does not act on. `reported` are drift that the policy only reports,
    and deletes that wait until the guard's grace has passed.

    `parked` are the reasons why nothing may be applied until someone approves `digest`; `approved` is true once someone has.
    `waiting` are sentences about changes that wait although the target may be applied. `wave` is set if waves are configured.
    With `problems` in the files, the target keeps its state, and the only changes are renewals. With an `error`, the store
    could not be observed, and there are no changes. `code` is the code of `error`.

    `next_moment` (epoch seconds) is when the target next needs a pass even if nothing changes: for a renewal, an expiry to
    enforce, or the end of a grace period. `orphans` counts the unchanged entries that kvsync owns and no file names, and that
    the policy leaves in the store. Without `compare_and_set`, a change by another writer between kvsync's read and its write
    may be overwritten. `notes` are sentences to read before the plan is applied. `deletes_namespace` is true if kvsync has
    emptied the namespace and deletes it.
    """

    target: Target
    type: str
    digest: str
    place: Place | None = None
    moved_from: str | None = None
    complete: bool = True
    parked: tuple[str, ...] = ()
    approved: bool = False
    waiting: tuple[str, ...] = ()
    wave: WavePosition | None = None
    changes: tuple[Change, ...] = ()
    refused: tuple[Refusal, ...] = ()
    reported: tuple[Change, ...] = ()
    unchanged: int = 0
    foreign: int = 0
    ignored: int = 0
    expired: int = 0
    orphans: int = 0
    cost: Cost = field(default_factory=Cost)
    problems: tuple[Problem, ...] = ()
    error: str | None = None
    next_moment: float | None = None
    compare_and_set: bool = True
    notes: tuple[str, ...] = ()
    deletes_namespace: bool = False
    code: ErrorCode | None = None


@dataclass(frozen=True, slots=True)
class UnmanagedTarget:
    """A target that no file names, with the number of entries that kvsync owns there. `is_configured` is False if kvsync.yaml
    does not have the store: it has another name now, or was removed."""

    target: Target
    orphans: int
    is_configured: bool = True


@dataclass(frozen=True, slots=True)
class Plan:
    """Plan of all requested targets, sorted by target. `source` is the commit of the files if they come from Git, and
    `environment` is the current environment. `unmanaged` are the targets that no file names although kvsync owns entries
    there."""

    owner: str
    targets: tuple[TargetPlan, ...]
    digest: str
    stats: Stats = field(default_factory=Stats)
    source: str | None = None
    unmanaged: tuple[UnmanagedTarget, ...] = ()
    environment: str | None = None


@dataclass(frozen=True, slots=True)
class TargetReport:
    """Result of applying the plan of one target. `deletes_waiting` counts the deletes that `run.max_deletes_per_hour` held
    back, and `waits_until` (epoch seconds) is when more are allowed, if that is known. `early` names the earlier wave that the
    remaining changes wait for. `namespace_deleted` is true if the namespace was deleted. `code` is the code of `error`."""

    plan: TargetPlan
    outcomes: tuple[Outcome, ...] = ()
    error: str | None = None
    deletes_waiting: int = 0
    waits_until: float | None = None
    early: str | None = None
    namespace_deleted: bool = False
    code: ErrorCode | None = None


@dataclass(frozen=True, slots=True)
class Summary:
    """Counts over targets: the changes by action, what is left alone, and the namespaces that are deleted."""

    create: int = 0
    update: int = 0
    renew: int = 0
    adopt: int = 0
    release: int = 0
    delete: int = 0
    unchanged: int = 0
    foreign: int = 0
    refused: int = 0
    namespaces: int = 0


def make_plan(
    key: bytes, owner: str, targets: Iterable[TargetPlan], stats: Stats | None = None, source: str | None = None
) -> Plan:
    """Put target plans together: sorted, with the digest of the whole under the key that those of the targets have."""
    ordered = tuple(sorted(targets, key=lambda plan: plan.target))
    digest = plan_digest(key, owner, ((plan.target, plan.digest) for plan in ordered))
    return Plan(owner, ordered, digest, stats or Stats(), source)


def narrowed_plan(plan: Plan, targets: Iterable[TargetPlan], key: bytes) -> Plan:
    """A part of a plan: these plans of targets; commit, environment and traffic stay. Orphans elsewhere are left out."""
    part = make_plan(key, plan.owner, targets, plan.stats, plan.source)
    return replace(part, environment=plan.environment)


def summary(targets: Iterable[TargetPlan]) -> Summary:
    """Count what the plans of some targets (`plan.targets` for all) would do, and what they leave alone."""
    actions: Counter[Action] = Counter()
    unchanged = foreign = refused = namespaces = 0
    for target in targets:
        actions.update(map(attrgetter("action"), target.changes))
        unchanged += target.unchanged
        foreign += target.foreign
        refused += len(target.refused)
        namespaces += target.deletes_namespace
    counts = {action.value: actions[action] for action in Action}
    return Summary(**counts, unchanged=unchanged, foreign=foreign, refused=refused, namespaces=namespaces)


def pending(plan: Plan) -> bool:
    """True when something differs: a change to apply, one that is refused, or drift that is only reported."""
    return any(one.changes or one.refused or one.reported or one.deletes_namespace for one in plan.targets)


def drifted(plan: TargetPlan) -> list[Change]:
    """The drift in a plan: healed, only reported, or deferred."""
    deferred = (refusal.deferred for refusal in plan.refused if refusal.deferred is not None)
    return [change for change in (*plan.changes, *plan.reported, *deferred) if change.cause in DRIFT_CLASSES]


def is_quiet(plan: TargetPlan) -> bool:
    """True if a target has nothing to report but its counts."""
    differs = plan.changes or plan.refused or plan.reported or plan.notes or plan.moved_from is not None
    return plan.complete and not (differs or plan.deletes_namespace or plan.parked or plan.problems or plan.error)


class PlanNotice(NamedTuple):
    """Something to know before the changes of a target: its kind, a sentence, and an error code if it is a problem."""

    kind: str
    text: str
    code: ErrorCode | None = None


def notices(plan: TargetPlan) -> Iterator[PlanNotice]:
    """What a person must know before the changes of a target, the worst first."""
    if plan.moved_from is not None:
        moved = f"{plan.target} is now another store: was {plan.moved_from}, is {plan.place}"
        yield PlanNotice("moved", moved, ErrorCode.PLACE_CHANGED)
    yield from (PlanNotice("problem", *problem) for problem in _problems(plan))
    if plan.error:
        yield PlanNotice("error", plan.error, plan.code)
    held = PlanNotice("approved", "") if plan.approved else PlanNotice("parked", "", ErrorCode.PARKED)
    yield from (held._replace(text=reason) for reason in plan.parked)
    yield from (PlanNotice("waiting", sentence, ErrorCode.DELETES_WAITING) for sentence in plan.waiting)
    if plan.wave is not None and plan.wave.waits_for is not None:
        waits = f"{plan.wave.number} of {plan.wave.total}, {plan.wave.waits_for}"
        yield PlanNotice("wave", waits, ErrorCode.EARLIER_WAVE)
    yield from (PlanNotice("note", sentence) for sentence in plan.notes)
    if plan.deletes_namespace:
        yield PlanNotice("namespace", f"kvsync deletes {plan.target}: it is empty, and kvsync deleted its last entries")
    if not (plan.complete or plan.parked or plan.error):
        yield PlanNotice("incomplete", "the listing of the store is incomplete", ErrorCode.INCOMPLETE_LISTING)


def problem_texts(plan: TargetPlan) -> Iterator[str]:
    """The first problems of a target as text with their codes, and how many more there are."""
    return (with_code(*problem) for problem in _problems(plan))


def _problems(plan: TargetPlan) -> Iterator[tuple[str, ErrorCode | None]]:
    yield from ((str(problem), problem.code) for problem in plan.problems[:MOST_PROBLEMS])
    if (more := len(plan.problems) - MOST_PROBLEMS) > 0:
        yield f"{more:,} more; run kvsync validate to list all", None


NAMESPACES_DELETED: Final = "namespaces-deleted"
"""Name of the count of deleted namespaces, next to those of the outcomes."""

NAMESPACES_RENAMED: Final = "namespaces-renamed"
"""The same for renamed namespaces."""


def outcome_counts(reports: Iterable[TargetReport]) -> dict[OutcomeKind, int]:
    """How often each kind of outcome occurred, every kind named."""
    seen: Counter[OutcomeKind] = Counter()
    for report in reports:
        seen.update(map(attrgetter("kind"), report.outcomes))
    return {kind: seen[kind] for kind in OutcomeKind}
