"""Digests of files, remembered for as long as their status shows that they are the same: reading them again costs more."""

from __future__ import annotations

import os
from hashlib import blake2b
from typing import Final, NamedTuple

from kvsync.util.clock import Clock

_REST_SECONDS: Final = 2.0
"""A file that was changed this recently before it was read may be changed again without any sign in its status: some file
systems keep times to the second."""

_TRUST_SECONDS: Final = 600.0
"""All files are read again after this time, in case a file system does not keep the times of its files."""

Stamp = tuple[int, int, int, int, int]
"""Device, inode, size, and the times of the last change of content and of status of a file or folder."""


class SeenFile(NamedTuple):
    """A file as it is now: its size in bytes, and the digest (16 bytes) of its content. `data` is None if it was not read,
    because it is the same as when it was last read."""

    size: int
    digest: bytes
    data: bytes | None


def seen(data: bytes) -> SeenFile:
    """A file with this content."""
    return SeenFile(len(data), blake2b(data, digest_size=16).digest(), data)


class KnownDigests:
    """Digests by the path of the file. Device, inode, size, and the times of the last change of content and of status have to
    be the same. `clock` is the machine's, as are the times of files."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or Clock()
        self._known: dict[str, tuple[Stamp, SeenFile]] = {}
        self._next: dict[str, tuple[Stamp, SeenFile]] = {}
        self._forgotten_at = self._clock.monotonic()

    def begin(self) -> None:
        """Begin to look at all files: those that no look since the last call was about are forgotten."""
        is_due = self.is_due()
        self._forgotten_at = self._clock.monotonic() if is_due else self._forgotten_at
        self._known, self._next = {} if is_due else self._next, {}

    def is_due(self) -> bool:
        """True if all files have to be read again."""
        return self._clock.monotonic() - self._forgotten_at >= _TRUST_SECONDS

    def get(self, path: str, status: os.stat_result) -> SeenFile | None:
        """A file with this status, None if it has to be read."""
        known = self._next.get(path) or self._known.get(path)
        if known is None or known[0] != stamp_of(status):
            return None
        self._next[path] = known
        return known[1]

    def keep(self, path: str, status: os.stat_result, file: SeenFile, began_at: float) -> None:
        """Remember a file that was read. `status` is that after reading, which began at `began_at` (epoch seconds)."""
        if is_stable(status, began_at):
            self._next[path] = stamp_of(status), file._replace(data=None)

    def now(self) -> float:
        """The moment for `began_at`."""
        return self._clock.now()


def is_stable(status: os.stat_result, moment: float) -> bool:
    """True if a later change of the file or folder will show in its status. `moment` is that of the look (epoch seconds)."""
    return max(status.st_mtime, status.st_ctime) <= moment - _REST_SECONDS


def stamp_of(status: os.stat_result) -> Stamp:
    """The part of a status that shows a change."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
