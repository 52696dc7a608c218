"""Computes the directories to watch so that no relevant change is missed.

A watch sits on an inode, not on a path: it sees neither that a link on the way was pointed elsewhere nor that the directory was
made again. So the directories that hold those links are watched too, and the nearest that exists for one that is missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from kvsync.util.values import dataclass

_MAX_LINKS = 40
"""Links followed before a path is taken for a loop, as the kernel does."""


@dataclass(frozen=True, slots=True)
class WatchPlan:
    """What a set of paths was when it was looked at.

    `contents` maps the real path of each directory whose every event counts to the paths it was asked for by; `link_parents`
    are real directories in which only a change of `identities` counts: the device and inode of each path asked for, None
    when it was missing.
    """

    contents: Mapping[Path, frozenset[Path]]
    link_parents: frozenset[Path]
    identities: tuple[tuple[int, int] | None, ...]

    @property
    def paths(self) -> list[str]:
        """All directories to watch, sorted."""
        return sorted(str(path) for path in self.contents.keys() | self.link_parents)

    def touched(self, events: Iterable[Path]) -> frozenset[Path]:
        """Return the directories asked for in which, or to which, something happened."""
        found: set[Path] = set()
        for event in events:
            found |= self.contents.get(event, frozenset()) | self.contents.get(event.parent, frozenset())
        return frozenset(found)


def plan_watches(directories: Iterable[Path]) -> WatchPlan:
    """Look at the directories as they are now."""
    contents: dict[Path, set[Path]] = {}
    link_parents: set[Path] = set()
    identities: list[tuple[int, int] | None] = []
    plain: set[Path] = set()
    for directory in sorted(directories):
        identity = _identity(directory)
        identities.append(identity)
        real, holders = _walk(directory, plain)
        link_parents |= holders
        if identity is None:
            link_parents.add(_nearest(real))
        else:
            contents.setdefault(real, set()).add(directory)
    return WatchPlan(
        {path: frozenset(asked) for path, asked in contents.items()}, frozenset(link_parents), tuple(identities)
    )


def _identity(directory: Path) -> tuple[int, int] | None:
    try:
        status = directory.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _walk(path: Path, plain: set[Path]) -> tuple[Path, set[Path]]:
    """Resolve an absolute path and return, with its real path, the real directories that hold a link on the way.

    `plain` collects paths known not to be links, so that many directories of one tree cost little.
    """
    root = Path(path.anchor)
    here, todo, holders, links = root, list(path.parts[1:]), set[Path](), 0
    while todo and links <= _MAX_LINKS:
        part = todo.pop(0)
        step = here.parent if part == ".." else here / part
        target = None if step in plain else _link_target(step)
        if target is None:
            plain.add(step)
            here = step
            continue
        links += 1
        holders.add(here)
        if target.is_absolute():
            here, target = root, target.relative_to(root)
        todo = [*target.parts, *todo]
    return here, holders


def _link_target(path: Path) -> Path | None:
    try:
        return path.readlink()
    except OSError:
        return None


def _nearest(path: Path) -> Path:
    return next(candidate for candidate in (path, *path.parents) if candidate.is_dir())
