"""Collects all problems of a file."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from itertools import islice
from typing import Final

from kvsync.errors import ErrorCode, InvalidInput, Kind, Origin, Problem
from kvsync.util.escaping import clip_name, quote_text
from kvsync.yaml.nodes import Mapping, Node, Scalar, Sequence

_SHOWN: Final = 40
_MOST_NAMES: Final = 1_000
"""Names that a misspelt one is compared with: looking for the nearest costs more than all else."""

_SLIP: Final = 0.85
_RESEMBLANCE: Final = 0.6
"""How much of two names has to be the same, of 1: after a slip of the keys, and where they resemble each other at least."""


class TooManyProblemsError(Exception):
    """Reading on would only find more that is wrong. The problems found so far are those to report."""


class Problems:
    """What is wrong with one file. `file` is the name that the messages carry; whoever notes more than `most` problems gets
    TooManyProblemsError."""

    __slots__ = ("_found", "_most", "file")

    def __init__(self, file: str, most: int = sys.maxsize) -> None:
        self.file = file
        self._most = most
        self._found: list[Problem] = []

    def __bool__(self) -> bool:
        return bool(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def origin(self, node: Node | None) -> Origin:
        """The place of `node`; without a node, the start of the file."""
        return Origin(self.file, node.line, node.column) if node else Origin(self.file, 1, 1)

    def text_of(self, node: Scalar, what: str, *, private: bool = False) -> str | None:
        """The text of a scalar, with its variables expanded in a file that may use them. None, with a problem noted at `what`,
        when they cannot be; `private` texts are not repeated in the message."""
        return node.text

    def add(
        self,
        message: str,
        node: Node | None,
        hint: str | None = None,
        kind: Kind = Kind.INVALID,
        detail: ErrorCode | None = None,
    ) -> None:
        """Note a problem at the place of `node` (None: of the whole file). Raises TooManyProblemsError."""
        if len(self._found) == self._most:
            self._found.append(
                Problem("the rest of the file was not checked; fix these problems first", self.origin(node))
            )
        if len(self._found) > self._most:
            raise TooManyProblemsError
        self._found.append(Problem(message, self.origin(node), hint, kind, detail))

    def extend(self, problems: Iterable[Problem]) -> None:
        """Take over problems that were found elsewhere."""
        self._found.extend(problems)

    def all(self) -> tuple[Problem, ...]:
        """Everything found so far, each problem once, sorted by place."""
        return tuple(sorted(dict.fromkeys(self._found), key=_place))

    def raise_if_any(self) -> None:
        """Raise InvalidInput with every problem, when there is one."""
        if self._found:
            raise InvalidInput(self.all())


def _place(problem: Problem) -> tuple[str, int, int, str]:
    origin = problem.origin or Origin("", 0, 0)
    return origin.file, origin.line, origin.column, problem.message


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The one of `names` that a person who wrote `name` most likely meant."""
    from difflib import get_close_matches  # only ever needed once something is wrong

    spelled = {known.lower().replace("-", "_"): known for known in islice(names, _MOST_NAMES)}
    written = name.lower().replace("-", "_")
    _, _, last_word = written.rpartition("_")
    close = get_close_matches(written, spelled, n=1, cutoff=_SLIP)
    if not close and last_word in spelled:  # `api_token` is a `token`, and not an `api_key`
        return spelled[last_word]
    close = close or get_close_matches(written, spelled, n=1, cutoff=_RESEMBLANCE)
    return spelled[close[0]] if close else None


def name_hint(name: str, names: Iterable[str]) -> str:
    """A hint for an unknown name: the nearest valid one, or else all of them."""
    known = sorted(islice(names, _MOST_NAMES))
    close = nearest(name[:_MOST_NAMES], known)
    if close is not None:
        return f'did you mean "{close}"?'
    more = ", …" if len(known) > _SHOWN else ""
    return f"valid names: {', '.join(known[:_SHOWN])}{more}" if known else "none are defined"


def found(node: Node) -> str:
    """What a node is, in the words of an error message. Shows scalars: not for places where a secret may stand."""
    if isinstance(node, Mapping):
        return "a mapping"
    if isinstance(node, Sequence):
        return "a list"
    assert isinstance(node, Scalar)
    if node.is_null:
        return "nothing" if not node.text else "null"
    return quoted(node.text) if node.plain else f"the text {quoted(node.text)}"


def quoted(text: str) -> str:
    """`text` in double quotes, on one line, with everything invisible spelled out, cut to a readable length."""
    return quote_text(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")


def inside(what: str, name: str) -> str:
    """The path of the member `name` of `what`, for messages. A long name is cut: each problem inside of it repeats the path."""
    shown = clip_name(name)
    return f"{what}.{shown}" if what else shown


def at(what: str, message: str) -> str:
    """`message`, led by the path of the field it speaks of; the root has no path."""
    return f"{what}: {message}" if what else message
