"""YAML output that reads back as exactly the same text and data. Pure.

Plain scalars where nothing can be mistaken, block literals where lines are lines, double quotes with escapes for the rest.
What is not printable is escaped: libyaml reads by YAML 1.1, takes U+0085, U+2028 and U+2029 for line ends and refuses other
control characters, and a character that nobody sees, or that turns the direction of the text, would let the file read as
something else than it says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from kvsync.model.exact_json import write_json
from kvsync.util.escaping import escape_text, quote_text

_PLAIN: Final = re.compile(r"[A-Za-z0-9/_](?:[A-Za-z0-9 _./@%+=-]*[A-Za-z0-9_./@%+=-])?")
_NULLS: Final = frozenset({"null", "Null", "NULL"})
_LONGEST_PLAIN: Final = 100
_LONGEST_LINE: Final = 120
_LONGEST_KEY: Final = 1000
"""Characters; libyaml takes keys of at most 1024 without a question mark."""


@dataclass(frozen=True, slots=True)
class Data:
    """JSON, as opposed to a text or a mapping of our own: its texts are quoted, so that none is taken for a number."""

    value: Any


Node: TypeAlias = "str | Data | Mapping[str, Node]"
"""What can be written: a text, data, or a mapping of such."""


def block(mapping: Mapping[str, Node], indent: int = 0) -> Iterator[str]:
    """The lines of a mapping, one for each member, or several."""
    margin = " " * indent
    for name, node in mapping.items():
        head = scalar(name)
        start = f"{margin}{head}:" if len(head) <= _LONGEST_KEY else f"{margin}? {head}\n{margin}:"
        line = _one_line(node) if isinstance(node, Mapping) else _value(node, indent + 2)
        if line is not None and (not isinstance(node, Mapping) or len(start) + len(line) < _LONGEST_LINE):
            yield f"{start} {line}\n"
        elif isinstance(node, Mapping):
            yield f"{start}\n"
            yield from block(node, indent + 2)


def scalar(text: str) -> str:
    """A text on one line."""
    if len(text) <= _LONGEST_PLAIN and _PLAIN.fullmatch(text) and text not in _NULLS:
        return text
    return quote_text(text)


def flow(data: Any) -> str:
    """JSON data on one line."""
    if isinstance(data, dict):
        return "{" + ", ".join(f"{_flow_key(quote_text(name))}{flow(value)}" for name, value in data.items()) + "}"
    if isinstance(data, list):
        return "[" + ", ".join(map(flow, data)) + "]"
    return quote_text(data) if isinstance(data, str) else write_json(data)


def literal(text: str, indent: int) -> str | None:
    """A text of several lines as a block literal whose lines begin `indent` blanks in; None when it has no such form."""
    lines = text.removesuffix("\n").split("\n")
    if len(lines) < 2 or not lines[0].strip() or lines[0][0] in " \t" or not lines[-1].strip():
        return None
    if any(escape_text(line, keep="\t") != line for line in lines):
        return None
    mark = "|" if text.endswith("\n") else "|-"
    return "\n".join([mark, *(" " * indent + line if line else "" for line in lines)])


def _value(node: Node, indent: int) -> str:
    if isinstance(node, Data):
        return flow(node.value)
    assert isinstance(node, str)
    return literal(node, indent) or scalar(node)


def _one_line(node: Node) -> str | None:
    """A node on one line, None when a text in it is better seen as lines."""
    if isinstance(node, Data):
        return flow(node.value)
    if isinstance(node, str):
        return None if literal(node, 0) else scalar(node)
    shown = {name: _one_line(member) for name, member in node.items()}
    if any(member is None for member in shown.values()):
        return None
    return "{" + ", ".join(f"{_flow_key(scalar(name))}{member}" for name, member in shown.items()) + "}"


def _flow_key(shown: str) -> str:
    return f"{shown}: " if len(shown) <= _LONGEST_KEY else f"? {shown} : "
