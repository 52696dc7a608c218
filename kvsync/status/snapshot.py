"""Status of a daemon as frozen values. Page, metrics and `/status` are three forms of one `StatusSnapshot`.

Moments are seconds since the epoch, durations are seconds. Nothing here holds the value of a sensitive entry, and every text
that a store, a file or a person worded has been through the redactor. Texts of plans are escaped as `kvsync plan` shows them;
all others are as they are, so whoever shows them escapes them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum

from kvsync.errors import Problem
from kvsync.model.entry import Target
from kvsync.model.plan import UnmanagedTarget
from kvsync.state import DriftPoint, LeaseRecord
from kvsync.status.plan_views import PendingPlan
from kvsync.util.values import dataclass


class State(StrEnum):
    """How a target stands. In the order in which they need a person: when several hold, the first is the one."""

    FAILING = "failing"
    """The last pass did not happen, or some of its changes failed."""
    HELD = "held"
    """Problems in the files: the target keeps its last good state."""
    PARKED = "parked"
    """The plan waits for approval."""
    PAUSED = "paused"
    """A person paused the target or its store."""
    DENIED = "denied"
    """Something is pending, and a window denies applying."""
    DRIFTED = "drifted"
    """The store differs from what was applied, and that is not healed."""
    UNDONE = "undone"
    """An operator reverted changes: they stay undone until their files change."""
    PENDING = "pending"
    """Something is pending for another reason: refused, waiting, or only observed."""
    WAITING = "waiting"
    """The first pass is not done yet."""
    IN_SYNC = "in-sync"
    """The store holds what the files ask."""


@dataclass(frozen=True, slots=True)
class ParkedView:
    """Why a target is parked, under which hash, since when, and the command that releases it."""

    digest: str
    reasons: tuple[str, ...]
    since: float | None = None
    approved_at: float | None = None
    command: str = ""


@dataclass(frozen=True, slots=True)
class PauseView:
    """The pause that holds a target: its own, or its store's (`name` says which), and the command that ends it."""

    name: str
    reason: str | None
    since: float
    command: str


@dataclass(frozen=True, slots=True)
class EndView:
    """The entry of a target whose lifetime ends first."""

    name: str
    at: float


@dataclass(frozen=True, slots=True)
class TargetView:
    """One target.

    `attempted_at` is the end of the last pass, `succeeded_at` that of the last one without an error (they may be from
    before the daemon started); `triggers` are why the last pass began and `seconds` how long it took. `next_at` is when the
    target gets its next pass and `next_trigger` why; None: at the daemon's next beat, or when something happens. `changes`
    counts the last pass's outcomes, `drift` the drifted entries it found by class and `unhealed` those of them it left so,
    `pending` what the plan held and was not applied. `is_known` says that the store was compared at least once since the
    start: before, `unchanged` and `foreign` mean nothing. `orphans` are ours, but no file names them, and the policy lets
    them stay. `resting_until` is how long the store asked to be left alone, if that is a minute or more. `unavailable` says
    that the store is the reason for `error`, and `unheard` how many seconds ago it last answered a pass (or the target
    became known), whatever the wall clock did meanwhile. `early` says which earlier wave the target waits for. `replica` is
    who works on the target, None for this process: of another one's it is known what the shared state has.
    """

    target: Target
    type: str = ""
    state: State = State.WAITING
    running: bool = False
    attempted_at: float | None = None
    succeeded_at: float | None = None
    unheard: float | None = None
    seconds: float | None = None
    triggers: tuple[str, ...] = ()
    next_at: float | None = None
    next_trigger: str | None = None
    resting_until: float | None = None
    changes: Mapping[str, int] = field(default_factory=dict)
    drift: Mapping[str, int] = field(default_factory=dict)
    unhealed: Mapping[str, int] = field(default_factory=dict)
    pending: int = 0
    plan: PendingPlan | None = None
    is_known: bool = False
    unchanged: int = 0
    foreign: int = 0
    orphans: int = 0
    error: str | None = None
    unavailable: bool = False
    problems: tuple[Problem, ...] = ()
    parked: ParkedView | None = None
    early: str | None = None
    replica: str | None = None
    pause: PauseView | None = None
    nearest_end: EndView | None = None
    quarantined: int = 0
    contended: int = 0
    undone: int = 0
    totals: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """Changes since the daemon started, by action and outcome."""
    passes: int = 0
    """Passes since the daemon started."""


@dataclass(frozen=True, slots=True)
class Histogram:
    """Durations: `buckets` pairs an upper bound (infinite: the last) with how many were at most that long."""

    buckets: tuple[tuple[float, int], ...]
    sum: float


@dataclass(frozen=True, slots=True)
class StoreView:
    """One configured store: what it cost since the daemon started. `requests` counts by status (an HTTP status, the name of a
    failure, or `none` for a store that is not asked over HTTP). `quota_left` is how many requests may still be made now, None
    where there is no quota. `error` says why it is given up at the moment, `waiting` what its calls wait for now."""

    name: str
    type: str
    requests: Mapping[str, int] = field(default_factory=dict)
    bytes_sent: int = 0
    bytes_received: int = 0
    quota_left: int | None = None
    error: str | None = None
    durations: Histogram | None = None
    waiting: str | None = None


@dataclass(frozen=True, slots=True)
class RunView:
    """One run that wrote to a store. `target` None: of several, `targets` says of how many."""

    id: str
    command: str
    at: float
    status: str
    target: Target | None = None
    source: str | None = None
    triggers: tuple[str, ...] = ()
    seconds: float | None = None
    targets: int = 1
    counts: Mapping[str, int] = field(default_factory=dict)
    """By outcome."""
    actions: Mapping[str, int] = field(default_factory=dict)
    """The applied ones, by action."""


@dataclass(frozen=True, slots=True)
class PassPoint:
    """A pass that ended, and whether it went well."""

    at: float
    ok: bool


@dataclass(frozen=True, slots=True)
class ProcessView:
    """The daemon itself. `mode` is `apply` or `observe`; `commit` is the one the files are at. `window` is the window that
    denies applying now, `window_changes_at` when windows next begin or end to. `next_beat` is the next scheduled pass of all,
    `backlog` how many passes are due and have not begun. `leader` says whether it may write; where several replicas share a
    `lease`, that says who leads.
    """

    pid: int
    version: str
    mode: str
    started_at: float
    owner: str = ""
    environment: str | None = None
    commit: str | None = None
    ready: bool = False
    leader: bool = True
    lease: LeaseRecord | None = None
    window: str | None = None
    window_changes_at: float | None = None
    next_beat: float | None = None
    backlog: int = 0
    files_at: float | None = None
    """Time when the files were last read."""


@dataclass(frozen=True, slots=True)
class StatusSnapshot:
    """Everything, at `at`. `version` grows with every event. `targets` and `stores` are sorted by name; `drift` (a point
    whenever a target's drift changed) is oldest first, `runs` newest first; both are cut to what is worth showing. `problems`
    are those of all files. `hooks` counts requests by result, `triggers` what made the daemon look. `replicas` is how many
    share the state, where this process reports for all of them. `unmanaged` are targets that no file names although kvsync
    owns entries there."""

    at: float
    version: int
    process: ProcessView
    targets: tuple[TargetView, ...] = ()
    stores: tuple[StoreView, ...] = ()
    problems: tuple[Problem, ...] = ()
    drift: tuple[DriftPoint, ...] = ()
    runs: tuple[RunView, ...] = ()
    passes: tuple[PassPoint, ...] = ()
    hooks: Mapping[str, int] = field(default_factory=dict)
    triggers: Mapping[str, int] = field(default_factory=dict)
    replicas: int | None = None
    unmanaged: tuple[UnmanagedTarget, ...] = ()

    @property
    def own_targets(self) -> tuple[TargetView, ...]:
        """Those that this process works on."""
        return tuple(one for one in self.targets if one.replica is None)

    def states(self) -> dict[State, int]:
        """How many targets are in each state, every state named, the worst first."""
        seen = Counter(one.state for one in self.targets)
        return {state: seen[state] for state in State}
