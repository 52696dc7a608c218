"""Aligns the lines of a YAML text with those of its new layout, and finds comments that the layout has lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import Final, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.tokens import ScalarToken

from kvsync.yaml.nodes import Mapping, Node, Sequence
from kvsync.yaml.parse import parse

_BLOCKS: Final = ("|", ">")


class _Block(NamedTuple):
    """Lines of a text, and how many lines of the layout say the same."""

    lines: list[str]
    size: int


class Alignment:
    """The lines of a text, by the number of the line in its layout, counted from 0. Both say the same. Raises InvalidInput."""

    def __init__(self, text: str, layout: str, file: str) -> None:
        self._layout = layout.splitlines(keepends=True)
        self._blocks = dict(_blocks(text, layout, file))

    def written(self, start: int, end: int) -> Iterator[str]:
        """The lines of the text that the layout has from line `start` to before `end`; those of the layout where what belongs
        together is not all in between."""
        while start < end:
            block = self._blocks.get(start)
            if block is None or start + block.size > end:
                yield from self.indented(self._layout[start : start + 1], start, start + 1)
                start += 1
            else:
                yield from block.lines
                start += block.size

    def indented(self, lines: list[str], start: int, end: int) -> Iterator[str]:
        """Lines that replace those of the layout from `start` to before `end`, with the indentation of the text there."""
        depths = [_depth(line) for line in lines]
        known = self._depths(start, end, min((depth for depth in depths if depth is not None), default=0))
        for line, depth in zip(lines, depths, strict=True):
            yield line if depth is None else " " * _depth_in_text(depth, known) + line[depth:]

    def _depths(self, start: int, end: int, least: int) -> dict[int, int]:
        """The blanks that lines of the text begin with, by those of the layout: of the replaced lines, and of those before."""
        known: dict[int, int] = {}
        for number in (*range(start, end), *range(start - 1, -1, -1)):
            block = self._blocks.get(number)
            there, here = _depth(self._layout[number]), None if block is None else _depth(block.lines[0])
            if there is not None and here is not None:
                known.setdefault(there, here)
            if number < start and least in known:
                break
        return known


def _depth(line: str) -> int | None:
    """The blanks that a line begins with; None for an empty one and a comment, which the layout does not move."""
    rest = line.lstrip(" ")
    return None if not rest.strip() or rest.startswith("#") else len(line) - len(rest)


def _depth_in_text(depth: int, known: dict[int, int]) -> int:
    """The blanks that a line begins with in the text, by those in the layout."""
    nearest = max((one for one in known if one <= depth), default=0)
    start = known.get(nearest, 0)
    return start + (depth - nearest) * (max(start // nearest, 1) if nearest else 1)


def _blocks(text: str, layout: str, file: str) -> Iterator[tuple[int, _Block]]:
    """The blocks, as small as possible, by the number of their first line in the layout."""
    lines, laid_out = text.splitlines(keepends=True), layout.splitlines(keepends=True)
    cuts = [(0, 0), *_cuts(text, layout, file), (len(lines), len(laid_out))]
    for (start, first), (end, last) in pairwise(cuts):
        if end - start == last - first:
            yield from ((first + number, _Block([lines[start + number]], 1)) for number in range(last - first))
        else:
            yield first, _Block(lines[start:end], last - first)


def _cuts(text: str, layout: str, file: str) -> Iterator[tuple[int, int]]:
    """The lines, counted from 0, of nodes before which both texts begin a new line."""
    line = other = 0
    pairs = zip(_lines(parse(text.encode(), file)), _lines(parse(layout.encode(), file)), strict=True)
    for here, there in pairs:
        if here > line and there > other:
            yield here, there
        line, other = max(here, line), max(there, other)


def _lines(nodes: list[Node]) -> Iterator[int]:
    """The line of each key and item, counted from 0, in the order of the text."""
    for node in nodes:
        yield node.line - 1
        if isinstance(node, Mapping):
            for key, value in node.items.values():
                yield key.line - 1
                yield from _lines([value])
        elif isinstance(node, Sequence):
            yield from _lines(node.items)


def lost_comments(text: str, layout: str) -> Counter[str]:
    """The comments of a text that its layout does not have, with their numbers. Raises YAMLError."""
    return _comments(text) - _comments(layout)


def _comments(text: str) -> Counter[str]:
    found: Counter[str] = Counter()
    end = 0
    for token in YAML(typ="safe", pure=True).scan(text):
        between = text[end : token.start_mark.index]
        end = token.end_mark.index
        if isinstance(token, ScalarToken) and token.style in _BLOCKS:  # its first line may have a comment
            between += text[token.start_mark.index : end].partition("\n")[0] + "\n"
        found.update(f"#{line.partition('#')[2].strip()}" for line in between.splitlines() if "#" in line)
    return found
