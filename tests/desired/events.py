"""The paths that events of the file system would name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

Statuses = Mapping[Path, tuple[int, int, int]]


def statuses(folder: Path) -> Statuses:
    """Inode, size and time of the last change of everything in a folder."""
    found = {path: path.lstat() for path in folder.rglob("*")}
    return {path: (one.st_ino, one.st_size, one.st_ctime_ns) for path, one in found.items()}


def events_since(before: Statuses, folder: Path) -> frozenset[Path]:
    """What came, went or changed in a folder. That names changed in a folder is an event of these names alone."""
    now = statuses(folder)
    changed = {path for path in before.keys() | now.keys() if before.get(path) != now.get(path)}
    return frozenset(path for path in changed if path not in before or path not in now or not path.is_dir())
