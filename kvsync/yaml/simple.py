"""Fast parser for simple files with one regular expression, which produces the same nodes as the full parser.

Simple files are block mappings of one-line entries: plain texts, quotes without escapes, `{…}` and `[…]` that end on their
line. For anything else (lists in block style, `|`, anchors, tags, several documents, tabs, CRLF, any error), `read` returns
None and the full parser reads the file. So this module has no error messages; a test compares it with libyaml node by node.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Final

from kvsync.yaml.nodes import Mapping, Node, Scalar, Sequence

_KEY: Final = r"[A-Za-z0-9_/][A-Za-z0-9_./@+-]{0,200}+"
_QUOTED: Final = r"\"[^\"\\\n]*+\"|'[^'\n]*+'"
_PLAIN: Final = r"[\w/.$(+][^\n:#]*+(?:(?::(?=[^\n\x20])|(?<!\x20)#)[^\n:#]*+)*+"
_FLOW: Final = rf"[{{\[](?:[^\n#&*!|>%@`\\\"'}}\]]*+(?:{_QUOTED}|[}}\]]))*(?<=[}}\]])"
# Possessive (`*+`): what a part has taken it keeps, or a line of spaces would be looked at once for each of them.
_LINE: Final = re.compile(
    rf"(\x20*+)(?:({_KEY}):(?:(\x20++)({_PLAIN}|{_QUOTED}|{_FLOW}))?)?"
    r"\x20*+(?:(?:(?<=\x20)|(?<![^\n]))\#[^\n]*+)?(?:\n|\Z)|([^\n]++\n?)"
)
_LONGEST_KEY: Final = 1000
"""Characters of a key in quotes; libyaml takes longer ones for values."""

_IN_FLOW: Final = rf"{_QUOTED}|[\w/.$(+][^\n,:#\[\]{{}}'\"?]*+"
_PAIR: Final = re.compile(rf"\x20*+({_QUOTED}|{_KEY}):\x20++(?:({_IN_FLOW})\x20*+([,}}])|([{{\[]))")
_ITEM: Final = re.compile(rf"\x20*+(?:({_IN_FLOW})\x20*+([,\]])|([{{\[]))")
_AFTER: Final = re.compile(r"\x20*+([,\]}])")
_TAME: Final = bytes([10, *range(32, 127)])
_NULL_KEYS: Final = frozenset({"null", "Null", "NULL"})
_MOST_LEVELS: Final = 16
DEEPEST: Final = 2 * _MOST_LEVELS + 1
"""Levels of nesting in a simple file, at most."""

_PIECE: Final = 64 * 1024  # characters


@cache
def _wild() -> re.Pattern[str]:
    """Characters that a simple file does not hold. It takes long to compile, and most files are ASCII."""
    return re.compile("[^\n\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")


class _NotSimpleError(Exception):
    """The file is not simple; the full parser reads it."""


def read(data: bytes) -> Mapping | None:
    """The one mapping that a simple file holds, or None when the file is not simple. `data` is valid UTF-8."""
    if data.isascii() and data.translate(None, _TAME):
        return None
    text = data.decode()
    if not data.isascii() and _wild().search(text):
        return None
    try:
        return _block(text.removeprefix("---\n"), 2 if text.startswith("---\n") else 1)
    except _NotSimpleError:
        return None


def _block(text: str, first_line: int) -> Mapping:  # noqa: C901  # a call for each line would cost as much as the line
    root: Mapping | None = None
    levels: list[tuple[int, dict[str, tuple[Scalar, Node]]]] = []
    opened: Scalar | None = None  # a key at the end of its line, whose mapping must follow, deeper
    indent, items = -1, _NOTHING
    for line, (space, name, gap, value, rest) in enumerate(_lines(text), first_line):
        if not name:
            if rest:
                raise _NotSimpleError
            continue
        depth = len(space)
        if opened is not None or root is None:
            if depth <= indent or len(levels) >= _MOST_LEVELS:
                raise _NotSimpleError
            mapping = Mapping({}, line, depth + 1)
            if root is None:
                root = mapping
            else:
                assert opened is not None
                items[opened.text] = (opened, mapping)
            indent, items, opened = depth, mapping.items, None
            levels.append((indent, items))
        elif depth != indent:
            while levels and depth < indent:
                levels.pop()
                indent, items = levels[-1] if levels else (-1, items)
            if depth != indent:
                raise _NotSimpleError
        if name in items or name in _NULL_KEYS:
            raise _NotSimpleError
        key = Scalar(name, True, line, depth + 1)
        if not value:
            opened = key
            items[name] = (key, key)  # claims the place, so that the order is the file's
            continue
        column = depth + len(name) + len(gap) + 2
        first = value[0]
        if first in "{[":
            items[name] = (key, _flow(value, line, column))
        elif first in "\"'":
            items[name] = (key, Scalar(value[1:-1], False, line, column))
        else:
            items[name] = (key, Scalar(value.rstrip(" "), True, line, column))
    if root is None or opened is not None:
        raise _NotSimpleError
    return root


def _lines(text: str) -> Iterator[tuple[str, ...]]:
    """What `_LINE` finds in each line. A piece at a time: other threads wait as long as a regular expression is at work."""
    start = 0
    while start < len(text):
        end = text.find("\n", start + _PIECE) + 1 or len(text)
        found = _LINE.findall(text, start, end)
        yield from found if end == len(text) else found[:-1]  # the last one is the empty rest of the piece
        start = end


_NOTHING: Final[dict[str, tuple[Scalar, Node]]] = {}


def _flow(text: str, line: int, column: int) -> Node:
    node, end = _collection(text, 0, line, column, 0)
    if end != len(text):
        raise _NotSimpleError
    return node


def _collection(text: str, start: int, line: int, column: int, depth: int) -> tuple[Node, int]:
    """The collection that opens at `start`, and where it ends. `column` is that of the start of `text`."""
    if depth > _MOST_LEVELS:
        raise _NotSimpleError
    if text[start] == "{":
        return _flow_mapping(text, start, line, column, depth + 1)
    return _flow_list(text, start, line, column, depth + 1)


def _flow_mapping(text: str, start: int, line: int, column: int, depth: int) -> tuple[Node, int]:
    items: dict[str, tuple[Scalar, Node]] = {}
    position, mark = start + 1, ","
    while mark == ",":
        match = _PAIR.match(text, position)
        if match is None:
            position = _closes(text, position, "}")
            break
        name, value, mark, _ = match.groups()
        key = _scalar(name, line, column + match.start(1))
        if key.text in items or len(name) > _LONGEST_KEY or (key.plain and key.text in _NULL_KEYS):
            raise _NotSimpleError
        position = match.end()
        if value is not None:
            items[key.text] = (key, _scalar(value, line, column + match.start(2)))
        else:
            node, position = _collection(text, position - 1, line, column, depth)
            items[key.text] = (key, node)
            mark, position = _after(text, position, "}")
    return Mapping(items, line, column + start), position


def _flow_list(text: str, start: int, line: int, column: int, depth: int) -> tuple[Node, int]:
    items: list[Node] = []
    position, mark = start + 1, ","
    while mark == ",":
        match = _ITEM.match(text, position)
        if match is None:
            position = _closes(text, position, "]")
            break
        value, mark, _ = match.groups()
        position = match.end()
        if value is not None:
            items.append(_scalar(value, line, column + match.start(1)))
        else:
            node, position = _collection(text, position - 1, line, column, depth)
            items.append(node)
            mark, position = _after(text, position, "]")
    return Sequence(items, line, column + start), position


def _scalar(text: str, line: int, column: int) -> Scalar:
    if text[0] in "\"'":
        return Scalar(text[1:-1], False, line, column)
    return Scalar(text.rstrip(" "), True, line, column)


def _closes(text: str, position: int, end: str) -> int:
    mark, position = _after(text, position, end)
    if mark != end:
        raise _NotSimpleError
    return position


def _after(text: str, position: int, end: str) -> tuple[str, int]:
    """What stands after an item, a comma or the `end` of the collection, and where to read on."""
    match = _AFTER.match(text, position)
    if match is None or match[1] not in (",", end):
        raise _NotSimpleError
    return match[1], match.end()
