"""Collecting everything that is wrong with a file, so that people hear it all at once."""

from __future__ import annotations

from collections.abc import Iterable

from kvsync.document.nodes import Mapping, Node, Scalar, Sequence
from kvsync.errors import InvalidInput, Kind, Origin, Problem

_SHOWN = 40


class Problems:
    """What is wrong with one file. `file` is the name that the messages carry."""

    __slots__ = ("_found", "file")

    def __init__(self, file: str) -> None:
        self.file = file
        self._found: list[Problem] = []

    def __bool__(self) -> bool:
        return bool(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def origin(self, node: Node | None) -> Origin:
        """The place of `node`; without a node, the start of the file."""
        return Origin(self.file, node.line, node.column) if node else Origin(self.file, 1, 1)

    def add(self, message: str, node: Node | None, hint: str | None = None, kind: Kind = Kind.INVALID) -> None:
        """Note a problem at the place of `node` (None: of the whole file)."""
        self._found.append(Problem(message, self.origin(node), hint, kind))

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

    spelled = {known.lower().replace("-", "_"): known for known in names}
    close = get_close_matches(name.lower().replace("-", "_"), spelled, n=1, cutoff=0.6)
    return spelled[close[0]] if close else None


def name_hint(name: str, names: Iterable[str]) -> str:
    """A hint for an unknown name: the nearest valid one, or else all of them."""
    known = sorted(names)
    close = nearest(name, known)
    if close is not None:
        return f'did you mean "{close}"?'
    return f"valid here: {', '.join(known)}" if known else "none is declared"


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
    """`text` in double quotes, on one line, without control characters, cut to a readable length."""
    import json

    shown = text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
    escaped = json.dumps(shown, ensure_ascii=False)
    return "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in escaped)


def at(what: str, message: str) -> str:
    """`message`, led by the path of the field it speaks of; the root has no path."""
    return f"{what}: {message}" if what else message
