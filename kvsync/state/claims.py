"""Claims of targets by replicas, in the database that they share.

A replica is a row with a lease on the database's clock; a claim is a row with the replica that holds the target and a fencing
number, higher than any before. Nobody takes the claim of a replica whose lease runs. Every transaction of a pass first asks
whether the claim still is what it was, and locks the row, so that state is never written for a target that another replica has
taken.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from kvsync.errors import ClaimHeld, ClaimLost, StateDirError, StateNewer, StateRolledBack
from kvsync.model.entry import Target
from kvsync.state import claim_statements
from kvsync.state.claim_statements import QUIET_SECONDS
from kvsync.state.database import Database, Statements
from kvsync.state.records import RunStatus
from kvsync.util.pieces import pieces
from kvsync.util.values import dataclass

_SKIPPED: Final = 1_000_000
"""Fencing numbers that are passed over where some were lost: another replica may have seen later ones."""

_AT_ONCE: Final = 5_000
"""Claims that one statement changes: far from what takes as long as a statement may."""

_NEVER: Final = -1
"""A fencing number that no claim has."""

_BOUND: ContextVar[tuple[Target, int] | None] = ContextVar("target of the pass, and its claim", default=None)


@dataclass(frozen=True, slots=True)
class Replica:
    """A process that shares the state. Moments are epoch seconds by the database's clock; `owner` names the environment too,
    `load` is the cost of its targets as it renewed its lease, `revision` that of its files. `targets` is how many it holds,
    `fences` the sum of their fencing numbers, `cost` that of their costs."""

    id: str
    host: str
    pid: int
    version: str
    owner: str
    started_at: float = 0.0
    seen_at: float = 0.0
    load: float = 0.0
    is_draining: bool = False
    revision: str | None = None
    targets: int = 0
    fences: int = 0
    cost: float = 0.0


@dataclass(frozen=True, slots=True)
class TargetClaim:
    """The claim of a target: its holder, the fencing number, the cost of the target, and whether the holder's lease runs."""

    replica: str
    fence: int
    cost: float
    is_alive: bool


class TargetClaims:
    """The claims of one replica. It holds a target only as long as its own lease runs, which `renew` renews."""

    def __init__(self, database: Database, me: Replica, name: str) -> None:
        self.me = me
        self._database, self._name = database, name
        self.takes_on_demand = True
        """Whether a pass may claim a target itself; else whoever divides the targets does."""
        self.wakes = 0
        """How often a person woke the replicas, as of the last renewal: an approval or a pause to look at."""
        self._held: dict[Target, int] = {}
        self._highest = self._timeline = 0

    @property
    def held(self) -> Mapping[Target, int]:
        """The targets that are claimed, with their fencing numbers."""
        return self._held

    def register(self, lease: float) -> None:
        """Become one of the replicas, for so many seconds at first; again after a lease ended. Raises StateDirError, also
        StateNewer, and while replicas of another owner or environment live."""
        from kvsync.state.postgres_schema import VERSION  # the command on a state directory does not pay for it

        me = self.me
        with self._transaction() as statements:
            statements.execute(claim_statements.REGISTER_ALONE)
            self._end_expired(statements)
            self._refuse_others(statements)
            statements.execute("DELETE FROM claims WHERE replica = ?", (me.id,))  # of an earlier lease
            over = "UPDATE runs SET status = ? WHERE status = ? AND replica = ?"
            statements.execute(over, (RunStatus.INTERRUPTED, RunStatus.RUNNING, me.id))
            self._notice(statements)
            row = (me.id, me.host, me.pid, me.version, me.owner, lease)
            statements.execute(claim_statements.REGISTER, row)
            _, _, self._timeline, version = statements.execute(claim_statements.LAST).fetchone()
            if version > VERSION:
                raise StateNewer(self._name, version, VERSION)
        self._held.clear()

    def renew(self, lease: float, load: float, *, is_draining: bool, revision: str | None) -> bool:
        """Renew the lease; False when it had run out: then all claims are lost. Raises StateDirError, StateRolledBack."""
        with self._transaction() as statements:
            row = (lease, load, int(is_draining), revision, self.me.id)
            self._notice(statements)
            is_renewed = statements.execute(claim_statements.RENEW, row).rowcount > 0
            last, self.wakes, timeline, _ = statements.execute(claim_statements.LAST).fetchone()
            is_older = last < self._highest
            if is_older:
                statements.execute(claim_statements.SKIP, (self._highest, _SKIPPED))
        if is_older or timeline != self._timeline:
            self._held.clear()
            raise StateRolledBack(self._name)
        self._highest = max(self._highest, last)
        if not is_renewed:
            self._held.clear()
        return is_renewed

    def release_all(self) -> None:
        """Give everything up, so that others take it at once. Raises StateDirError."""
        self._held.clear()
        with self._transaction() as statements:
            statements.execute("DELETE FROM claims WHERE replica = ?", (self.me.id,))
            statements.execute("DELETE FROM replicas WHERE id = ?", (self.me.id,))

    def replicas(self) -> list[Replica]:
        """The replicas whose leases run. Raises StateDirError."""
        return replicas_of(self._database)

    def holders(self) -> dict[Target, TargetClaim]:
        """All claims. Raises StateDirError."""
        rows = self._database.query(claim_statements.HOLDERS)
        return {Target(store, namespace): TargetClaim(*rest) for store, namespace, *rest in rows}

    def take(self, targets: Iterable[Target], costs: Mapping[Target, float]) -> list[Target]:
        """Claim those of the targets that no living replica holds. Returns them. Raises StateDirError."""
        taken: list[Target] = []
        for wanted in pieces(sorted(targets), _AT_ONCE):
            row = (self.me.id, *_columns(wanted), [costs.get(target, 1.0) for target in wanted])
            with self._transaction() as statements:
                self._end_expired(statements)
                rows = [] if self._is_quiet(statements) else statements.execute(claim_statements.TAKE, row).fetchall()
            found = {Target(store, namespace): int(fence) for store, namespace, fence in rows}
            self._held |= found
            self._highest = max([self._highest, *found.values()])
            taken += found
        return taken

    def ensure(self, target: Target) -> int:
        """Hold a target for a pass; returns its fencing number. Raises ClaimHeld when a living replica holds it, ClaimLost when
        this one should hold it and does not, StateDirError."""
        fence = self._held.get(target)
        if fence is None and not self.takes_on_demand:
            raise ClaimLost(str(target))
        if fence is None:
            if not self.take([target], {}):
                raise self._refusal(target)
            fence = self._held[target]
        return fence

    def _refusal(self, target: Target) -> ClaimHeld | StateDirError:
        """Why a target could not be had."""
        if self._database.one(claim_statements.QUIET)[0]:
            why = "the database failed over or was upgraded, and earlier leases may still run"
            return StateDirError(self._name, f"{why}; try again in {QUIET_SECONDS:.0f} s")
        holder = self.holders().get(target)
        return ClaimHeld(str(target), holder.replica if holder is not None else "another replica")

    def bind(self, target: Target, fence: int | None = None) -> int:
        """From here on, what this task writes is for a pass of this target, under its claim as it is now, or under the one with
        this fencing number. Returns the number. Raises what `ensure` does."""
        fence = self.ensure(target) if fence is None else fence
        _BOUND.set((target, fence))
        return fence

    @contextmanager
    def within(self, target: Target) -> Iterator[None]:
        """Inside, what is written is for this target: refused with ClaimLost unless it is claimed now."""
        token = _BOUND.set((target, self._held.get(target, _NEVER)))
        try:
            yield
        finally:
            _BOUND.reset(token)

    def is_current(self) -> bool:
        """True unless this task works for a target whose claim is over, also when the target was claimed again since."""
        bound = _BOUND.get()
        return bound is None or self._held.get(bound[0]) == bound[1]

    def give_up(self, targets: Sequence[Target]) -> None:
        """Let others take these targets. Raises StateDirError."""
        for target in targets:
            self._held.pop(target, None)
        for over in pieces(targets, _AT_ONCE):
            with self._transaction() as statements:
                statements.execute(claim_statements.GIVE_UP, (*_columns(over), self.me.id))

    def set_costs(self, costs: Mapping[Target, float]) -> None:
        """Note what targets cost, for all replicas. Raises StateDirError."""
        for known in pieces(costs, _AT_ONCE):
            row = (*_columns(known), [costs[target] for target in known], self.me.id)
            with self._transaction() as statements:
                statements.execute(claim_statements.SET_COSTS, row)

    def check(self, statements: Statements) -> None:
        """At the start of a transaction: raise ClaimLost when the target of the pass under way is not ours any more."""
        bound = _BOUND.get()
        if bound is None:
            return
        target, fence = bound
        row = (target.store, target.namespace, self.me.id, fence)
        is_held = self.is_current() and statements.execute(claim_statements.GUARD, row).fetchone() is not None
        if not is_held:
            raise ClaimLost(str(target))

    @contextmanager
    def _transaction(self) -> Iterator[Statements]:
        """One over claims alone, also where a pass is under way."""
        with unbound(), self._database.transaction() as statements:
            yield statements

    def _refuse_others(self, statements: Statements) -> None:
        """Raise StateDirError while a replica lives that works for another owner or environment: targets would have the same
        names."""
        other = statements.execute(claim_statements.OTHER_OWNER, (self.me.owner,)).fetchone()
        if other is not None:
            host, owner = other
            reason = f"a replica of {owner} on {host} uses this database, and this one is of {self.me.owner}"
            raise StateDirError(self._name, f"{reason}; give each owner and each environment a database of its own")

    def _end_expired(self, statements: Statements) -> None:
        """Forget replicas whose leases are over, and close their runs."""
        statements.execute(claim_statements.DELETE_EXPIRED)
        statements.execute(claim_statements.CLOSE, (RunStatus.INTERRUPTED, RunStatus.RUNNING))

    @staticmethod
    def _notice(statements: Statements) -> None:
        """After a failover, begin the quiet time, and pass over the fencing numbers that the old server may have given."""
        if statements.execute(claim_statements.NOTICE, (QUIET_SECONDS,)).rowcount > 0:
            statements.execute(claim_statements.SKIP, (0, _SKIPPED))

    def _is_quiet(self, statements: Statements) -> bool:
        """True shortly after a failover."""
        self._notice(statements)
        return bool(statements.execute(claim_statements.QUIET).fetchone()[0])


def _columns(targets: Collection[Target]) -> tuple[list[str], list[str]]:
    """The stores and the namespaces of targets."""
    return [target.store for target in targets], [target.namespace for target in targets]


def replicas_of(database: Database) -> list[Replica]:
    """The replicas that share a state and whose leases run. Raises StateDirError."""
    return _replicas(database, claim_statements.REPLICAS)


def lapsed_replicas_of(database: Database) -> list[Replica]:
    """The replicas whose leases ended without being given up, until another one notices; newest first. Raises StateDirError."""
    return _replicas(database, claim_statements.LAPSED)


def _replicas(database: Database, query: str) -> list[Replica]:
    found = []
    for *names, load, draining, revision, targets, fences, cost in database.query(query):
        replica_id, host, pid, version, owner, started_at, seen_at = names
        times = (started_at, seen_at)
        found.append(
            Replica(
                replica_id, host, pid, version, owner, *times, load, bool(draining), revision, targets, fences, cost
            )
        )
    return found


def holders_of(database: Database) -> dict[Target, str]:
    """The living replica that holds each target. Raises StateDirError."""
    rows = database.query(claim_statements.HOLDERS)
    return {Target(store, namespace): replica for store, namespace, replica, _, _, is_alive in rows if is_alive}


@contextmanager
def unbound() -> Iterator[None]:
    """Context in which writes belong to no single target, so that no claim is checked: a run over several targets, for
    example."""
    token = _BOUND.set(None)
    try:
        yield
    finally:
        _BOUND.reset(token)
