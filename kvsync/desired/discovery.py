"""Finds the files that patterns name."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from fnmatch import translate
from functools import lru_cache
from hashlib import blake2b
from typing import Final, NamedTuple

from kvsync.desired.exclusion import exclusion
from kvsync.desired.read_rules import ProtectedError, TooMuchError, UnreadableError
from kvsync.desired.tree import Tree

_MAGIC: Final = re.compile(r"[*?[]")
_ANY_DEPTH: Final = "**"
_MOST_PARTS: Final = 100
_MOST_NAME: Final = 255  # bytes that the name of a file may have


class MatchedFiles(NamedTuple):
    """The files that a pattern names, sorted, and the files and folders that it passes over for the dot in their name."""

    names: list[str]
    hidden: list[str]


def find_files(
    tree: Tree, folder: str, pattern: str, exclude: Sequence[str], take_steps: Callable[[int], None]
) -> MatchedFiles:
    """The files under `folder` that `pattern` names and `exclude` does not, as `matches` finds them. Raises UnreadableError."""
    literal, parts = split(pattern)
    walk = _Walk(tree, parts, lambda _group, steps: take_steps(steps), lambda _path: None, None)
    paths = _distinct(tree, list(walk.files(_join(folder, literal) if literal else folder)), lambda _path: None)
    take_steps(len(exclude) * (len(paths) + len(walk.hidden)))
    is_left_out, skip = exclusion(exclude, pattern), len(folder) + 1 if folder else 0
    return MatchedFiles(
        *([path for path in found if not is_left_out(path[skip:])] for found in (paths, sorted(walk.hidden)))
    )


def names_digest(found: MatchedFiles) -> bytes:
    """Represents the names of files, and of those that are passed over."""
    names = "\0".join((*found.names, "", *found.hidden))
    return blake2b(names.encode(errors="surrogateescape"), digest_size=16).digest()


def matches(
    tree: Tree,
    folder: str,
    pattern: str,
    take_steps: Callable[[Hashable, int], None],
    group_of: Callable[[str], Hashable] = lambda _path: None,
    skip: Callable[[str, UnreadableError], None] | None = None,
) -> list[str]:
    """The files under `folder` that `pattern` names, sorted. `**` matches any number of folders. A name that begins with a dot
    is matched only where its part of the pattern begins with one, too.

    A file that several names lead to is found once in each group that `group_of` puts the names (and the folders on the way)
    into: under the name with the fewest links, then the first. So no link takes a file away from its own name, or from a
    group that has other rights.

    Wildcards pass over folders that are never read. Each name is compared with each part of the pattern once at most for each
    group; `take_steps` gets the group and the number of the next comparisons, and may raise. A folder that cannot be searched
    is given to `skip` and left out; without `skip` it ends the search. Raises UnreadableError, also when the part before the
    first wildcard is missing.
    """
    literal, parts = split(pattern)
    walk = _Walk(tree, parts, take_steps, group_of, skip)
    paths = list(walk.files(_join(folder, literal) if literal else folder))
    return _distinct(tree, paths, group_of)


def _distinct(tree: Tree, paths: list[str], group_of: Callable[[str], Hashable]) -> list[str]:
    if not tree.has_links:
        return paths
    found: dict[Hashable, str] = {}
    for path in paths:
        found.setdefault((_physical(tree, path), group_of(path)), path)
    return sorted(found.values())


def _physical(tree: Tree, path: str) -> str:
    try:
        return tree.physical(path)
    except UnreadableError:
        return path  # the reader reports what is wrong


def split(pattern: str) -> tuple[str, list[str]]:
    """The folder that a pattern begins with, and the parts of the rest; the last part is at least the name of a file."""
    parts = [part for part in pattern.split("/") if part not in ("", ".")] or ["*"]
    parts = [
        part for part, before in zip(parts, ["", *parts], strict=False) if (part, before) != (_ANY_DEPTH, _ANY_DEPTH)
    ]
    if parts[-1] == _ANY_DEPTH:
        parts.append("*")
    first = next((index for index, part in enumerate(parts[:-1]) if _MAGIC.search(part)), len(parts) - 1)
    return "/".join(parts[:first]), parts[first:]


class _Walk:
    """Goes through folders with all parts of a pattern that may come next at once. No folder is gone through twice for the same
    part and group, however many links lead to it. The files come sorted by path, and those behind links after all others."""

    def __init__(
        self,
        tree: Tree,
        parts: Sequence[str],
        take_steps: Callable[[Hashable, int], None],
        group_of: Callable[[str], Hashable],
        skip: Callable[[str, UnreadableError], None] | None,
    ) -> None:
        if len(parts) > _MOST_PARTS:
            raise TooMuchError(f"the pattern has {len(parts):,} parts; at most {_MOST_PARTS} are allowed")
        self._tree, self._parts, self._take_steps, self._group_of = tree, parts, take_steps, group_of
        self._skip = skip
        self._tests = [_name_test(part) for part in parts]
        self._done: set[tuple[str, int, Hashable]] = set()
        self.hidden: list[str] = []
        """What only the dot in its name keeps from matching; folders end in a slash."""

    def files(self, start: str) -> Iterator[str]:
        """The files under a folder that match."""
        self._tree.items(start)  # raises where the folder itself cannot be read
        pending: list[tuple[str, frozenset[int] | None]] = [(start, self._opened({0}))]
        linked: list[tuple[str, frozenset[int] | None]] = []
        while pending:
            path, places = pending.pop()
            if places is None:
                yield path
            else:
                inside = self._found_in(path, places)
                pending += [item for item in reversed(inside) if not self._tree.is_link(item[0])]
                linked += [item for item in inside if self._tree.is_link(item[0])]
            if not pending:
                pending, linked = linked[::-1], []

    def _found_in(self, folder: str, places: frozenset[int]) -> list[tuple[str, frozenset[int] | None]]:
        try:
            return list(self._inside(folder, places))
        except UnreadableError as error:
            if self._skip is None:
                raise
            self._skip(folder, error)
            return []

    def _inside(self, folder: str, places: frozenset[int]) -> Iterator[tuple[str, frozenset[int] | None]]:
        """What matches in a folder: files, and folders with the parts that come next, in the order of their paths."""
        physical, items = self._items(folder, places)
        group = self._group_of(f"{folder}/")
        places = frozenset(place for place in places if (physical, place, group) not in self._done)
        self._done |= {(physical, place, group) for place in places}
        self._take_steps(group, len(items) * len(places))
        for name, is_folder in items.items() if places else ():
            following = self._following(name, places, is_folder=is_folder)
            if following:
                yield _join(folder, name), following if is_folder else None
            elif name.startswith(".") and self._is_hidden(_join(physical, name), places, is_folder=is_folder):
                self.hidden.append(f"{_join(folder, name)}/" if is_folder else _join(folder, name))

    def _items(self, folder: str, places: frozenset[int]) -> tuple[str, Mapping[str, bool]]:
        """The physical path of a folder, and what is in it; nothing, where it is never read and only a wildcard met it."""
        try:
            return self._tree.physical_folder(folder), self._tree.items(folder)
        except ProtectedError:
            if any(place and not _MAGIC.search(self._parts[place - 1]) for place in places):
                raise
            return folder, {}

    def _following(self, name: str, places: frozenset[int], *, is_folder: bool) -> frozenset[int]:
        last, hidden = len(self._parts) - 1, name.startswith(".")
        found = set()
        for place in places:
            if self._parts[place] == _ANY_DEPTH:
                if is_folder and not hidden:
                    found.add(place)
            elif is_folder == (place < last) and self._tests[place](name):
                found.add(place + 1)
        return self._opened(found)

    def _is_hidden(self, physical: str, places: frozenset[int], *, is_folder: bool) -> bool:
        """True when the name at a path would match without its dot, and may be read."""
        last, name = len(self._parts) - 1, physical.rpartition("/")[2].removeprefix(".")
        would_match = any(
            is_folder if self._parts[place] == _ANY_DEPTH else is_folder == (place < last) and self._tests[place](name)
            for place in places
        )
        return would_match and not self._tree.is_protected(physical)

    def _opened(self, places: set[int]) -> frozenset[int]:
        """The parts that may come next, where `**` may match no folder at all."""
        parts = self._parts
        return frozenset(places | {place + 1 for place in places if place < len(parts) and parts[place] == _ANY_DEPTH})


@lru_cache(maxsize=1024)
def _name_test(pattern: str) -> Callable[[str], object]:
    if len(pattern) > _MOST_NAME:
        raise TooMuchError(f"a part of the pattern has more than {_MOST_NAME} characters; shorten it")
    dots = "" if pattern.startswith(".") else r"(?!\.)"
    return re.compile(dots + translate(pattern)).match


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name
