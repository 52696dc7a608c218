"""Adds a member to a mapping of a YAML text that is changed in place, without parting comments from what they are about.

The library keeps comments and blank lines with the value before them. Those that follow the last member of a mapping, but are
indented less, are about what comes after the mapping, so a new member must come before them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import Any

from ruamel.yaml.error import CommentMark
from ruamel.yaml.scalarstring import FoldedScalarString, LiteralScalarString
from ruamel.yaml.tokens import CommentToken

_BLOCK_TEXTS = (LiteralScalarString, FoldedScalarString)


def append(node: Any, name: str, value: Any) -> None:
    """Set a member of a mapping; a new one goes after the last one."""
    following = _detached(node, node.lc.col) if name not in node and _is_block(node) and len(node) else ""
    node[name] = value
    if following:
        node.ca.items[name] = [None, None, CommentToken(following, CommentMark(0), None), None]


def _detached(node: Any, column: int) -> str:
    """Take what follows the last value in a mapping or list, and is about what comes next: lines after the last comment that
    is indented by `column` at least. Empty if there is nothing."""
    last = list(node)[-1] if hasattr(node, "items") else len(node) - 1
    value = node[last]
    if _is_block(value) and len(value):
        return _detached(value, column)
    slots, index = node.ca.items.get(last), 2 if hasattr(node, "items") else 0
    token = slots[index] if slots else None
    if token is None:
        return ""
    first, *lines = _lines(token, follows_text=isinstance(value, _BLOCK_TEXTS))
    own = len(lines) - len(list(takewhile(lambda line: not _is_own(line, column), reversed(lines))))
    kept = "".join([first, *lines[:own]])
    slots[index] = None
    if kept.strip():
        slots[index] = CommentToken(kept, CommentMark(token.start_mark.column), None)
    return "".join(["\n", *lines[own:]]) if lines[own:] else ""


def _lines(token: Any, *, follows_text: bool) -> Sequence[str]:
    """The lines of a comment: first what stands in the line of the value, if only the line break. A block text ends with its
    own line break."""
    if not follows_text:
        return list(token.value.splitlines(keepends=True))
    return ["", *f"{' ' * token.start_mark.column}{token.value}".splitlines(keepends=True)]


def _is_own(line: str, column: int) -> bool:
    """True for a comment that is indented as the members of the mapping are."""
    return line.lstrip().startswith("#") and len(line) - len(line.lstrip()) >= column


def _is_block(value: Any) -> bool:
    """True for a mapping or list that is not written in braces or brackets."""
    return hasattr(value, "fa") and value.fa.flow_style() is False
