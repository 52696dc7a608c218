"""Globs of paths, in which `**` matches any number of folders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase


def path_matches(path: str, pattern: str) -> bool:
    """True when a glob names the path: `**` matches any number of folders, `*` ends at a slash, and a name that begins with
    a dot is matched only by a part that begins with one."""
    names = path.split("/")
    *_, reached = _reached(names, pattern)
    return len(names) in reached


def may_match_in(folder: str, pattern: str) -> bool:
    """True when a glob may name a path in `folder` ("": the root), or in a folder below."""
    names = folder.split("/") if folder else []
    *partly, _ = _reached(names, pattern)
    return any(len(names) in reached for reached in partly)


def _reached(names: Sequence[str], pattern: str) -> Iterator[set[int]]:
    """How many of the names the first parts of a glob may cover: for none of its parts, for the first, for the first two..."""
    parts = [part for part in pattern.split("/") if part not in ("", ".")]
    if parts and parts[-1] == "**":
        parts.append("*")
    reached = {0}
    yield reached
    for part in parts:
        if part == "**":
            reached = {there for here in reached for there in _folders_from(here, names)}
        else:
            reached = {here + 1 for here in reached if here < len(names) and _name_matches(names[here], part)}
        yield reached


def _folders_from(here: int, names: Sequence[str]) -> Iterator[int]:
    yield here
    for index in range(here, len(names)):
        if names[index].startswith("."):
            return
        yield index + 1


def _name_matches(name: str, part: str) -> bool:
    return name.startswith(".") == part.startswith(".") and fnmatchcase(name, part)
