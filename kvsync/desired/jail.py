"""File access below one folder by physical paths, without following symbolic links.

Each folder is opened beneath the root (`beneath`), checked against what is never read, and remembered by device and inode.
A file is opened by its name in such a folder, so that nothing which is moved meanwhile can lead elsewhere.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from kvsync.desired.file_digests import KnownDigests, SeenFile, seen
from kvsync.desired.protection import Identity, Protection
from kvsync.desired.read_rules import (
    LinkError,
    MissingError,
    OutsideError,
    ProtectedError,
    ReadRules,
    TooMuchError,
    UnreadableError,
    excess,
    reason_of,
)
from kvsync.util.beneath import FOLDER, Opener, open_beneath

_MOST_HANDLES: Final = 64
"""Folders that are kept open at a time; a process may often open no more than 256 files."""

_OPEN_FILE: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # a named pipe must not hold us


class Jail:
    """The folder at the absolute path `root`, which has no links in it. Close it after use. Raises UnreadableError when it
    cannot be opened."""

    def __init__(
        self, root: str, rules: ReadRules, opener: Opener = open_beneath, known: KnownDigests | None = None
    ) -> None:
        self._root, self._rules, self._opener = root, rules, opener
        self._known = known or KnownDigests()
        try:
            self._handle = os.open(root, FOLDER | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as error:
            raise reason_of(error) from None
        self.folders: dict[str, os.stat_result] = {"": os.fstat(self._handle)}
        """The folders that were opened, as they were then."""
        self._handles: OrderedDict[str, int] = OrderedDict()
        self.protection = Protection(rules.protected, root)
        self._was_replaced = False
        self.stamps: dict[str, os.stat_result] = {}
        """The files that were read, as they were then."""

    def close(self) -> None:
        """Release the descriptors."""
        while self._handles:
            os.close(self._handles.popitem()[1])
        os.close(self._handle)

    def status(self, physical: str) -> os.stat_result:
        """The status of what lies at a path, of a link itself. Raises UnreadableError."""
        folder, _, name = physical.rpartition("/")
        try:
            return os.stat(name or ".", dir_fd=self._folder(folder), follow_symlinks=False)
        except (OSError, ValueError) as error:
            raise self._reason(error) from None

    def readlink(self, physical: str) -> str | None:
        """Where a symbolic link leads; None when it is none, or nothing is there."""
        folder, _, name = physical.rpartition("/")
        try:
            return os.readlink(name, dir_fd=self._folder(folder))
        except (OSError, ValueError, MissingError):
            return None

    def read(self, physical: str, limit: int) -> bytes:
        """The content of a file of at most `limit` bytes. Raises LinkError for a link, UnreadableError."""
        with self._file(physical) as handle:
            try:
                return _read(handle, limit)
            finally:
                self.stamps[physical] = os.fstat(handle)

    def look(self, physical: str, limit: int) -> SeenFile:
        """A file of at most `limit` bytes, which is only read if it may have changed since it was last read. Raises LinkError
        for a link, UnreadableError."""
        status = self._checked(physical)
        known = self._known.get(physical, status)
        if known is not None and known.size <= limit:
            self.stamps[physical] = status
            return known
        began_at = self._known.now()
        found = seen(self.read(physical, limit))
        self._known.keep(physical, self.stamps[physical], found, began_at)
        return found

    def pieces(self, physical: str, size: int) -> Iterator[bytes]:
        """The content of a file of any size, in pieces of `size` bytes. Raises LinkError for a link, UnreadableError."""
        with self._file(physical) as handle:
            while piece := os.read(handle, size):
                yield piece

    def size(self, physical: str) -> int:
        """The size of a file in bytes; nothing of it is read. Raises LinkError for a link, UnreadableError."""
        return self._checked(physical).st_size

    def entries(self, physical: str) -> Iterator[os.DirEntry[str]]:
        """What lies in a folder, in any order. Raises UnreadableError."""
        self._folder(physical)
        handle = self._open(physical, os.O_RDONLY | os.O_DIRECTORY)
        try:
            with os.scandir(handle) as entries:
                for number, entry in enumerate(entries, 1):
                    if number > self._rules.folder_names:
                        raise TooMuchError(
                            f"a folder contains more than {self._rules.folder_names:,} names; raise limits.folder_names"
                        )
                    yield entry
        except OSError as error:
            raise self._reason(error) from None
        finally:
            os.close(handle)

    def is_protected(self, physical: str) -> bool:
        """True when a path is the name of something that is never read."""
        return self.protection.reason(physical) is not None

    def has_changed(self) -> bool:
        """True when a folder, or what is protected, was replaced since it was looked at. Raises OSError."""
        return (
            self._was_replaced
            or _identity(os.stat(self._root)) != _identity(self.folders[""])  # noqa: PTH116  # Path costs more
            or any(self._identity_now(path) != _identity(before) for path, before in self.folders.items() if path)
            or Protection(self._rules.protected, self._root) != self.protection
        )

    @contextmanager
    def _file(self, physical: str) -> Iterator[int]:
        """A descriptor of a file. Its errors while it is read are UnreadableError, too."""
        self.size(physical)  # a pipe or a device is not even opened
        folder, _, name = physical.rpartition("/")
        try:
            handle = os.open(name, _OPEN_FILE, dir_fd=self._folder(folder))
        except OSError as error:
            raise self._reason(error) from None
        try:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                raise UnreadableError("it is not a file")
            self._check(physical, status)
            yield handle
        except OSError as error:
            raise reason_of(error) from None
        finally:
            os.close(handle)

    def _checked(self, physical: str) -> os.stat_result:
        """The status of a file that may be read. Raises LinkError for a link, UnreadableError."""
        status = self.status(physical)
        if stat.S_ISLNK(status.st_mode):
            raise LinkError("it is a symbolic link")
        if not stat.S_ISREG(status.st_mode):
            raise UnreadableError("it is not a file")
        self._check(physical, status)
        return status

    def _identity_now(self, physical: str) -> Identity:
        # That a link on the way is followed does no harm: nothing is read, and the inode would be another one.
        return _identity(os.stat(physical, dir_fd=self._handle, follow_symlinks=False))

    def _folder(self, physical: str) -> int:
        """A descriptor of a folder, good until the next call. Every folder on the way was checked, and is still the same."""
        if not physical:
            return self._handle
        handle = self._handles.get(physical)
        if handle is not None:
            self._handles.move_to_end(physical)
            return handle
        parent = physical.rpartition("/")[0]
        if parent not in self.folders:
            self._folder(parent)
        handle = self._handles[physical] = self._open(physical, FOLDER)
        if len(self._handles) > _MOST_HANDLES:
            os.close(self._handles.popitem(last=False)[1])
        return handle

    def _open(self, physical: str, flags: int) -> int:
        """Open a folder, and see that it may be read and is the one that was there before."""
        try:
            handle = self._opener(self._handle, physical, flags, mounts=self._rules.mounts)
        except (OSError, ValueError) as error:
            raise self._replaced() if physical in self.folders else self._reason(error) from None
        try:
            status = os.fstat(handle)
            self._check(physical, status)
            if _identity(self.folders.setdefault(physical, status)) != _identity(status):
                raise self._replaced()
        except UnreadableError:
            os.close(handle)
            raise
        return handle

    def require_unprotected(self, path: str) -> None:
        """Raise ProtectedError for a path that is never read, or lies in a folder that is not, by its name alone."""
        names = path.split("/")
        for end in range(1, len(names) + 1):
            reason = self.protection.reason("/".join(names[:end]))
            if reason is not None:
                raise ProtectedError(f"kvsync never reads it: {reason}")

    def _check(self, physical: str, status: os.stat_result) -> None:
        reason = self.protection.reason(physical, status)
        if reason is not None:
            raise ProtectedError(f"kvsync never reads it: {reason}")
        if not self._rules.mounts and status.st_dev != self.folders[""].st_dev:
            raise OutsideError("it is on another file system")

    def _reason(self, error: Exception) -> UnreadableError:
        if isinstance(error, OSError) and error.errno == errno.ELOOP:
            return self._replaced()  # links were followed before, so this one is new
        return reason_of(error)

    def _replaced(self) -> UnreadableError:
        self._was_replaced = True
        return UnreadableError("it was replaced while kvsync read it")


def _identity(status: os.stat_result) -> Identity:
    return status.st_dev, status.st_ino


def _read(handle: int, limit: int) -> bytes:
    before = os.fstat(handle)
    if before.st_size > limit:
        raise TooMuchError(excess(before.st_size, limit))
    parts: list[bytes] = []
    left = before.st_size + 1
    while (left > 1 or not parts) and (part := os.read(handle, left)):
        parts.append(part)
        left -= len(part)
    after = os.fstat(handle)
    # The size of a file that the kernel makes up, as in /proc, is not that of its content.
    if left != 1 or (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise UnreadableError("it changed while kvsync read it")
    return parts[0] if len(parts) == 1 else b"".join(parts)
