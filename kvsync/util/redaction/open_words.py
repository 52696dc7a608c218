"""Public words, which are never redacted: kvsync's own, and the names of stores, namespaces and files.

The author of a state file decides which values are sensitive. Without this, a sensitive value such as `would delete`, or the
name of another author's namespace, would be removed from all output.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Final

from kvsync.util.escaping import to_bytes
from kvsync.util.patterns import lazy_pattern

_WORD: Final = lazy_pattern(r"[^\W_]+")
_SOURCE_WORD: Final = lazy_pattern(rb"[a-z0-9]{2,}")
_STRUCTURE: Final = frozenset(" \t\r\n\"'{}[]():;,.-─│/\\|=*#`<>~+_")
_PACKAGE: Final = Path(__file__).parents[2]
_NOT_SAID: Final = ("emulators", "testing")
_SHORTEST: Final = 8
_MOST_DIGITS_OF_A_NUMBER: Final = 4
_MOST_DIGITS: Final = 8
_MOST_ANSWERS: Final = 4096


class OpenWords:
    """Recognizes texts that consist of public words. Thread-safe."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._names: set[str] = set()
        self._text: str | None = None
        self._answers: dict[str, bool] = {}

    def add(self, names: Iterable[str]) -> None:
        """Take the words of these names for open ones from now on."""
        found = {word for name in names for word in _words(name)}
        with self._lock:
            if not found <= self._names:
                self._names |= found
                self._text, self._answers = None, {}

    def is_weak(self, secret: str) -> bool:
        """True for a secret that cannot be recognised in text: one of fewer than 8 bytes, or one made of open words."""
        return len(to_bytes(secret)) < _SHORTEST or self.covers(secret)

    def covers(self, text: str) -> bool:
        """True when a text consists of open words, of which the first and the last may be cut, short numbers, and signs."""
        answers = self._answers
        known = answers.get(text)
        if known is None:
            known = self._covers(text)
            if len(answers) < _MOST_ANSWERS:
                answers[text] = known
        return known

    def _covers(self, text: str) -> bool:
        words = _words(text)
        if not words:
            return _STRUCTURE.issuperset(text)
        numbers = [word for word in words if word.isdigit()]
        if sum(map(len, numbers)) > _MOST_DIGITS or any(len(word) > _MOST_DIGITS_OF_A_NUMBER for word in numbers):
            return len(words) == 1 and words[0] in self._named()
        last = len(words) - 1
        return all(
            word in numbers or self._holds(word, is_first=at == 0, is_last=at == last) for at, word in enumerate(words)
        )

    def _holds(self, word: str, *, is_first: bool, is_last: bool) -> bool:
        part = ("" if is_first else "\n") + word + ("" if is_last else "\n")
        return part in self._named() or part in _own_words()

    def _named(self) -> str:
        text = self._text
        if text is None:
            with self._lock:
                text = self._text = _listed(self._names)
        return text


@cache
def _own_words() -> str:
    """Every word that kvsync's own code is written with: its messages and fields are there. Read at the first secret that looks
    like words, which takes some 50 ms."""
    found: set[bytes] = {b"a"}
    for file in _PACKAGE.rglob("*.py"):
        if not set(_NOT_SAID).intersection(file.relative_to(_PACKAGE).parts):
            found.update(_SOURCE_WORD.findall(file.read_bytes().lower()))
    return _listed(word.decode("ascii") for word in found)


def _listed(words: Iterable[str]) -> str:
    return "\n" + "\n".join(sorted(words)) + "\n"


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())
