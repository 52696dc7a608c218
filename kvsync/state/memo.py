"""What the last clean pass of a place saw, so that the next one can tell at once that nothing has changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from kvsync.core.model import sealed
from kvsync.state.context import Context
from kvsync.state.rows import counts_of, counts_text

_GET = "SELECT token, next_moment, counts FROM memo WHERE place = ? AND desired = ? AND config = ?"
_DROP = "DELETE FROM memo WHERE place = ?"


@dataclass(frozen=True, slots=True)
class Memo:
    """A clean pass: the store's token for what it held, when the target needs a pass anyway (epoch seconds), and its counts."""

    token: str | None
    next_moment: float | None = None
    counts: Mapping[str, int] = field(default_factory=dict)


class Memos:
    """The last clean pass of each target. Digests of desired state may rest on sensitive values, so they are kept sealed."""

    def __init__(self, context: Context) -> None:
        self._database, self._key = context.database, context.key

    def get(self, place: str, desired: str, config: str) -> Memo | None:
        """The memo of a place, if files and configuration are still those with these digests. Raises StateDirError."""
        row = self._database.one(_GET, (place, self._sealed(desired), config))
        return Memo(row[0], row[1], counts_of(row[2])) if row is not None else None

    def put(self, place: str, desired: str, config: str, memo: Memo) -> None:
        """Remember a clean pass over files and configuration with these digests. Raises StateDirError."""
        row = (
            place,
            self._sealed(desired),
            config,
            memo.token,
            memo.next_moment,
            counts_text(memo.counts),
        )
        with self._database.transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO memo VALUES (?, ?, ?, ?, ?, ?)", row)

    def drop(self, place: str) -> None:
        """Forget the memo of a place, as before its store is written. Raises StateDirError."""
        with self._database.transaction() as connection:
            connection.execute(_DROP, (place,))

    def _sealed(self, digest: str) -> bytes:
        return sealed(digest.encode(), self._key())
