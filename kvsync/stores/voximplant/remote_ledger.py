"""Ledger in the store: a root and pieces next to the entries of the namespace.

    web:greeting                  an entry
    web:#kvsync.ledger            the root
    web:#kvsync.ledger.Zk3x0-aB   a piece

They come with the listing of the namespace. New pieces are written first, then the root. Whoever reads meanwhile finds all that
the root they saw needs, and whoever writes at the same time all that theirs does: nothing is taken for granted but what the
root in force needs, and nothing is deleted that it needed, or that was written a short time ago.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from kvsync.errors import LostAnswer, PermanentError
from kvsync.http.moments import moment_from
from kvsync.stores.voximplant.chunks import ROOT_KEY, MissingPieces, cut, is_piece, join
from kvsync.stores.voximplant.limits import LONGEST
from kvsync.stores.voximplant.listing import Item
from kvsync.stores.voximplant.remote import Storage
from kvsync.stores.voximplant.writing import Writer

_FEW: Final = 20
"""Pieces that are read one by one; more are listed with the namespace."""

_YOUNG: Final = 3600
"""Seconds for which a piece is left alone that no root needs: another machine may be about to write one that does."""

_ROUNDS: Final = 3
"""How often a root is read again whose pieces are not there any more."""


class Piece(NamedTuple):
    """What one key holds. `expires_at` is in epoch seconds."""

    text: str
    expires_at: float


@dataclass(slots=True)
class _Seen:
    """What is known to be in the store. `root` is None where there is none, or where it is not known (`is_known`); `needed`
    are the names that its ledger is made of, `written` those of pieces that were written from here since."""

    is_known: bool = False
    root: Piece | None = None
    pieces: dict[str, Piece] = field(default_factory=dict)
    needed: frozenset[str] = frozenset()
    written: set[str] = field(default_factory=set)


class RemoteLedger:
    """The ledger of one namespace, whose keys begin with `prefix`. `list_all` lists the namespace, and has it taken in."""

    def __init__(self, storage: Storage, writer: Writer, prefix: str, list_all: Callable[[], Awaitable[Any]]) -> None:
        self._storage, self._writer, self._list_all = storage, writer, list_all
        self._root_key = f"{prefix}{ROOT_KEY}"
        self._seen = _Seen()

    def take_in(self, items: Mapping[str, Item]) -> None:
        """Learn from a listing of the namespace what there is."""
        start = f"{self._root_key}."
        pieces = {key.removeprefix(start): _piece(item) for key, item in items.items() if key.startswith(start)}
        root = items.get(self._root_key)
        self._seen = _Seen(
            is_known=True,
            root=None if root is None else _piece(root),
            pieces={name: piece for name, piece in pieces.items() if is_piece(name, piece.text)},
        )
        with suppress(MissingPieces, ValueError):
            self._joined()

    async def latest(self) -> tuple[bytes | None, float | None]:
        """The ledger as it was taken in, or read now where pieces of that have gone since: (as much of it as there is, when the
        first of it ends). Raises StoreError."""
        try:
            document = self._joined()
        except MissingPieces:
            try:
                document = await self.read()
            except PermanentError:
                document = self._rest()
        except ValueError:
            document = self._rest()
        return document, self._ends() if document is not None else None

    async def read(self) -> bytes | None:
        """The ledger as it is now, None where there is none. Raises StoreError; PermanentError for one that is not whole."""
        for _ in range(_ROUNDS):
            root = await self._storage.item(self._root_key)
            self._seen.is_known, self._seen.root = True, None if root is None else _piece(root)
            self._seen.needed = frozenset()
            try:
                return await self._completed()
            except MissingPieces:
                continue  # someone wrote another ledger since
            except ValueError as reason:
                raise PermanentError(f"{self._storage.where}: {self._root_key}: {reason}") from None
        raise PermanentError(f"{self._storage.where}: {self._root_key}: pieces of it are missing")

    async def write(self, document: bytes) -> None:
        """Leave a ledger in place of the one before. May be repeated after an error: what is done need not be done again.
        Raises StoreError."""
        if not self._seen.is_known:
            await self._know()
        new, before = cut(document), self._seen.needed
        for name, text in new.pieces.items():
            is_sure = name in before or name in self._seen.written
            if not is_sure or self._is_old(self._seen.pieces.get(name)):
                await self._put(f"{self._root_key}.{name}", text)
                self._seen.pieces[name] = self._fresh(text)
                self._seen.written.add(name)
        root = self._seen.root
        if root is None or root.text != new.root or self._is_old(root):
            await self._put(self._root_key, new.root)
            self._seen.root = self._fresh(new.root)
        self._seen.needed = frozenset(new.pieces)
        await self._clear(before)

    async def remove(self) -> None:
        """Delete root and pieces. May be repeated after an error. Raises StoreError."""
        await self._writer.delete(self._storage, self._root_key)
        self._seen.root, self._seen.needed = None, frozenset()
        await self._list_all()
        for name in list(self._seen.pieces):
            await self._writer.delete(self._storage, f"{self._root_key}.{name}")
            del self._seen.pieces[name]

    async def _completed(self) -> bytes | None:
        """The document of the root that is known, with pieces read where they are missing. Raises MissingPieces for pieces
        that are not there, ValueError, StoreError."""
        while True:
            try:
                return self._joined()
            except MissingPieces as missing:
                if len(missing.names) > _FEW:
                    await self._list_all()
                    return self._joined()
                for name in missing.names:
                    await self._fetch(name, missing)

    async def _fetch(self, name: str, missing: MissingPieces) -> None:
        item = await self._storage.item(f"{self._root_key}.{name}")
        if item is None or not is_piece(name, _piece(item).text):
            raise missing
        self._seen.pieces[name] = _piece(item)

    def _joined(self) -> bytes | None:
        """The document, None where there is no root; notes what it needs. Raises MissingPieces, ValueError."""
        if self._seen.root is None:
            return None
        joined = join(self._seen.root.text, {name: piece.text for name, piece in self._seen.pieces.items()})
        self._seen.needed = joined.names
        return joined.document

    def _rest(self) -> bytes:
        """What there is of a ledger that is not whole: no document, which whoever decodes it finds out."""
        return b"" if self._seen.root is None else self._seen.root.text.encode()

    async def _know(self) -> None:
        try:
            await self.read()
        except PermanentError:
            return  # it is not whole, and replaced

    def _ends(self) -> float | None:
        pieces = [self._seen.pieces[name] for name in self._seen.needed if name in self._seen.pieces]
        ends = [piece.expires_at for piece in (*pieces, self._seen.root) if piece is not None]
        return min(ends, default=None)

    def _is_old(self, piece: Piece | None) -> bool:
        """True for what is to be written: it is not there, or ends before long, so that not every piece has a day of its
        own."""
        return piece is None or piece.expires_at - self._storage.clock.now() < LONGEST / 2

    def _fresh(self, text: str) -> Piece:
        return Piece(text, self._storage.clock.now() + LONGEST)

    async def _put(self, key: str, text: str) -> None:
        try:
            await self._writer.put(self._storage, key, text, {"ttl": LONGEST})
        except LostAnswer:
            item = await self._storage.item(key)
            if item is None or item.get("value") != text:
                raise

    async def _clear(self, before: frozenset[str]) -> None:
        """Delete what neither this ledger needs nor the one before it, and nobody is about to need."""
        since = self._storage.clock.now() + LONGEST - _YOUNG
        for name in self._seen.pieces.keys() - self._seen.needed - before:
            if self._seen.pieces[name].expires_at < since:
                await self._writer.delete(self._storage, f"{self._root_key}.{name}")
                del self._seen.pieces[name]


def _piece(item: Item) -> Piece:
    value = item.get("value")
    return Piece(value if isinstance(value, str) else "", moment_from(item.get("expires_at")) or 0.0)
