"""Claims of targets by replicas, in the database that they share.

A replica is a row with a lease on the database's clock; a claim is a row with the replica that holds the target and a fencing
number, higher than any before. Nobody takes the claim of a replica whose lease runs. Every transaction of a pass first asks
whether the claim still is what it was, and locks the row, so that state is never written for a target that another replica has
taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from kvsync.errors import ClaimHeld, ClaimLost, StateRolledBack
from kvsync.model.entry import Target
from kvsync.state.database import Database, Statements

_ALIVE: Final = "expires_at > clock_timestamp()"

_BEAT: Final = f"""
UPDATE replicas SET expires_at = clock_timestamp() + make_interval(secs => ?), seen_at = clock_timestamp(), load = ?,
    draining = ?, revision = ?
WHERE id = ? AND {_ALIVE}
"""  # noqa: S608 - constants
_REGISTER: Final = """
INSERT INTO replicas (id, host, pid, version, owner, started_at, seen_at, expires_at, load, draining, revision)
VALUES (?, ?, ?, ?, ?, clock_timestamp(), clock_timestamp(), clock_timestamp() + make_interval(secs => ?), 0, 0, NULL)
ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at, expires_at = excluded.expires_at
"""
_FORGET: Final = "DELETE FROM replicas WHERE expires_at < clock_timestamp() - interval '1 day'"
_REPLICAS: Final = f"""
SELECT id, host, pid, version, owner, extract(epoch FROM started_at)::double precision,
    extract(epoch FROM seen_at)::double precision, load, draining, revision,
    (SELECT count(*) FROM claims WHERE claims.replica = replicas.id)
FROM replicas WHERE {_ALIVE} ORDER BY id
"""  # noqa: S608 - constants
_TAKE: Final = """
INSERT INTO claims (store, namespace, replica, fence, cost, claimed_at)
VALUES (?, ?, ?, nextval('fences'), ?, clock_timestamp())
ON CONFLICT (store, namespace) DO UPDATE
SET replica = excluded.replica, fence = excluded.fence, claimed_at = excluded.claimed_at
WHERE claims.replica = excluded.replica
    OR NOT EXISTS (SELECT 1 FROM replicas WHERE replicas.id = claims.replica AND replicas.expires_at > clock_timestamp())
RETURNING fence
"""
_GUARD: Final = f"""
SELECT 1 FROM claims WHERE store = ? AND namespace = ? AND replica = ? AND fence = ?
    AND EXISTS (SELECT 1 FROM replicas WHERE id = claims.replica AND {_ALIVE})
FOR SHARE
"""  # noqa: S608 - constants
_HOLDERS: Final = f"""
SELECT store, namespace, replica, fence, cost, EXISTS (SELECT 1 FROM replicas WHERE id = claims.replica AND {_ALIVE})
FROM claims
"""  # noqa: S608 - constants
_SKIPPED: Final = 1_000_000
"""Fencing numbers that are passed over where some were lost: another replica may have seen later ones."""

_LAST: Final = "SELECT last_value, (SELECT wakes FROM kvsync_state) FROM fences"

_TARGET: ContextVar[Target | None] = ContextVar("target of the pass", default=None)


@dataclass(frozen=True, slots=True)
class Replica:
    """A process that shares the state. Moments are epoch seconds by the database's clock; `load` is the cost of its targets,
    `revision` the commit of its files."""

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


@dataclass(frozen=True, slots=True)
class Holding:
    """Who holds a target, under which fencing number, what it costs, and whether the holder's lease runs."""

    replica: str
    fence: int
    cost: float
    is_alive: bool


class TargetClaims:
    """The claims of one replica. It holds a target only as long as its own lease runs, which `beat` renews."""

    def __init__(self, database: Database, me: Replica) -> None:
        self.me = me
        self._database = database
        self.takes_on_demand = True
        """Whether a pass may claim a target itself; else whoever divides the targets does."""
        self.wakes = 0
        """How often a person woke the replicas, as of the last beat: an approval or a pause to look at."""
        self._held: dict[Target, int] = {}
        self._highest = 0

    @property
    def held(self) -> Mapping[Target, int]:
        """The targets that are claimed, with their fencing numbers."""
        return self._held

    def register(self, lease: float) -> None:
        """Become one of the replicas, for so many seconds at first; again after a lease ended. Raises StateDirError."""
        me = self.me
        with self._database.transaction() as statements:
            statements.execute(_FORGET)
            statements.execute("DELETE FROM claims WHERE replica = ?", (me.id,))  # of an earlier lease
            statements.execute(_REGISTER, (me.id, me.host, me.pid, me.version, me.owner, lease))
        self._held.clear()

    def beat(self, lease: float, load: float, *, is_draining: bool, revision: str | None) -> bool:
        """Renew the lease; False when it had run out: then all claims are lost. Raises StateDirError, StateRolledBack."""
        with self._database.transaction() as statements:
            row = (lease, load, int(is_draining), revision, self.me.id)
            is_renewed = statements.execute(_BEAT, row).rowcount > 0
            last, self.wakes = statements.execute(_LAST).fetchone()
            is_older = last < self._highest
            if is_older:
                statements.execute("SELECT setval('fences', ?)", (self._highest + _SKIPPED,))
        if is_older:
            self._held.clear()
            raise StateRolledBack(self.me.id)
        self._highest = max(self._highest, last)
        if not is_renewed:
            self._held.clear()
        return is_renewed

    def leave(self) -> None:
        """Give everything up, so that others take it at once. Raises StateDirError."""
        self._held.clear()
        with self._database.transaction() as statements:
            statements.execute("DELETE FROM claims WHERE replica = ?", (self.me.id,))
            statements.execute("DELETE FROM replicas WHERE id = ?", (self.me.id,))

    def replicas(self) -> list[Replica]:
        """The replicas whose leases run. Raises StateDirError."""
        return replicas_of(self._database)

    def holders(self) -> dict[Target, Holding]:
        """All claims. Raises StateDirError."""
        rows = self._database.query(_HOLDERS)
        return {Target(store, namespace): Holding(*rest) for store, namespace, *rest in rows}

    def take(self, targets: Iterable[Target], costs: Mapping[Target, float]) -> list[Target]:
        """Claim those of the targets that no living replica holds. Returns them. Raises StateDirError."""
        taken = {}
        with self._database.transaction() as statements:
            for target in sorted(targets):  # always in this order, so that two replicas do not wait for each other
                row = (target.store, target.namespace, self.me.id, costs.get(target, 1.0))
                found = statements.execute(_TAKE, row).fetchone()
                if found is not None:
                    taken[target] = int(found[0])
        self._held |= taken
        self._highest = max([self._highest, *taken.values()])
        return list(taken)

    def ensure(self, target: Target) -> None:
        """Hold a target for a pass. Raises ClaimHeld when a living replica holds it, ClaimLost when this one should hold it and
        does not, StateDirError."""
        if target in self._held:
            return
        if not self.takes_on_demand:
            raise ClaimLost(str(target))
        with unbound():
            if not self.take([target], {}):
                holder = self.holders().get(target)
                raise ClaimHeld(str(target), holder.replica if holder is not None else "another replica")

    def give_up(self, targets: Sequence[Target]) -> None:
        """Let others take these targets. Raises StateDirError."""
        for target in targets:
            self._held.pop(target, None)
        sql = "DELETE FROM claims WHERE store = ? AND namespace = ? AND replica = ?"
        with self._database.transaction() as statements:
            statements.executemany(sql, [(target.store, target.namespace, self.me.id) for target in targets])

    def set_costs(self, costs: Mapping[Target, float]) -> None:
        """Note what targets cost, for all replicas. Raises StateDirError."""
        sql = "UPDATE claims SET cost = ? WHERE store = ? AND namespace = ? AND replica = ?"
        rows = [(cost, target.store, target.namespace, self.me.id) for target, cost in costs.items()]
        with self._database.transaction() as statements:
            statements.executemany(sql, rows)

    def check(self, statements: Statements) -> None:
        """At the start of a transaction: raise ClaimLost when the target of the pass under way is not ours any more."""
        target = _TARGET.get()
        if target is None:
            return
        fence = self._held.get(target)
        row = (target.store, target.namespace, self.me.id, fence)
        if fence is None or statements.execute(_GUARD, row).fetchone() is None:
            raise ClaimLost(str(target))


def replicas_of(database: Database) -> list[Replica]:
    """The replicas that share a state and whose leases run. Raises StateDirError."""
    found = []
    for *names, load, draining, revision, targets in database.query(_REPLICAS):
        replica_id, host, pid, version, owner, started_at, seen_at = names
        times = (started_at, seen_at)
        found.append(Replica(replica_id, host, pid, version, owner, *times, load, bool(draining), revision, targets))
    return found


def bind_pass(target: Target) -> None:
    """From here on, what this task writes to the state is for a pass of this target."""
    _TARGET.set(target)


@contextmanager
def unbound() -> Iterator[None]:
    """Inside, what is written is for no target: a run over several, say."""
    token = _TARGET.set(None)
    try:
        yield
    finally:
        _TARGET.reset(token)
