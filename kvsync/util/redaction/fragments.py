"""Index of all 8-byte fragments of the secrets, and the search of a text for them.

A text is looked at in steps of 4 bytes: 8 bytes of a secret, wherever they begin, hold 4 that the text has at such a step. Sets
of integers answer for all secrets at once, so that a text without any costs some nanoseconds a byte, however many there are.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import compress, count
from threading import Lock
from typing import Final, Literal

WINDOW: Final = 8
"""Bytes of a secret that are recognised in text of others."""

_GRAM: Final = 4

_INDEXED: Final = 4096
"""Bytes of one secret of which every window is in the index; a longer one is recognised by its beginning and its end."""

_MOST_WINDOWS: Final = 1_000_000
"""Windows from which on of further secrets only so much is indexed as tells a whole one. About 100 bytes of memory each."""

_ANCHORED: Final = 64
"""Bytes at the beginning of a secret, by one window of which a whole one is found."""

_KINDS: Final[dict[int, Literal["I", "Q"]]] = {4: "I", 8: "Q"}
_FOLDED: Final = bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ+\t\n\r", b"abcdefghijklmnopqrstuvwxyz    ")
_DIGITS: Final = frozenset(b"0123456789")
_UPPER: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_LOWER: Final = frozenset(b"abcdefghijklmnopqrstuvwxyz")

Span = tuple[int, int]


def folded(data: bytes) -> bytes:
    """The bytes as they are compared: letters of either case are equal, and blanks of any kind; `+` is a blank in forms."""
    return data.translate(_FOLDED)


class Fragments:
    """Index of the fragments. Entries are only added, so that other threads can read it at the same time."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._grams: set[int] = set()
        self._windows: set[int] = set()
        self._anchors: dict[int, list[tuple[int, bytes]]] = {}
        self._short: dict[int, frozenset[bytes]] = {}  # secrets of fewer bytes than a window, by the grams in them
        self.shortest = WINDOW
        """Bytes of the shortest piece that is looked for."""

    def __bool__(self) -> bool:
        return bool(self._anchors or self._short)

    def add(self, secret: bytes) -> None:
        """Recognise a secret from now on."""
        whole = folded(secret)
        with self._lock:
            if len(whole) < WINDOW:
                for gram in _integers(whole, _GRAM):
                    self._short[gram] = self._short.get(gram, frozenset()) | {whole}
                self.shortest = min(self.shortest, len(whole))
                return
            room = _INDEXED if len(self._windows) < _MOST_WINDOWS else _ANCHORED
            for part in {whole[:room], whole[-room:]}:
                self._windows.update(_integers(part, WINDOW))
                self._grams.update(_integers(part, _GRAM))
            self._anchor(whole)

    def _anchor(self, whole: bytes) -> None:
        """Note by which window a whole secret is found: one that no other secret is found by, if there is such a one."""
        choices = range(min(len(whole), _ANCHORED) - WINDOW + 1)
        at = next((at for at in choices if _integer(whole, at) not in self._anchors), 0)
        self._anchors.setdefault(_integer(whole, at), []).append((at, whole))

    def occur(self, data: bytes) -> bool:
        """True for a text that holds a piece of a secret."""
        text = folded(data)
        if self._short and next(self._short_hits(text), None) is not None:
            return True
        return not self._grams.isdisjoint(_aligned(text)) and next(self._hits(text), None) is not None

    def find(self, data: bytes, *, foreign: bool, whole_only: bool = False) -> Iterator[Span]:
        """Where in the text a secret is: every piece of 8 bytes in one that is `foreign`, else whole ones and distinctive
        pieces, or whole ones of 8 bytes and more alone (`whole_only`)."""
        text = folded(data)
        if not whole_only:
            yield from self._short_hits(text)
        for at in self._hits(text):
            if not whole_only and (foreign or _is_distinctive(data[at : at + WINDOW])):
                yield at, at + WINDOW
            for before, whole in self._anchors.get(_integer(text, at), ()):
                start = at - before
                if start >= 0 and text.startswith(whole, start):
                    yield start, start + len(whole)

    def _hits(self, text: bytes) -> Iterator[int]:
        """Where a window of a secret begins."""
        last = len(text) - WINDOW
        for step in compress(count(0, _GRAM), map(self._grams.__contains__, _aligned(text))):
            for at in range(max(0, step - _GRAM + 1), min(step, last) + 1):
                if _integer(text, at) in self._windows:
                    yield at

    def _short_hits(self, text: bytes) -> Iterator[Span]:
        """Where short secrets are: 6 bytes hold 4 that the text has at an even place."""
        grams = {gram for shift in (0, 2) for gram in _aligned(text[shift:]) if gram in self._short}
        for short in {short for gram in grams for short in self._short[gram]}:
            yield from _occurrences(text, short)


def _aligned(text: bytes) -> memoryview:
    """The text in steps of 4 bytes, as integers."""
    return memoryview(text)[: len(text) // _GRAM * _GRAM].cast("I")


def _integers(data: bytes, size: int) -> Iterator[int]:
    """Every piece of so many bytes as an integer."""
    view, kind = memoryview(data), _KINDS[size]
    for shift in range(size):
        whole = max(0, len(data) - shift) // size * size
        yield from view[shift : shift + whole].cast(kind)


def _integer(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + WINDOW], sys.byteorder)


def _occurrences(text: bytes, part: bytes) -> Iterator[Span]:
    start = text.find(part)
    while start >= 0:
        yield start, start + len(part)
        start = text.find(part, start + 1)


def _is_distinctive(piece: bytes) -> bool:
    """True for 8 bytes that are hardly ever words: at least two letters, with a digit or in both cases."""
    upper = sum(byte in _UPPER for byte in piece)
    lower = sum(byte in _LOWER for byte in piece)
    has_digit = not _DIGITS.isdisjoint(piece)
    return (upper + lower >= 2 and has_digit) or (upper >= 2 and lower >= 2)
