"""Interfaces that the daemon needs, and the values that it exchanges with them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import field
from pathlib import Path
from typing import Protocol

from kvsync.config.model import RunConfig
from kvsync.errors import Problem
from kvsync.model.entry import Target
from kvsync.model.result import PassResult, Trigger
from kvsync.state.passes import DaemonRecord, LeaseRecord
from kvsync.util.values import dataclass

PATIENT = frozenset({Trigger.SCHEDULE, Trigger.TIMER, Trigger.RETRY, Trigger.WINDOW})
"""Triggers that wait for the end of a back-off; all others mean that someone did something, and end it."""


@dataclass(frozen=True, slots=True)
class LoadedTargets:
    """What the files ask, as far as the daemon cares.

    `targets` maps the targets that can be used to a digest that changes whenever anything desired of them does. `held` are
    those that keep their last good state because of problems in a file that names them, with these problems; `hold_all` is not
    empty when it cannot be known whom the problems concern: then every target known so far is held. `problems` are all
    problems of all files. `watch` are the absolute directories in which a change may mean something. `absent` says that there
    are not files yet: the repository that they come from could not be fetched so far. `look_again` is not None while a file may
    still be being written: look again in so many seconds. Changes of the `own` paths, which kvsync itself makes, mean nothing.
    `elsewhere` are the targets that other replicas work on.
    """

    targets: Mapping[Target, str]
    held: Mapping[Target, tuple[Problem, ...]] = field(default_factory=dict)
    hold_all: tuple[Problem, ...] = ()
    problems: tuple[Problem, ...] = ()
    watch: tuple[Path, ...] = ()
    absent: bool = False
    look_again: float | None = None
    own: tuple[Path, ...] = ()
    elsewhere: frozenset[Target] = frozenset()


@dataclass(frozen=True, slots=True)
class PassRequest:
    """One pass that the daemon asks for.

    `apply` False: plan and report, write nothing (observing, paused, a window, another replica leads). `deep`: read values
    even where a listing carries fingerprints. `grace`: the least time, in seconds, that an entry must have been undesired
    before it is deleted, in addition to the grace of the policy; it is not 0 while the files are still moving. `triggers` are
    why, sorted.
    """

    target: Target
    apply: bool = True
    deep: bool = False
    grace: float = 0
    triggers: tuple[Trigger, ...] = ()


class Reconciler(Protocol):
    """What the daemon drives. All methods are called from one event loop; passes of different targets run at the same time,
    never two of the same target."""

    async def load(self, touched: Collection[Path] | None = None) -> LoadedTargets:
        """Read the files again, cheaply where nothing changed. Only the `touched` real paths, and what is in a touched folder,
        may have changed since the last call; None: anything. Problems that people made are in the answer, not raised."""
        ...

    async def config_changed(self) -> bool:
        """Say whether another configuration than the one in force is to be loaded. While it cannot be used, `load` holds every
        target."""
        ...

    async def reload_config(self) -> RunConfig:
        """Read the configuration again and use it from the next pass on; passes in flight end with the old one. Raises
        KvsyncError, and keeps the old one, when it is broken."""
        ...

    def read_ahead(self, target: Target) -> None:
        """Read what a pass of this target asks of the state. Called first in every pass. Raises StateDirError."""
        ...

    def state_delay(self) -> float:
        """How long a call to the state last blocked the event loop (seconds); 0 for a state on this machine."""
        ...

    def is_paused(self, target: Target) -> bool:
        """True if a person paused this target or its store. Called before every pass."""
        ...

    def paused_among(self, targets: Collection[Target]) -> Collection[Target]:
        """Those of the targets that a person paused, themselves or with their store. May raise KvsyncError."""
        ...

    async def reconcile(self, request: PassRequest, stop: Callable[[], bool]) -> PassResult:
        """Do one pass with what was loaded last. Once `stop()` is true, finish the batch in flight and return."""
        ...


class FetchedSource(Protocol):
    """Where files come from that must be fetched; a `Reconciler` may be one."""

    @property
    def fetch_every(self) -> float | None:
        """Seconds between two fetches; None when the files come from nowhere else. May change with the configuration."""
        ...

    async def fetch(self) -> bool:
        """Look for newer files. Returns whether there are; `load` gives them then. Raises KvsyncError when that is
        unknown: `load` goes on giving what was there before. Cancelled, it leaves nothing behind."""
        ...


class WatchedStores(Protocol):
    """Stores that report changes; a `Reconciler` may have some."""

    def watched_stores(self) -> Collection[str]:
        """The names of the stores that are to be watched. May change with the configuration."""
        ...

    async def watch_store(self, store: str, namespaces: Collection[str], changed: Callable[[str], None]) -> None:
        """Call `changed` with each namespace that another program may have changed, until cancelled. Raises KvsyncError when
        that ends."""
        ...


class UndoPort(Protocol):
    """Requests of operators to undo runs. A pass carries out those of its target; a `Reconciler` may offer this for targets
    that have no passes."""

    def undo_requested(self) -> frozenset[Target]:
        """The targets in which something is still to be undone. May raise KvsyncError."""
        ...

    async def carry_out_undo(self, target: Target, stop: Callable[[], bool]) -> None:
        """Undo in a target that no file names. Raises KvsyncError."""
        ...


class Candidate(Protocol):
    """A replica in an election, which leaves the lease to others while its passes do not work."""

    is_able: Callable[[], bool]
    """Set by the daemon: whether its passes work."""


class Leadership(Protocol):
    """Whether this replica is the one that may write, where several share a lease."""

    @property
    def lease(self) -> LeaseRecord:
        """How things stand, for people."""
        ...

    def may_write(self) -> bool:
        """True if this replica leads at this moment."""
        ...

    async def run(self, on_change: Callable[[], None]) -> None:
        """Take part in the election until cancelled; call `on_change` when another replica leads than before."""
        ...

    async def release(self) -> None:
        """Lead no more, and let others lead at once. Raises nothing."""
        ...


class StatusStore(Protocol):
    """Where the daemon records what `kvsync status` shows: `StateDir.passes` is one. The methods may raise KvsyncError."""

    def record(
        self,
        target: Target,
        at: float,
        *,
        error: str | None = None,
        drift: Mapping[str, int] | None = None,
        changes: Mapping[str, int] | None = None,
        next_at: float | None = None,
    ) -> None:
        """Note a pass that ended at `at`."""
        ...

    def keep(self, targets: Iterable[Target]) -> None:
        """Forget all targets but these."""
        ...

    def set_daemon(self, daemon: DaemonRecord) -> None:
        """Note what the daemon is at."""
        ...

    def clear_daemon(self) -> None:
        """Note that the daemon has left."""
        ...

    def check(self) -> str | None:
        """Return what was missing and was written again, None if all is well. Raise StateDirLost when what is written is lost,
        so that the daemon must end."""
        ...
