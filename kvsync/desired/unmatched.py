"""Finds files that look like state files and are matched by no pattern of `state:`: most often a misspelt name."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Final

from kvsync.desired.discovery import find_files, split
from kvsync.desired.overlays import overlay_of
from kvsync.desired.read_rules import UnreadableError
from kvsync.desired.reading_budget import ReadingBudget
from kvsync.desired.tree import Tree
from kvsync.errors import Kind, Origin, Problem
from kvsync.util.patterns import lazy_pattern

_SUFFIXES: Final = ("**/*.[yY][aA][mM][lL]", "**/*.[yY][mM][lL]", "**/*.[jJ][sS][oO][nN]")
_HEAD: Final = 64 * 1024  # bytes
_STORE: Final = lazy_pattern(rb"(?m)^[{ \t]*+\"?stores?\"?[ \t]*+:")
_NAMESPACE: Final = lazy_pattern(rb"(?m)^(?:\{[ \t]*+|[ \t]++(?=\"))?\"?namespace\"?[ \t]*+:")


def unmatched_files(
    tree: Tree, patterns: Sequence[str], environments: Collection[str], used: Collection[str], budget: ReadingBudget
) -> Iterator[Problem]:
    """A warning for each such file in the folders that the patterns begin with. `used` are the state files and what they take
    values from. What cannot be read is passed over: it is reported elsewhere, or nobody asked for it."""
    for path in sorted({path for pattern in patterns for path in _candidates(tree, split(pattern)[0], budget)}):
        if path not in used and overlay_of(path, environments)[0] not in used and looks_like_state(tree, path):
            hint = f"rename it, or add it to state; patterns: {', '.join(patterns)}"
            message = "it looks like a state file, but no pattern of state matches it"
            yield Problem(message, Origin(path, 1, 1), hint, Kind.LEFT_OUT)


def _candidates(tree: Tree, folder: str, budget: ReadingBudget) -> Iterator[str]:
    for pattern in _SUFFIXES:
        try:
            found = find_files(tree, folder, pattern, (), budget.take_steps)
        except UnreadableError:
            continue
        yield from (path for path in (*found.names, *found.hidden) if not path.endswith("/"))


def looks_like_state(tree: Tree, path: str) -> bool:
    """True if the file names a store and a namespace, as far as its beginning shows."""
    try:
        head = next(tree.pieces(path, _HEAD), b"")
    except UnreadableError:
        return False
    return _STORE.search(head) is not None and _NAMESPACE.search(head) is not None
