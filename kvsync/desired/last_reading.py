"""The last reading of the state files, for as long as nothing that it looked at has changed.

The status of each folder and file that was looked at is compared: nothing is opened, listed, read or compiled. A reading is
kept only if it found no problem, and if all that it looked at had rested: some file systems keep times to the second.
"""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping
from typing import NamedTuple

from kvsync.desired.file_digests import KnownDigests, Stamp, has_rested, stamp_of
from kvsync.desired.model import Reading
from kvsync.desired.protection import Identity, Protection
from kvsync.desired.read_rules import ReadRules
from kvsync.desired.tree import Tree


class _KeptReading(NamedTuple):
    asked: Hashable
    reading: Reading
    real: str
    stamps: Mapping[str, Stamp]
    identities: frozenset[Identity]
    protection: Protection
    variables: Mapping[str, str | None]


class LastReading:
    """Keeps one reading. `environ` is where state files take variables from; `known` says when everything has to be read again
    although nothing seems to have changed."""

    def __init__(self, environ: Mapping[str, str], known: KnownDigests) -> None:
        self._environ, self._known = environ, known
        self._kept: _KeptReading | None = None

    def get(self, asked: Hashable, root: str, rules: ReadRules) -> Reading | None:
        """The reading that was kept for what is asked, None if it may have changed."""
        kept = self._kept
        if kept is None or kept.asked != asked or self._known.is_due():
            return None
        protection = Protection(rules.protected, kept.real)
        if protection.concerns(kept.protection, kept.identities):
            return None
        if any(self._environ.get(name) != value for name, value in kept.variables.items()):
            return None
        return kept.reading if _is_same(root, kept) else None

    def keep(self, asked: Hashable, reading: Reading, tree: Tree, began_at: float) -> None:
        """Keep a reading of a tree that began at a moment (epoch seconds), if a later change of what it looked at will show;
        forget the one before."""
        self._kept = None
        looked_at = tree.looked_at()
        if _is_clean(reading) and all(has_rested(status, began_at) for status in looked_at.values()):
            self._kept = _KeptReading(
                asked,
                reading,
                tree.real,
                {path: stamp_of(status) for path, status in looked_at.items()},
                frozenset((status.st_dev, status.st_ino) for status in looked_at.values()),
                tree.protection,
                {name: value for _, unit in reading.units.values() for name, value in unit.variables.items()},
            )


def _is_clean(reading: Reading) -> bool:
    """True if the reading depends on nothing but what was found."""
    if reading.changed_during_read or reading.problems or reading.unsearched or reading.unheld:
        return False
    return all(unit.names_known and not unit.problems for _, unit in reading.units.values())


def _is_same(root: str, kept: _KeptReading) -> bool:
    """True if every folder and file has the status that it had. A link that replaces a folder has another inode, and
    changes the time of the folder that it is in."""
    try:
        if os.path.realpath(root, strict=True) != kept.real:
            return False
        handle = os.open(kept.real, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            return all(
                stamp_of(os.stat(path or ".", dir_fd=handle, follow_symlinks=False)) == stamp
                for path, stamp in kept.stamps.items()
            )
        finally:
            os.close(handle)
    except OSError:
        return False
