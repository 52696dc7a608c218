"""Splits a ledger into chunks that fit into the values of a store, and joins them again.

    document ──cut where its content says──> chunks, each named by its content ──> root: the names in their order, and a digest

A document that changed in one place shares nearly all of its chunks with the one before, because their names come from their
content: only new ones are written. The root is one value and written last, so that a reader gets one document or the other. If
the names do not fit into a root, they are cut into chunks themselves.
"""

from __future__ import annotations

import re
from base64 import b85decode, b85encode, urlsafe_b64encode
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final
from zlib import crc32

_NAME: Final = 8
"""Characters of a name."""

LONGEST_NAME: Final = 1 + _NAME
"""Characters by which the key of a chunk is longer than that of the root: a dot and the name."""

_HEAD: Final = 100
"""Characters of a root that are left for what it holds besides names."""

_CUTS: Final = re.compile(r"[\]}\n]")
"""Where a document may be cut: at the ends of its parts, whatever its format is."""

_ROOT: Final = re.compile(r"kvsync\.pieces/1 ([tb])(\d) ([\w-]{22}) ([\w-]*)", re.ASCII)


class MissingChunks(LookupError):
    """Chunks that a document needs are missing: `names`."""

    def __init__(self, names: Collection[str]) -> None:
        super().__init__(f"{len(names)} chunks are missing")
        self.names = frozenset(names)


@dataclass(frozen=True, slots=True)
class ChunkedDocument:
    """A document in chunks, by name."""

    root: str
    chunks: Mapping[str, str]


def cut(document: bytes, most: int) -> ChunkedDocument:
    """Cut a document into chunks of at most `most` characters. The same document is always cut in the same way."""
    form, text = _text_of(document)
    parts, depth = _parts(text, most), 0
    chunks = {_name(part): part for part in parts}
    names = "".join(map(_name, parts))
    while len(names) > most - _HEAD:
        parts, depth = _equal_parts(names, most), depth + 1
        chunks |= {_name(part): part for part in parts}
        names = "".join(map(_name, parts))
    return ChunkedDocument(f"kvsync.pieces/1 {form}{depth} {_digest(document, 16)} {names}", chunks)


@dataclass(frozen=True, slots=True)
class Joined:
    """A document, and the names of all chunks that it was made of."""

    document: bytes
    names: frozenset[str]


def join(root: str, chunks: Mapping[str, str]) -> Joined:
    """Put a document together. Raises MissingChunks, and ValueError for a root or chunks that were not made by `cut`."""
    found = _ROOT.fullmatch(root)
    if found is None:
        raise ValueError("it is not a list of chunks")
    form, depth, digest, text = found.groups()
    used: set[str] = set()
    for _ in range(int(depth) + 1):
        names = [text[start : start + _NAME] for start in range(0, len(text), _NAME)]
        if missing := [name for name in names if name not in chunks]:
            raise MissingChunks(missing)
        used.update(names)
        text = "".join(chunks[name] for name in names)
    document = _document_of(form, text)
    if _digest(document, 16) != digest:
        raise ValueError("the checksum of the chunks is wrong")
    return Joined(document, frozenset(used))


def is_chunk(name: str, text: str) -> bool:
    """True if `text` is what it was when it was named."""
    return _name(text) == name


def _text_of(document: bytes) -> tuple[str, str]:
    try:
        return "t", document.decode()
    except UnicodeDecodeError:
        return "b", b85encode(document).decode()


def _document_of(form: str, text: str) -> bytes:
    return text.encode() if form == "t" else b85decode(text)


def _parts(text: str, most: int) -> list[str]:
    """Parts of `most` characters or fewer, and at least half of them. Each ends at the possible cut that a checksum of the text
    before it selects, so that soon after a change the ends are the same again."""
    parts: list[str] = []
    start = 0
    while len(text) - start > most:
        ends = [found.end() for found in _CUTS.finditer(text, start + most // 2, start + most)]
        end = min(ends, key=_checksum(text), default=start + most)
        parts.append(text[start:end])
        start = end
    return [*parts, text[start:]]


def _checksum(text: str) -> Callable[[int], int]:
    return lambda end: crc32(text[end - 32 : end].encode("utf-8", "surrogatepass"))


def _equal_parts(names: str, most: int) -> list[str]:
    return [names[start : start + most] for start in range(0, len(names), most)]


def _name(text: str) -> str:
    return _digest(text.encode(), 6)


def _digest(data: bytes, size: int) -> str:
    return urlsafe_b64encode(blake2b(data, digest_size=size).digest()).decode().rstrip("=")
