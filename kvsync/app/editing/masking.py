"""Diffs of state files that never show a sensitive value, however short it is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import unified_diff
from itertools import pairwise
from operator import itemgetter

from kvsync.errors import InvalidInput
from kvsync.yaml.nodes import Mapping, Node, Scalar, Sequence
from kvsync.yaml.parse import parse

_MASK = "(sensitive)"


class _ShownLine(str):
    """What is shown of a line of a file. Lines are compared by what is in the file."""

    _text: str

    def __new__(cls, shown: str, text: str) -> _ShownLine:
        line = super().__new__(cls, shown)
        line._text = text
        return line

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ShownLine) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)


def masked_diff(before: str, after: str, file: str) -> str:
    """A unified diff of two texts of a YAML file. Lines of entries that are sensitive show that alone."""
    return "".join(unified_diff(_shown(before, file), _shown(after, file), file, file))


def _shown(text: str, file: str) -> list[str]:
    lines = text.splitlines(keepends=True)
    hidden = _sensitive_lines(text, file, len(lines))
    return [_ShownLine(_masked(line) if number in hidden else line, line) for number, line in enumerate(lines, 1)]


def _masked(line: str) -> str:
    indentation = re.match(r"\s*", line)
    return f"{indentation[0] if indentation else ''}{_MASK}\n"


def _sensitive_lines(text: str, file: str, count: int) -> set[int]:
    """The lines of sensitive entries; all lines of a text that cannot be read."""
    try:
        documents = parse(text.encode(), file)
    except InvalidInput:
        return set(range(1, count + 1))
    starts = [document.line for document in documents[1:]] + [count + 1]
    return {
        line
        for document, end in zip(documents, starts, strict=True)
        for first, last in _spans(document, end)
        for line in range(first, last)
    }


def _spans(document: Node, end: int) -> Iterator[tuple[int, int]]:
    """The first line of each sensitive part of a document, and the line after its last. Each key of the document is a part, and
    each entry of `keys`."""
    if not isinstance(document, Mapping):
        return
    defaults = document.items.get("defaults")
    all_are = defaults is not None and _is_sensitive(defaults[1])
    for name, node, first, last in _parts(document, end):
        if name == "keys" and isinstance(node, Mapping):
            yield from (
                (start, stop) for _, entry, start, stop in _parts(node, last) if all_are or _is_sensitive(entry)
            )
        elif name != "defaults" and _is_sensitive(node):
            yield first, last


def _parts(node: Mapping, end: int) -> list[tuple[str, Node, int, int]]:
    """The members of a mapping, each with its first line and the line after its last: that of the next member, unless a merge
    key brought that one from inside of this one."""
    members = sorted(((key.line, name, member) for name, (key, member) in node.items.items()), key=itemgetter(0))
    starts = [line for line, _, _ in members] + [end]
    return [
        (name, member, first, max(after, first + 1, _last_line(member) + 1))
        for (_, name, member), (first, after) in zip(members, pairwise(starts), strict=True)
    ]


def _last_line(node: Node) -> int:
    """The line in which the last value of a node starts."""
    members: list[Node] = []
    if isinstance(node, Sequence):
        members = node.items
    elif isinstance(node, Mapping):
        members = [member for _, member in node.items.values()]
    return max(map(_last_line, members), default=node.line)


def _is_sensitive(node: Node) -> bool:
    """True if a mapping in it says so."""
    if isinstance(node, Sequence):
        return any(map(_is_sensitive, node.items))
    if not isinstance(node, Mapping):
        return False
    said = node.items.get("sensitive")
    is_said = said is not None and not (isinstance(said[1], Scalar) and said[1].text == "false")
    return is_said or any(_is_sensitive(member) for _, member in node.items.values())
