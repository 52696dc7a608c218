"""The last reading of the state files, and which files may have changed since.

The status of each folder and file that was looked at is compared: nothing is opened, listed, read or compiled. A file that
changed is read again alone. A folder that changed is listed again; if it has other names, everything is read again.

A file that was not stable when it was read counts as changed: some file systems keep times to the second. So does a file with a
problem: what it needs may be missing, and nothing shows when that comes. Where a symbolic link was met, any change makes
everything be read again.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping
from operator import itemgetter
from pathlib import Path
from typing import Final, NamedTuple

from kvsync.desired.file_digests import KnownDigests, Stamp, is_stable, stamp_of
from kvsync.desired.model import Reading
from kvsync.desired.protection import Protection
from kvsync.desired.read_rules import ReadRules, UnreadableError
from kvsync.desired.tree import Tree

_identity_of: Final = itemgetter(0, 1)
"""Device and inode of a stamp."""


class _KeptReading(NamedTuple):
    """A reading with what it depends on. `stamps` are by physical path, of files and of `folders`, which have the digest of
    their names if they were listed. `unstable` may have changed without another stamp. `slots` are those that depend on a path,
    `troubled` those with a problem."""

    asked: Hashable
    reading: Reading
    real: str
    stamps: Mapping[str, Stamp]
    unstable: frozenset[str]
    folders: Mapping[str, bytes | None]
    slots: Mapping[str, str | set[str]]
    troubled: frozenset[str]
    has_links: bool
    protection: Protection
    variables: Mapping[str, str | None]


class Changes(NamedTuple):
    """The last reading, the slots that have to be read again, and the folders that have to be listed again."""

    kept: _KeptReading
    slots: tuple[str, ...]
    folders: tuple[str, ...]

    @property
    def reading(self) -> Reading:
        """The last reading."""
        return self.kept.reading

    @property
    def is_nothing(self) -> bool:
        """True if the last reading is still what the files say."""
        return not (self.slots or self.folders)

    def have_new_names(self, tree: Tree) -> bool:
        """True if something came, went or became something else in a folder, or if that is not known."""
        try:
            return any(self._has_new_names(tree, folder) for folder in self.folders)
        except UnreadableError:
            return True

    def _has_new_names(self, tree: Tree, folder: str) -> bool:
        before = self.kept.folders[folder]
        if before is None:  # no name in it was looked for, but it may have become a mounted ConfigMap
            return tree.physical_folder(folder) != folder
        tree.items(folder)
        return tree.names_digest(folder) != before

    def is_other_tree(self, tree: Tree) -> bool:
        """True if `tree` met a link, or a folder that is not the one of the last reading."""
        stamps = self.kept.stamps
        before = ((stamps[path], status) for path, status in tree.folders.items() if path in stamps)
        return tree.has_links or any(stamp[:2] != (status.st_dev, status.st_ino) for stamp, status in before)


class LastReading:
    """Keeps one reading. `environ` is where state files take variables from; `known` says when everything has to be read again
    although nothing seems to have changed."""

    def __init__(self, environ: Mapping[str, str], known: KnownDigests) -> None:
        self._environ, self._known = environ, known
        self._kept: _KeptReading | None = None

    def changes(
        self, asked: Hashable, root: str, rules: ReadRules, touched: Collection[Path] | None = None
    ) -> Changes | None:
        """What may have changed since the reading of what is asked; None if everything has to be read again. Only `touched`
        paths may have another status than at the last call; None: any."""
        kept = self._kept
        if kept is None or kept.asked != asked or self._known.is_due():
            return None
        protection = Protection(rules.protected, kept.real)
        if protection != kept.protection and protection.concerns(
            kept.protection, map(_identity_of, kept.stamps.values())
        ):
            return None
        if any(self._environ.get(name) != value for name, value in kept.variables.items()):
            return None
        suspects = kept.stamps if touched is None or kept.has_links else _stamps_of(touched, kept)
        paths = _changed_paths(root, kept, suspects)
        if paths is None:
            return None
        folders = tuple(path for path in paths if path in kept.folders)
        changes = Changes(kept, tuple(sorted(kept.troubled.union(_concerned(kept, paths)))), folders)
        return None if kept.has_links and not changes.is_nothing else changes

    def keep(
        self, asked: Hashable, reading: Reading, tree: Tree, began_at: float, changes: Changes | None = None
    ) -> None:
        """Keep a reading of a tree that began at a moment (epoch seconds), if it depends on nothing but what was found; forget
        the one before. With `changes`, the tree was read for these alone."""
        self._kept = None
        if reading.changed_during_read or reading.problems or reading.unsearched or reading.unheld:
            return
        looked_at = tree.looked_at()
        stamps = {path: stamp_of(status) for path, status in looked_at.items()}
        folders = {path: tree.names_digest(path) for path in tree.folders}
        if changes is not None:
            # A folder that was opened, but not listed again, may have changed after it was compared.
            known = changes.kept.folders.keys() - changes.folders
            stamps = {**changes.kept.stamps, **{path: one for path, one in stamps.items() if path not in known}}
            folders = {**folders, **changes.kept.folders}
        fresh = reading.units if changes is None else {slot: reading.units[slot] for slot in changes.slots}
        variables = {name: value for _, unit in fresh.values() for name, value in unit.variables.items()}
        self._kept = _KeptReading(
            asked,
            reading,
            tree.real,
            stamps,
            frozenset(path for path, status in looked_at.items() if not is_stable(status, began_at)),
            folders,
            _slots_by_path(reading, fresh, {} if changes is None else changes.kept.slots),
            frozenset(slot for slot, (_, unit) in fresh.items() if unit.problems or not unit.names_known),
            tree.has_links,
            tree.protection,
            variables if changes is None else {**changes.kept.variables, **variables},
        )


def _stamps_of(touched: Collection[Path], kept: _KeptReading) -> Mapping[str, Stamp]:
    """The stamps of these paths and of the folders that they are in; of everything if one is outside of what was read."""
    stamps: dict[str, Stamp] = {}
    for path in touched:
        if not path.is_relative_to(kept.real):
            return kept.stamps
        name = "" if path == Path(kept.real) else str(path.relative_to(kept.real))
        found = [one for one in (name, name.rpartition("/")[0]) if one in kept.stamps]
        stamps.update((one, kept.stamps[one]) for one in found)
    return stamps


def _changed_paths(root: str, kept: _KeptReading, stamps: Mapping[str, Stamp]) -> frozenset[str] | None:
    """What has another status than in `stamps`, or was not stable; None if another folder is in the place of one. A link that
    replaces something has another inode, and changes the time of the folder that it is in."""
    try:
        if os.path.realpath(root, strict=True) != kept.real:
            return None
        handle = os.open(kept.real, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        changed = _with_other_status(stamps, handle)
        if any(_identity(folder, handle) != kept.stamps[folder][:2] for folder in kept.folders.keys() & changed):
            return None
        return kept.unstable.union(changed)
    finally:
        os.close(handle)


def _with_other_status(stamps: Mapping[str, Stamp], root: int) -> list[str]:
    """The paths that have another status now, or none. There may be very many, so nothing is called for each but `stat`."""
    changed, look = [], os.stat
    for path, stamp in stamps.items():
        try:
            now = look(path or ".", dir_fd=root, follow_symlinks=False)
        except OSError:
            changed.append(path)
            continue
        if (now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns, now.st_ctime_ns) != stamp:
            changed.append(path)
    return changed


def _identity(path: str, root: int) -> tuple[int, int] | None:
    try:
        now = os.stat(path or ".", dir_fd=root, follow_symlinks=False)
    except OSError:
        return None
    return now.st_dev, now.st_ino


def _slots_by_path(
    reading: Reading, fresh: Iterable[str], before: Mapping[str, str | set[str]]
) -> Mapping[str, str | set[str]]:
    """The slots by the paths of their files and of what they take values from; nearly all paths have one slot. A path that
    a slot needed `before` stays: it is read once more than needed when that changes."""
    slots = dict(before)
    for slot in fresh:
        for path, _ in reading.states[slot].stamps:
            known = slots.get(path, slot)
            if isinstance(known, set):
                known.add(slot)
            else:
                slots[path] = slot if known == slot else {known, slot}
    return slots


def _concerned(kept: _KeptReading, paths: Iterable[str]) -> Iterator[str]:
    """The slots whose files, or what they take values from, are among `paths`."""
    for path in paths:
        known = kept.slots.get(path, ())
        yield from (known,) if isinstance(known, str) else known
