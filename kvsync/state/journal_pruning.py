"""Pruning of the journal: which of the oldest runs are forgotten, by their number, age and size."""

from __future__ import annotations

from kvsync.state.context import Context
from kvsync.state.records import RunStatus
from kvsync.state.rows import SEQ_BITS
from kvsync.util.pieces import pieces

KEEP_RUNS = 100_000
"""How many runs `prune` keeps by default: more than bytes and days leave, except where many runs change little."""

YOUNG = 3600.0
"""Seconds in which a run is not forgotten for the size of the journal: passes look at what was just written."""

AT_LEAST = 20
"""Runs that are not forgotten for their age: the clock may be wrong."""

_ENDED = "seq < coalesce((SELECT min(seq) FROM runs WHERE status = ?), 9000000000000000000)"

_TOO_MANY = f"""
SELECT seq FROM runs WHERE {_ENDED} ORDER BY seq DESC LIMIT 1 OFFSET ?
"""  # noqa: S608 - constants

_TOO_OLD = f"""
SELECT max(seq) FROM runs WHERE {_ENDED} AND started_at < ?
    AND seq <= (SELECT seq FROM runs ORDER BY seq DESC LIMIT 1 OFFSET ?)
"""  # noqa: S608 - constants

_PRUNABLE = f"""
SELECT seq FROM runs WHERE {_ENDED} AND started_at < ?
ORDER BY seq DESC
"""  # noqa: S608 - constants

_SIZES = f"""
SELECT seq >> {SEQ_BITS},
    sum(200 + length(key) + coalesce(length(origin), 0) + coalesce(length(before), 0) + coalesce(length(before_value), 0))
FROM changes WHERE seq >= ? AND seq < ? GROUP BY 1
"""  # noqa: S608 - constants
"""The bytes that the changes of each run take, about."""

_AT_ONCE = 100
"""Runs of which the sizes are read in one statement: far from what takes as long as a statement may."""


class JournalPruning:
    """Finds the runs that exceed a limit, and deletes them with their changes."""

    def __init__(self, context: Context) -> None:
        self._context, self._database = context, context.database
        self._sizes: dict[int, int] = {}
        self._ended = 0
        """All runs up to this one have ended, and their sizes are known."""

    def prune(self, keep_runs: int, max_age: float | None, max_size: int | None) -> None:
        """Forget what exceeds a limit, as `Journal.prune` says. Raises StateDirError."""
        too_many = self._database.one(_TOO_MANY, (RunStatus.RUNNING, keep_runs))
        oldest = max(0 if too_many is None else too_many[0], self._too_old(max_age), self._too_large(max_size))
        if not oldest:
            return
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM changes WHERE seq < ?", (oldest + 1 << SEQ_BITS,))
            connection.execute("DELETE FROM namespace_deletions WHERE run <= ?", (oldest,))
            connection.execute("DELETE FROM restore_points WHERE run <= ?", (oldest,))
            connection.execute("DELETE FROM runs WHERE seq <= ?", (oldest,))

    def _too_old(self, max_age: float | None) -> int:
        """The last run that began too long ago, 0 for none."""
        if max_age is None:
            return 0
        # Runs carry the wall clock's time. One that was set must not make them look old.
        moment = min(self._context.clock.now(), self._context.timeline.now()) - max_age
        (seq,) = self._database.one(_TOO_OLD, (RunStatus.RUNNING, moment, AT_LEAST))
        return seq or 0

    def _too_large(self, max_size: int | None) -> int:
        """The last run that does not fit with those after it, 0 when all fit."""
        if max_size is None or self._database.size() <= max_size:
            return 0
        sizes = self._read_sizes()
        total = sum(sizes.values())
        if total <= max_size:  # a table of PostgreSQL stays as large as it once was
            return 0
        moment = self._context.clock.now() - YOUNG
        prunable = [seq for (seq,) in self._database.query(_PRUNABLE, (RunStatus.RUNNING, moment))]
        total -= sum(sizes.get(seq, 0) for seq in prunable)
        for seq in prunable:
            total += sizes.get(seq, 0)
            if total > max_size:
                return int(seq)
        return 0

    def _read_sizes(self) -> dict[int, int]:
        """The bytes that each run takes. Those of a run that ended stay the same, and are read once."""
        (first,) = self._database.one("SELECT coalesce(min(seq), 0) FROM runs")
        runs = self._database.query("SELECT seq, status FROM runs WHERE seq > ? ORDER BY seq", (self._ended,))
        sizes = {seq: size for seq, size in self._sizes.items() if seq >= first}
        for some in pieces((seq for seq, _ in runs if seq not in sizes), _AT_ONCE):
            found = dict(self._database.query(_SIZES, (some[0] << SEQ_BITS, some[-1] + 1 << SEQ_BITS)))
            sizes |= {seq: int(found.get(seq, 0)) for seq in some}
        running = {seq for seq, status in runs if status == RunStatus.RUNNING}
        self._sizes = {seq: size for seq, size in sizes.items() if seq not in running}
        self._ended = min(running, default=max(sizes, default=0) + 1) - 1
        return sizes
