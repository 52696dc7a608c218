"""Splits a document into pieces that fit into values, and joins them again.

    document ──cut where its content says──> pieces, each named by its content ──> root: the names in their order, and a digest

Since a piece is named by what it holds, a document that changed in one place shares nearly all of its pieces with the one
before: only what is new is written. The root is one value and written last, so that a reader has the one document or the
other. Where the names do not fit into a root they are cut into pieces themselves.
"""

from __future__ import annotations

import re
from base64 import b85decode, b85encode, urlsafe_b64encode
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final
from zlib import crc32

from kvsync.stores.voximplant.limits import MOST_VALUE

RESERVED: Final = "#kvsync."
"""What stands in the keys of a ledger, and in no key of a state file."""

ROOT_KEY: Final = f"{RESERVED}ledger"
"""The key of a root, below what all keys of a namespace begin with; a dot and a name follow in those of pieces."""

USUAL: Final = 1500
"""Characters of a piece, about."""

_LEAST: Final = 1000
_NAME: Final = 8
"""Characters of a name."""

LONGEST_KEY: Final = len(ROOT_KEY) + 1 + _NAME
"""Characters of the key of a piece."""

_IN_ROOT: Final = 1900
"""Characters of names that stand next to what else a root holds."""

_PLACES: Final = re.compile(r"[\]}\n]")
"""Where a document may be cut: at the ends of what it consists of, whatever its format is."""

_ROOT: Final = re.compile(r"kvsync\.pieces/1 ([tb])(\d) ([\w-]{22}) ([\w-]*)", re.ASCII)


class MissingPieces(LookupError):
    """Pieces that a document needs are not at hand: `names`."""

    def __init__(self, names: Collection[str]) -> None:
        super().__init__(f"{len(names)} pieces are missing")
        self.names = frozenset(names)


@dataclass(frozen=True, slots=True)
class Cut:
    """A document in pieces, by name."""

    root: str
    pieces: Mapping[str, str]


def cut(document: bytes) -> Cut:
    """Cut a document, the same one always in the same way."""
    form, text = _text_of(document)
    parts, depth = _parts(text), 0
    pieces = {_name(part): part for part in parts}
    names = "".join(map(_name, parts))
    while len(names) > _IN_ROOT:
        parts, depth = _equal_parts(names), depth + 1
        pieces |= {_name(part): part for part in parts}
        names = "".join(map(_name, parts))
    return Cut(f"kvsync.pieces/1 {form}{depth} {_digest(document, 16)} {names}", pieces)


@dataclass(frozen=True, slots=True)
class Joined:
    """A document, and the names of all pieces that it was made of."""

    document: bytes
    names: frozenset[str]


def join(root: str, pieces: Mapping[str, str]) -> Joined:
    """Put a document together. Raises MissingPieces, and ValueError for a root, or pieces, that someone else has made."""
    found = _ROOT.fullmatch(root)
    if found is None:
        raise ValueError("it is not a list of pieces")
    form, depth, digest, text = found.groups()
    used: set[str] = set()
    for _ in range(int(depth) + 1):
        names = [text[start : start + _NAME] for start in range(0, len(text), _NAME)]
        if missing := [name for name in names if name not in pieces]:
            raise MissingPieces(missing)
        used.update(names)
        text = "".join(pieces[name] for name in names)
    document = _document_of(form, text)
    if _digest(document, 16) != digest:
        raise ValueError("the checksum of the pieces is wrong")
    return Joined(document, frozenset(used))


def is_piece(name: str, text: str) -> bool:
    """True when a piece is what it was when it was named."""
    return _name(text) == name


def _text_of(document: bytes) -> tuple[str, str]:
    try:
        return "t", document.decode()
    except UnicodeDecodeError:
        return "b", b85encode(document).decode()


def _document_of(form: str, text: str) -> bytes:
    return text.encode() if form == "t" else b85decode(text)


def _parts(text: str) -> list[str]:
    """Parts of no more than `MOST_VALUE` characters. Each ends at that of its possible places that a checksum of what is
    before it chooses, so that after a change the ends soon are the same again."""
    parts: list[str] = []
    start = 0
    while len(text) - start > MOST_VALUE:
        places = [found.end() for found in _PLACES.finditer(text, start + _LEAST, start + MOST_VALUE)]
        end = min(places, key=_checksum(text), default=start + MOST_VALUE)
        parts.append(text[start:end])
        start = end
    return [*parts, text[start:]]


def _checksum(text: str) -> Callable[[int], int]:
    return lambda end: crc32(text[end - 32 : end].encode("utf-8", "surrogatepass"))


def _equal_parts(names: str) -> list[str]:
    return [names[start : start + MOST_VALUE] for start in range(0, len(names), MOST_VALUE)]


def _name(text: str) -> str:
    return _digest(text.encode(), 6)


def _digest(data: bytes, size: int) -> str:
    return urlsafe_b64encode(blake2b(data, digest_size=size).digest()).decode().rstrip("=")
