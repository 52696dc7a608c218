"""Lazy mappings over the rows of a target."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import ItemsView, Iterator, KeysView, Mapping, Sequence
from itertools import accumulate, chain, compress
from typing import TYPE_CHECKING, Any

from kvsync.desired.model import DocumentRows
from kvsync.errors import Origin
from kvsync.model.entry import Entry, Identity
from kvsync.util.lazy import lazy

if TYPE_CHECKING:
    from kvsync.desired.rows import Rows


class TargetRows:
    """All rows of one target, across its chunks, in order."""

    def __init__(self, chunks: Sequence[DocumentRows]) -> None:
        self.chunks = chunks

    @lazy
    def starts(self) -> list[int]:
        """The number of the first row of each chunk, and at the end the number of rows."""
        return list(accumulate((chunk.count for chunk in self.chunks), initial=0))

    @lazy
    def index(self) -> dict[Identity, int]:
        """The row of each identity; the last one, where there are several."""
        return dict(zip(self.identities(), range(self.starts[-1]), strict=True))

    @lazy
    def settled(self) -> dict[Identity, bytes]:
        """The fingerprints of entries about which there is nothing else to know."""
        parts = [chunk.rows for chunk in self.chunks]
        pairs = zip(self.identities(), chain.from_iterable(rows.prints for rows in parts), strict=True)
        states = [[shape.is_settled for shape in rows.table] for rows in parts]
        if all(map(all, states)):
            return dict(pairs)
        return dict(
            compress(pairs, (known[place] for rows, known in zip(parts, states, strict=True) for place in rows.shapes))
        )

    def release(self) -> None:
        """Free what was built from the chunks, which is built again when it is asked for."""
        for name in ("index", "settled"):
            self.__dict__.pop(name, None)
        for chunk in self.chunks:
            chunk.release()

    def identities(self) -> Iterator[Identity]:
        """The identities of all rows, in order. A mapping that has one for each row has them already: they are not made
        again, so that an entry has one identity in memory and not two."""
        for name in ("index", "settled"):
            known = self.__dict__.get(name, ())
            if len(known) == self.starts[-1]:
                return iter(known)
        return chain.from_iterable(chunk.rows.identities() for chunk in self.chunks)

    def remote_names(self) -> Iterator[str]:
        """What must differ from row to row in the store, in order."""
        from kvsync.desired.rows import with_labels

        parts = (chunk.rows for chunk in self.chunks)
        return chain.from_iterable(part.remote or with_labels(part.keys, part.labels) for part in parts)

    def place(self, row: int) -> tuple[Rows, int]:
        """The chunk's rows that a row of the target is in, and its number there."""
        at = bisect_right(self.starts, row) - 1
        return self.chunks[at].rows, row - self.starts[at]

    def origin(self, row: int) -> Origin:
        """Where a row was written."""
        rows, index = self.place(row)
        return rows.origin(index)


class EntriesView(Mapping[Identity, Entry]):
    """The entries of a target; each is built when it is asked for. Those that were `edited` are built already, or None if they
    are gone: a pass that asks for them alone needs no index of all rows."""

    def __init__(self, rows: TargetRows, edited: Mapping[Identity, Entry | None] | None = None) -> None:
        self._rows, self._edited = rows, edited or {}

    def __getitem__(self, identity: Identity) -> Entry:
        if (edited := self._edited.get(identity)) is not None:
            return edited
        rows, index = self._rows.place(self._rows.index[identity])
        return rows.entry(index)

    def get(self, identity: object, default: Any = None) -> Any:
        """The entry, or the default; faster than by an exception."""
        if identity in self._edited:
            edited = self._edited[identity]  # type: ignore[index]
            return default if edited is None else edited
        row = self._rows.index.get(identity)  # type: ignore[call-overload]
        if row is None:
            return default
        rows, index = self._rows.place(row)
        return rows.entry(index)

    def __iter__(self) -> Iterator[Identity]:
        return iter(self._rows.index)

    def __len__(self) -> int:
        return self._rows.starts[-1]

    def __contains__(self, identity: object) -> bool:
        if identity in self._edited:
            return self._edited[identity] is not None  # type: ignore[index]
        return identity in self._rows.index

    def keys(self) -> KeysView[Identity]:
        """The identities, as those of a dict."""
        return self._rows.index.keys()

    def __repr__(self) -> str:
        return f"<{len(self)} entries>"


class SettledView(Mapping[Identity, bytes]):
    """The fingerprints of a target; a dict behind a curtain, as fast as one in all but `[]`."""

    def __init__(self, rows: TargetRows) -> None:
        self._rows = rows

    def __getitem__(self, identity: Identity) -> bytes:
        return self._rows.settled[identity]

    def __iter__(self) -> Iterator[Identity]:
        return iter(self._rows.settled)

    def __len__(self) -> int:
        return len(self._rows.settled)

    def __contains__(self, identity: object) -> bool:
        return identity in self._rows.settled

    def get(self, identity: Identity, default: Any = None, /) -> Any:
        """The fingerprint, or `default`."""
        return self._rows.settled.get(identity, default)

    def keys(self) -> KeysView[Identity]:
        """The identities, as those of a dict."""
        return self._rows.settled.keys()

    def items(self) -> ItemsView[Identity, bytes]:
        """Identities and fingerprints, as those of a dict."""
        return self._rows.settled.items()

    def __repr__(self) -> str:
        return f"<{len(self)} fingerprints>"
