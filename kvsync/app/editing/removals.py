"""Removes entries from a YAML text: their lines, and nothing else."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from operator import itemgetter
from typing import Any

from kvsync.app.editing.round_trip import changed_text
from kvsync.yaml.nodes import Mapping as MappingNode
from kvsync.yaml.nodes import Node
from kvsync.yaml.parse import parse


def without_keys(text: str, file: str, removed: Mapping[int, Collection[str]]) -> str:
    """The text without these entries, given by the number of their document. Comments above an entry stay, since they may be
    about others. Raises InvalidInput, KvsyncError."""
    documents, lines = parse(text.encode(), file), text.splitlines(keepends=True)
    gone: set[int] = set()
    inline: dict[int, list[str]] = {}
    for index, names in removed.items():
        end = documents[index + 1].line if index + 1 < len(documents) else len(lines) + 1
        for name in names:
            found = _own_lines(documents[index], name, lines, end)
            if found is None:
                inline.setdefault(index, []).append(name)
            else:
                gone |= found
    if inline:
        text = changed_text(text, file, lambda loaded: _delete(loaded, inline))
        return without_keys(text, file, {index: set(removed[index]) - set(inline.get(index, ())) for index in removed})
    return "".join(line for number, line in enumerate(lines, 1) if number not in gone)


def _delete(documents: list[Any], names: Mapping[int, Collection[str]]) -> None:
    for index, keys in names.items():
        for key in keys:
            del documents[index]["keys"][key]


def _own_lines(document: Node, name: str, lines: list[str], end: int) -> set[int] | None:
    """The lines of an entry; None if others are on them too."""
    assert isinstance(document, MappingNode)
    keys = document.items["keys"]
    assert isinstance(keys[1], MappingNode)
    after = [key.line for key, _ in document.items.values() if key.line > keys[0].line]
    starts = sorted(((key.line, key.column, one) for one, (key, _) in keys[1].items.items()), key=itemgetter(0))
    ends = [*(line for line, _, _ in starts[1:]), min([*after, end])]
    for (line, column, one), following in zip(starts, ends, strict=True):
        if one == name:
            is_alone = not lines[line - 1][: column - 1].strip() and following > line
            return set(range(line, _last(lines, line, following, column))) if is_alone else None
    return None


def _last(lines: list[str], first: int, following: int, column: int) -> int:
    """The line after the last one of an entry, without blank lines and comments that are not deeper than its key."""
    last = following
    while last - 1 > first and _is_between(lines[last - 2], column):
        last -= 1
    return last


def _is_between(line: str, column: int) -> bool:
    rest = line.lstrip()
    return not rest or rest.startswith(("---", "...")) or (rest.startswith("#") and len(line) - len(rest) < column)
