"""Pruning of the journal: which of the oldest runs are forgotten, by their number, age and size."""

from __future__ import annotations

from kvsync.state.context import Context
from kvsync.state.records import RunStatus
from kvsync.state.rows import SEQ_BITS

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

_SIZE = """
SELECT sum(200 + length(key) + coalesce(length(origin), 0) + coalesce(length(before), 0) + coalesce(length(before_value), 0))
FROM changes WHERE seq >= ? AND seq < ?
"""
"""The bytes that the changes of a run take, about."""


class JournalPruning:
    """Finds the runs that exceed a limit, and deletes them with their changes."""

    def __init__(self, context: Context) -> None:
        self._context, self._database = context, context.database
        self._sizes: dict[int, int] = {}

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
        self._sizes = {seq: size for seq, size in self._sizes.items() if seq > oldest}

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
        every = [seq for (seq,) in self._database.query("SELECT seq FROM runs")]
        moment = self._context.clock.now() - YOUNG
        prunable = [seq for (seq,) in self._database.query(_PRUNABLE, (RunStatus.RUNNING, moment))]
        total = sum(self._size(seq) for seq in set(every) - set(prunable))
        for seq in prunable:
            total += self._size(seq)
            if total > max_size:
                return int(seq)
        return 0

    def _size(self, seq: int) -> int:
        """The bytes that a run takes. Those of a run that ended stay the same."""
        if seq not in self._sizes:
            (size,) = self._database.one(_SIZE, (seq << SEQ_BITS, seq + 1 << SEQ_BITS))
            self._sizes[seq] = size or 0
        return self._sizes[seq]
