"""Results of the last pass of each target, drift history, and the daemon's own record, as `kvsync status` shows them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, field
from hashlib import blake2b
from typing import Any

from kvsync.model.entry import Target
from kvsync.state.context import Context
from kvsync.state.database import Query
from kvsync.state.rows import counts_of, counts_text, target_row
from kvsync.state.tables import DAEMON, PASSES
from kvsync.util.values import dataclass

_DAY = 86400.0

HISTORY_POINTS = 20_000
"""The number of points of drift that are kept, over all targets. Up to 1 % more are kept until the next pruning."""

_RECORD = """
INSERT INTO passes (store, namespace, attempted_at, succeeded_at, error, drift, changes, next_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (store, namespace) DO UPDATE SET
    attempted_at = excluded.attempted_at, error = excluded.error, drift = excluded.drift,
    changes = excluded.changes, next_at = excluded.next_at, succeeded_at = coalesce(excluded.succeeded_at, passes.succeeded_at)
"""
_ADD_DRIFT = "INSERT INTO drift (at, store, namespace, counts) VALUES (?, ?, ?, ?)"
_DROP = PASSES.delete_rows()
_PRUNE_DRIFT = "DELETE FROM drift WHERE seq <= (SELECT max(seq) FROM drift) - ?"
_UNCLAIMED_FOR = 600.0
"""Seconds without a pass after which a target that nobody claims is forgotten, where replicas share the state."""

_DROP_UNCLAIMED = """
DELETE FROM passes WHERE attempted_at < ? AND NOT EXISTS (
    SELECT 1 FROM claims WHERE claims.store = passes.store AND claims.namespace = passes.namespace
)
"""
_COLUMNS = "store, namespace, attempted_at, succeeded_at, error, drift, changes, next_at"
_DAEMON = 'pid, started_at, updated_at, mode, version, ready, "window", lease'


@dataclass(frozen=True, slots=True)
class PassRecord:
    """The last pass of one target. Moments are epoch seconds, `succeeded_at` that of the last pass without an error; `drift`
    counts by class, `changes` by outcome."""

    target: Target
    attempted_at: float
    succeeded_at: float | None
    error: str | None
    drift: Mapping[str, int] = field(default_factory=dict)
    changes: Mapping[str, int] = field(default_factory=dict)
    next_at: float | None = None


@dataclass(frozen=True, slots=True)
class DriftPoint:
    """Drifted entries that one pass found, by class."""

    at: float
    target: Target
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """The daemon's state in the leader election: the name of the lease, the daemon's id in it, the leader as far as it is
    known, and whether that is this daemon. `shares` has the leader of each share, None for one that no replica leads, and is
    empty where the targets are not divided; `problems` is what a person should mend."""

    name: str
    identity: str
    leader: str | None
    leads: bool
    shares: Mapping[str, str | None] = field(default_factory=dict)
    problems: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class DaemonRecord:
    """The daemon that runs, or ran last: `StateDir.writer()` says which. `mode` is `apply` or `observe`; `window` says which
    window denies applying now, if one does. `lease` None: there are no replicas."""

    pid: int
    started_at: float
    updated_at: float
    mode: str
    version: str
    ready: bool = False
    window: str | None = None
    lease: LeaseRecord | None = None


class PassHistory:
    """Last pass of each target, drift history and daemon record: written by the daemon, read by `kvsync status`."""

    def __init__(self, context: Context) -> None:
        self._context, self._database = context, context.database
        self._points = 0

    @property
    def _slot(self) -> int:
        """The row of this daemon: the only one, unless replicas share the state."""
        replica = self._context.replica()
        return 1 if replica is None else int.from_bytes(blake2b(replica.encode(), digest_size=6).digest(), "big")

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
        """Note a pass that ended at `at`; without an error it succeeded. Raises StateDirError."""
        succeeded_at, counts = (at if error is None else None), counts_text(drift or {})
        row = (at, succeeded_at, self._context.redacted(error), counts, counts_text(changes or {}), next_at)
        work: list[Query] = [(_RECORD, (*target_row(target), *row))]
        if error is None:
            work += [*self._pruning(), (_ADD_DRIFT, (at, *target_row(target), counts))]
        with self._database.transaction() as connection:
            self._database.execute_all(connection, work)

    def _pruning(self) -> list[Query]:
        """Return the queries that delete the oldest points of drift: with the first point of a process, then once for each
        1 % of the history, because each time changes one more page. One place is left for the point that is added next."""
        is_due = self._points % max(HISTORY_POINTS // 100, 1) == 0
        self._points += 1
        return [(_PRUNE_DRIFT, (HISTORY_POINTS - 1,))] if is_due else []

    def all(self) -> list[PassRecord]:
        """The last pass of every target, by target. Raises StateDirError."""
        rows = self._database.query(f"SELECT {_COLUMNS} FROM passes ORDER BY store, namespace")  # noqa: S608 - constants
        return [_pass(row) for row in rows]

    def keep(self, targets: Iterable[Target]) -> None:
        """Forget all targets but these: no file names the others any more. Raises StateDirError."""
        if self._context.replica() is not None:
            with self._database.transaction() as connection:
                connection.execute(_DROP_UNCLAIMED, (self._context.clock.now() - _UNCLAIMED_FOR,))
            return
        kept = set(targets)
        gone = [target_row(record.target) for record in self.all() if record.target not in kept]
        if gone:
            with self._database.transaction() as connection:
                self._database.write_rows(connection, _DROP, gone)

    def drift_history(self, target: Target | None = None, limit: int = 1000) -> list[DriftPoint]:
        """The last points of drift, oldest first, of one target or of all. Raises StateDirError."""
        where = "WHERE store = ? AND namespace = ?" if target else ""
        sql = f"SELECT at, store, namespace, counts FROM drift {where} ORDER BY seq DESC LIMIT ?"  # noqa: S608 - constants
        rows = self._database.query(sql, (*(target_row(target) if target else ()), limit))
        return [
            DriftPoint(at, Target(store, namespace), counts_of(counts))
            for at, store, namespace, counts in reversed(rows)
        ]

    def daemon(self) -> DaemonRecord | None:
        """The daemon that runs, or ran last. Raises StateDirError."""
        row = self._database.one(f"SELECT {_DAEMON} FROM daemon ORDER BY updated_at DESC LIMIT 1")  # noqa: S608 - constants
        if row is None:
            return None
        pid, started_at, updated_at, mode, version, ready, window, lease = row
        held = _lease(json.loads(lease)) if lease else None
        return DaemonRecord(pid, started_at, updated_at, mode, version, bool(ready), window, held)

    def set_daemon(self, daemon: DaemonRecord) -> None:
        """Note what the daemon is at. Raises StateDirError."""
        row = (
            self._slot,
            daemon.pid,
            daemon.started_at,
            daemon.updated_at,
            daemon.mode,
            daemon.version,
            int(daemon.ready),
            daemon.window,
            None if daemon.lease is None else json.dumps(asdict(daemon.lease)),
        )
        with self._database.transaction() as connection:
            connection.execute(DAEMON.upsert(), row)

    def clear_daemon(self) -> None:
        """Note that the daemon has left. Raises StateDirError."""
        with self._database.transaction() as connection:
            connection.execute(
                "DELETE FROM daemon WHERE one = ? OR updated_at < ?", (self._slot, self._context.clock.now() - _DAY)
            )

    def check(self) -> str | None:
        """Check that the state is still the one that was opened. Returns the name of a file that was missing and was written
        again, None if all is well. Raises StateDirLost if the state was removed, replaced or truncated."""
        self._database.check()
        return "key" if self._context.restore_key() else None


def _lease(fields: dict[str, Any]) -> LeaseRecord:
    problems = tuple(fields.pop("problems", ()))
    return LeaseRecord(**fields, problems=problems)


def _pass(row: tuple[Any, ...]) -> PassRecord:
    store, namespace, attempted_at, succeeded_at, error, drift, changes, next_at = row
    counts = counts_of(drift), counts_of(changes)
    return PassRecord(Target(store, namespace), attempted_at, succeeded_at, error, *counts, next_at)
