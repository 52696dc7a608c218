"""Ledger in a store whose values are too small for it: a root and chunks, in keys next to the entries.

    web:greeting                  an entry
    web:#kvsync.ledger            the root
    web:#kvsync.ledger.Zk3x0-aB   a chunk

They come with the listing of the namespace. New chunks are written first, then the root. So a reader finds every chunk of the
root that it saw, although another machine may write at the same time: nothing counts as written except what the current root
needs, and neither chunks of the root before it nor recently written ones are deleted.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol

from kvsync.errors import LostAnswer, PermanentError
from kvsync.stores.ledger_chunks import LONGEST_NAME, MissingChunks, cut, is_chunk, join
from kvsync.util.clock import Clock

RESERVED: Final = "#kvsync."
"""Part of every key of a ledger, and of no key of an entry."""

_ROOT_KEY: Final = f"{RESERVED}ledger"

LONGEST_KEY: Final = len(_ROOT_KEY) + LONGEST_NAME
"""Characters of the key of a chunk, without the prefix of its namespace."""

_FEW: Final = 20
"""Chunks that are read one by one; if more are missing, the namespace is listed."""

_YOUNG: Final = 3600
"""Seconds for which an unneeded chunk is kept: another machine may be about to write a root that needs it."""

_ROUNDS: Final = 3
"""How often a root is read again because its chunks are gone."""


class Chunk(NamedTuple):
    """The value of one key, and when it expires (epoch seconds)."""

    text: str
    expires_at: float


class ChunkStorage(Protocol):
    """The keys of a store, for one ledger. All methods raise StoreError."""

    async def get(self, key: str) -> Chunk | None:
        """Read a key, None if there is none."""

    async def put(self, key: str, text: str) -> None:
        """Write a key with the longest lifetime."""

    async def delete(self, key: str) -> None:
        """Delete a key that may exist."""


@dataclass(frozen=True, slots=True)
class ChunkLimits:
    """`lifetime` is how long a key lives at most, in seconds; `size` is the number of characters of a value."""

    lifetime: int
    size: int


@dataclass(slots=True)
class _Seen:
    """What is known to be in the store. `root` is None if there is none, or it is not known (`is_known`). `needed` are the
    names of the chunks of its ledger, `written` those of chunks that were written from here since."""

    is_known: bool = False
    root: Chunk | None = None
    chunks: dict[str, Chunk] = field(default_factory=dict)
    needed: frozenset[str] = frozenset()
    written: set[str] = field(default_factory=set)


class ChunkedLedger:
    """The ledger of one namespace, whose keys begin with `prefix`. `list_all` lists the namespace and calls `observe`; `label`
    names the store in messages."""

    def __init__(
        self,
        label: str,
        storage: ChunkStorage,
        prefix: str,
        limits: ChunkLimits,
        clock: Clock,
        list_all: Callable[[], Awaitable[Any]],
    ) -> None:
        self._storage, self._limits, self._clock, self._list_all = storage, limits, clock, list_all
        self._label = label
        self._root_key = f"{prefix}{_ROOT_KEY}"
        self._seen = _Seen()

    def observe(self, listed: Mapping[str, Chunk]) -> None:
        """Take in a complete listing of the namespace, by key; entries are ignored."""
        start = f"{self._root_key}."
        chunks = {key.removeprefix(start): chunk for key, chunk in listed.items() if key.startswith(start)}
        chunks = {name: chunk for name, chunk in chunks.items() if is_chunk(name, chunk.text)}
        self._seen = _Seen(is_known=True, root=listed.get(self._root_key), chunks=chunks)
        with suppress(MissingChunks, ValueError):
            self._joined()

    async def latest(self) -> tuple[bytes | None, float | None]:
        """The ledger as it was observed, read again if some of its chunks are missing, and when the first of it expires. An
        incomplete one comes as bytes that are not a ledger. Raises StoreError."""
        try:
            document = self._joined()
        except MissingChunks:
            try:
                document = await self.read()
            except PermanentError:
                document = self._incomplete()
        except ValueError:
            document = self._incomplete()
        return document, self._expires_at() if document is not None else None

    async def read(self) -> bytes | None:
        """The ledger as it is now, None if there is none. Raises StoreError; PermanentError if it is incomplete."""
        for _ in range(_ROUNDS):
            self._seen.is_known, self._seen.root = True, await self._storage.get(self._root_key)
            self._seen.needed = frozenset()
            try:
                return await self._completed()
            except MissingChunks:
                continue  # another machine has written a new ledger
            except ValueError as reason:
                raise PermanentError(f"{self._label}: {self._root_key}: {reason}") from None
        raise PermanentError(f"{self._label}: {self._root_key}: chunks of it are missing")

    async def write(self, document: bytes) -> None:
        """Replace the ledger. Can be repeated after an error, and then continues. Raises StoreError."""
        if not self._seen.is_known:
            with suppress(PermanentError):  # then it is incomplete, and replaced
                await self.read()
        new, before = cut(document, self._limits.size), self._seen.needed
        for name, text in new.chunks.items():
            is_certain = name in before or name in self._seen.written
            if not is_certain or self._is_due(self._seen.chunks.get(name)):
                await self._put(f"{self._root_key}.{name}", text)
                self._seen.chunks[name] = self._fresh(text)
                self._seen.written.add(name)
        root = self._seen.root
        if root is None or root.text != new.root or self._is_due(root):
            await self._put(self._root_key, new.root)
            self._seen.root = self._fresh(new.root)
        self._seen.needed = frozenset(new.chunks)
        await self._delete_unneeded(before)

    async def remove(self) -> None:
        """Delete the root and all chunks. Can be repeated after an error. Raises StoreError."""
        await self._storage.delete(self._root_key)
        self._seen.root, self._seen.needed = None, frozenset()
        await self._list_all()
        for name in list(self._seen.chunks):
            await self._storage.delete(f"{self._root_key}.{name}")
            del self._seen.chunks[name]

    async def _completed(self) -> bytes | None:
        """The document of the known root; missing chunks are read. Raises MissingChunks for chunks that do not exist,
        ValueError, StoreError."""
        while True:
            try:
                return self._joined()
            except MissingChunks as missing:
                if len(missing.names) > _FEW:
                    await self._list_all()
                    return self._joined()
                for name in missing.names:
                    await self._fetch(name, missing)

    async def _fetch(self, name: str, missing: MissingChunks) -> None:
        chunk = await self._storage.get(f"{self._root_key}.{name}")
        if chunk is None or not is_chunk(name, chunk.text):
            raise missing
        self._seen.chunks[name] = chunk

    def _joined(self) -> bytes | None:
        """The document, None without a root; notes which chunks it needs. Raises MissingChunks, ValueError."""
        if self._seen.root is None:
            return None
        joined = join(self._seen.root.text, {name: chunk.text for name, chunk in self._seen.chunks.items()})
        self._seen.needed = joined.names
        return joined.document

    def _incomplete(self) -> bytes:
        """Bytes in place of an incomplete ledger, which cannot be decoded."""
        return b"" if self._seen.root is None else self._seen.root.text.encode()

    def _expires_at(self) -> float | None:
        chunks = [self._seen.chunks[name] for name in self._seen.needed if name in self._seen.chunks]
        ends = [chunk.expires_at for chunk in (*chunks, self._seen.root) if chunk is not None]
        return min(ends, default=None)

    def _is_due(self, chunk: Chunk | None) -> bool:
        """True if a chunk must be written: it does not exist, or half of its lifetime has passed. So chunks are renewed
        together instead of on many different days."""
        return chunk is None or chunk.expires_at - self._clock.now() < self._limits.lifetime / 2

    def _fresh(self, text: str) -> Chunk:
        return Chunk(text, self._clock.now() + self._limits.lifetime)

    async def _put(self, key: str, text: str) -> None:
        try:
            await self._storage.put(key, text)
        except LostAnswer:
            chunk = await self._storage.get(key)
            if chunk is None or chunk.text != text:
                raise

    async def _delete_unneeded(self, before: frozenset[str]) -> None:
        """Delete old chunks that neither this ledger nor the one before it needs."""
        since = self._clock.now() + self._limits.lifetime - _YOUNG
        for name in self._seen.chunks.keys() - self._seen.needed - before:
            if self._seen.chunks[name].expires_at < since:
                await self._storage.delete(f"{self._root_key}.{name}")
                del self._seen.chunks[name]
