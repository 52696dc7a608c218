"""Which state files there are, and which overlay belongs to which."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import translate
from functools import lru_cache
from typing import Final

from kvsync.sources.tree import Tree

_MAGIC: Final = re.compile(r"[*?[]")


@dataclass(frozen=True, slots=True)
class StateFile:
    """A state file, and the overlay beside it that is in force."""

    path: str
    overlay: str | None = None


def matches(tree: Tree, folder: str, pattern: str) -> list[str]:
    """The files under `folder` that `pattern` names, sorted, each once. `**` stands for any number of folders; names that
    begin with a dot never match a wildcard. Raises UnreadableError, also when the part before the first wildcard is missing."""
    literal, parts = split(pattern)
    paths = sorted(set(_walk(tree, _join(folder, literal) if literal else folder, parts, frozenset())))
    if not tree.has_links:
        return paths
    return list({tree.physical(path): path for path in reversed(paths)}.values())[
        ::-1
    ]  # a file may be reached by two ways


def split(pattern: str) -> tuple[str, list[str]]:
    """The folder that a pattern begins with, and the parts of the rest; the last part is at least the name of a file."""
    parts = [part for part in pattern.split("/") if part not in ("", ".")] or ["*"]
    first = next((index for index, part in enumerate(parts[:-1]) if _MAGIC.search(part)), len(parts) - 1)
    return "/".join(parts[:first]), parts[first:]


def _walk(tree: Tree, folder: str, parts: Sequence[str], above: frozenset[str]) -> Iterator[str]:
    part, rest = parts[0], parts[1:]
    if part == "**":
        yield from _walk_deep(tree, folder, rest or ["*"], above)
        return
    fits = _name_test(part)
    for name, is_folder in tree.items(folder).items():
        if is_folder == bool(rest) and fits(name):
            path = _join(folder, name)
            yield from _walk(tree, path, rest, above) if rest else (path,)


def _walk_deep(tree: Tree, folder: str, rest: Sequence[str], above: frozenset[str]) -> Iterator[str]:
    here = tree.physical(folder)
    if here in above:
        return  # a link to a folder that it lies in
    yield from _walk(tree, folder, rest, above)
    for name, is_folder in tree.items(folder).items():
        if is_folder:
            yield from _walk_deep(tree, _join(folder, name), rest, above | {here})


@lru_cache(maxsize=256)
def _name_test(pattern: str) -> Callable[[str], object]:
    return re.compile(translate(pattern)).match


def pair_overlays(
    tree: Tree, paths: Iterable[str], environments: Sequence[str], environment: str | None
) -> Iterator[StateFile]:
    """Put each overlay to its file: `web.prod.yaml` to the `web.yaml` beside it, when `prod` is in force. One without a file to
    lie over stands for itself; those of other environments are left out."""
    for path in paths:
        base, of = _overlay_of(path, environments)
        if of is None or base is None:
            yield StateFile(path, _overlay_beside(tree, path, environment))
        elif of == environment and not _exists(tree, base):
            yield StateFile(path)


def _overlay_of(path: str, environments: Sequence[str]) -> tuple[str | None, str | None]:
    """The file that an overlay would lie over, and its environment; (None, None) for what is no overlay."""
    folder, slash, name = path.rpartition("/")
    pieces = name.split(".")
    if len(pieces) < 3 or pieces[-2] not in environments:
        return None, None
    return f"{folder}{slash}{'.'.join(pieces[:-2])}.{pieces[-1]}", pieces[-2]


def _overlay_beside(tree: Tree, path: str, environment: str | None) -> str | None:
    stem, dot, suffix = path.rpartition(".")
    overlay = f"{stem}.{environment}{dot}{suffix}"
    return overlay if environment is not None and dot and _exists(tree, overlay) else None


def _exists(tree: Tree, path: str) -> bool:
    folder, _, name = path.rpartition("/")
    return tree.items(folder).get(name) is False


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name
