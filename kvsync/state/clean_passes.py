"""The last clean pass of a place, so that the next pass can skip unchanged work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import field
from hashlib import blake2b

from kvsync.errors import StateDirError
from kvsync.state.by_place import Row, RowsByPlace
from kvsync.state.context import Context
from kvsync.state.rows import counts_of, counts_text
from kvsync.state.tables import MEMO
from kvsync.util.values import dataclass

TOGETHER = 100
"""Clean passes that are written in one transaction."""

_PUT = MEMO.upsert_rows()
_DROP = "DELETE FROM memo WHERE place = ?"


@dataclass(frozen=True, slots=True)
class CleanPass:
    """A clean pass: the store's token for what it held, when the target needs a pass anyway (epoch seconds), and its counts."""

    token: str | None
    next_moment: float | None = None
    counts: Mapping[str, int] = field(default_factory=dict)


class CleanPasses:
    """The last clean pass of each target. Digests of desired state may rest on sensitive values, so they are kept sealed."""

    def __init__(self, context: Context) -> None:
        self._database, self._key, self._timeline = context.database, context.key, context.timeline
        self.rows = RowsByPlace(context.database, "memo", "desired, config, token, next_moment, counts")
        self._deferred: dict[str, Row] | None = None

    def get(self, place: str, desired: str, config: str) -> CleanPass | None:
        """The clean pass of a place, if files and configuration are still those with these digests, and the clock was not set
        in the meantime: lifetimes and waits may be due at other moments since. Raises StateDirError."""
        known = (self._sealed(desired), self._dated(config))
        for *found, token, next_moment, counts in self.rows.of(place):
            if (*found,) == known:
                with suppress(ValueError):  # a damaged record says nothing
                    return CleanPass(token, next_moment, counts_of(counts))
        return None

    def put(self, place: str, desired: str, config: str, clean: CleanPass) -> None:
        """Remember a clean pass over files and configuration with these digests. Raises StateDirError."""
        rest = (clean.token, clean.next_moment, counts_text(clean.counts))
        row = (place, self._sealed(desired), self._dated(config), *rest)
        if self._deferred is not None:
            self._deferred[place] = row
            if len(self._deferred) >= TOGETHER:
                self._write_deferred()
            return
        self.rows.changed(place)
        self._write([row])

    def drop(self, place: str) -> None:
        """Remove the clean pass of a place, as before its store is written. Raises StateDirError."""
        if self._deferred is not None:
            self._deferred.pop(place, None)
        if not self.rows.of(place):
            return  # a look costs less than a transaction
        self.rows.changed(place)
        with self._database.transaction() as connection:
            connection.execute(_DROP, (place,))

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Inside, clean passes are written many at a time, the last ones at the end. A record only saves work, so a directory
        that cannot be written is not an error here."""
        self._deferred = {}
        try:
            yield
            self._write_deferred()
        finally:
            self._deferred = None

    def _write_deferred(self) -> None:
        rows, self._deferred = self._deferred or {}, {}
        for place in rows:
            self.rows.changed(place)
        with suppress(StateDirError):
            self._write(list(rows.values()))

    def _write(self, rows: Sequence[Row]) -> None:
        if rows:
            with self._database.transaction() as connection:
                self._database.write_rows(connection, _PUT, rows)

    def _dated(self, config: str) -> str:
        step = self._timeline.step()
        return f"{config}:{step}" if step else config

    def _sealed(self, digest: str) -> bytes:
        return blake2b(digest.encode(), key=self._key(), digest_size=16).digest()
