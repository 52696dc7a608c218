"""Text and Markdown tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from kvsync.util.escaping import escape_cell, escape_markdown, markdown_code

_WIDEST: Final = 60
"""Characters of a cell that the cells below it are aligned with: one long key must not move the other columns far away."""


def table(head: Sequence[str], rows: Iterable[Sequence[str]], indent: str = "") -> str:
    """Aligned columns under their names, escaped; nothing when there is no row."""
    every = list(rows)
    return aligned([head, *every], indent) if every else ""


def aligned(rows: Iterable[Sequence[str]], indent: str = "") -> str:
    """Aligned columns without names, escaped; nothing when there is no row."""
    lines = [tuple(map(escape_cell, row)) for row in rows]
    if not lines:
        return ""
    widths = [min(max(map(len, column)), _WIDEST) for column in zip(*lines, strict=True)]
    shown = ("  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)) for line in lines)
    return "".join(f"{indent}{line}".rstrip() + "\n" for line in shown)


def fitted(text: str, columns: int) -> str:
    """The text in at most `columns` columns, cut in the middle, because names differ at their ends."""
    if len(text) <= columns:
        return text
    head = (columns - 1) // 2
    return f"{text[:head]}…{text[len(text) - (columns - 1 - head) :]}"


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """The same as a table of Markdown, the first column as code."""
    cells = ((markdown_code(row[0]), *map(escape_markdown, row[1:])) for row in rows)
    lines = [tuple(head), ("---",) * len(head), *cells]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
