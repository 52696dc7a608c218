"""Diffs of state files that never show a sensitive value, however short it is."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from difflib import unified_diff
from itertools import pairwise
from operator import itemgetter
from typing import Final

from kvsync.errors import InvalidInput
from kvsync.yaml.nodes import Mapping, Node, Scalar, Sequence
from kvsync.yaml.parse import parse

_MASK: Final = "(sensitive)"

_Part = tuple[str, Node, int, int]
"""A member of a mapping: its name, the node, its first line, and the line after its last."""


class _ShownLine(str):
    """What is shown of a line of a file. Lines are compared by what is in the file."""

    text: str

    def __new__(cls, shown: str, text: str) -> _ShownLine:
        line = super().__new__(cls, shown)
        line.text = text
        return line

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ShownLine) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)


def masked_diff(before: str, after: str, file: str, sensitive: Collection[str] = ()) -> str:
    """A unified diff of two texts of a YAML file. Lines of entries that are sensitive show that alone; `sensitive` are keys of
    entries for which the file itself does not say so."""
    return "".join(unified_diff(_shown(before, file, sensitive), _shown(after, file, sensitive), file, file))


def has_sensitive_defaults(text: str, file: str) -> bool:
    """True if the defaults of a document make its entries sensitive. Raises InvalidInput."""
    return any(isinstance(document, Mapping) and _by_default(document) for document in parse(text.encode(), file))


def _shown(text: str, file: str, sensitive: Collection[str]) -> list[str]:
    lines = text.splitlines(keepends=True)
    hidden = _sensitive_lines(text, file, len(lines), sensitive)
    shown = (
        f"{_indentation(line)}{hidden[number]}\n" if number in hidden else line for number, line in enumerate(lines, 1)
    )
    return list(map(_ShownLine, shown, lines))


def _indentation(line: str) -> str:
    return line[: len(line) - len(line.lstrip())].rstrip("\n")


def _sensitive_lines(text: str, file: str, count: int, sensitive: Collection[str]) -> dict[int, str]:
    """What is shown instead of the lines of sensitive entries, and of all lines of a text that cannot be read."""
    try:
        documents = parse(text.encode(), file)
    except InvalidInput:
        return dict.fromkeys(range(1, count + 1), _MASK)
    starts = [*(document.line for document in documents[1:]), count + 1]
    return {
        line: f"{name}: {_MASK}" if line == first else _MASK
        for document, end in zip(documents, starts, strict=False)  # an empty text has no document
        for name, _, first, last in _sensitive_parts(document, end, sensitive)
        for line in range(first, last)
    }


def _sensitive_parts(document: Node, end: int, sensitive: Collection[str]) -> Iterator[_Part]:
    """The sensitive ones among the keys of a document, and the entries of its `keys`."""
    if not isinstance(document, Mapping):
        return
    all_are = _by_default(document)
    for part in _parts(document, end):
        name, node, _, last = part
        if name == "keys" and isinstance(node, Mapping):
            yield from (one for one in _parts(node, last) if all_are or one[0] in sensitive or _is_sensitive(one[1]))
        elif name != "defaults" and _is_sensitive(node):
            yield part


def _by_default(document: Mapping) -> bool:
    defaults = document.items.get("defaults")
    return defaults is not None and _is_sensitive(defaults[1])


def _parts(node: Mapping, end: int) -> list[_Part]:
    """The members of a mapping. Each ends where the next one begins, unless a merge key brought that one from inside of it."""
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
