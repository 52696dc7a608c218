"""Node tree of a YAML document, with the source text and position of every scalar.

No tags are resolved: a scalar is its text. Anchors, aliases and merge keys are expanded, within a budget.
Lines and columns count from 1.
"""

from __future__ import annotations


class Node:
    """What scalars, sequences and mappings have in common: a place."""

    __slots__ = ("column", "line")

    line: int
    column: int


class Scalar(Node):
    """A scalar. `text` is what is written between the quotes, or plainly; `plain` distinguishes the two."""

    __slots__ = ("plain", "text")

    def __init__(self, text: str, plain: bool, line: int, column: int) -> None:
        self.text, self.plain, self.line, self.column = text, plain, line, column

    @property
    def is_null(self) -> bool:
        """True for a plain `null`, `~` or nothing at all (YAML 1.2 core)."""
        return self.plain and self.text in _NULLS


class Sequence(Node):
    """A sequence of nodes."""

    __slots__ = ("items",)

    def __init__(self, items: list[Node], line: int, column: int) -> None:
        self.items, self.line, self.column = items, line, column


class Mapping(Node):
    """A mapping; `items` keeps the order of the file, keyed by the key's text, with the key's own node next to the value."""

    __slots__ = ("items",)

    def __init__(self, items: dict[str, tuple[Scalar, Node]], line: int, column: int) -> None:
        self.items, self.line, self.column = items, line, column


_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
