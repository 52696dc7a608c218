"""Write lock of the state directory, held by the kernel and released when the process ends.

Two locks on open files (flock(2)): one on the file `lock`, where the holder leaves its id, and one on the directory itself, so
that deleting the file admits no second process.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kvsync.errors import LockHeld
from kvsync.state.sqlite_database import sqlite_errors

FILE_NAME = "lock"

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC

_PROBES = 5
_PROBE_SECONDS = 0.02
"""`writer_of` holds the lock for an instant when it looks; a writer that starts just then tries again."""


@contextmanager
def hold(state_dir: Path, command: str) -> Iterator[None]:
    """Hold the lock while inside. Raises LockHeld when another process does, StateDirError."""
    with sqlite_errors(state_dir):
        folder = os.open(state_dir, _FOLDER)
    try:
        with _hold_file(state_dir, folder, command):
            yield
    finally:
        os.close(folder)


@contextmanager
def _hold_file(state_dir: Path, folder: int, command: str) -> Iterator[None]:
    with sqlite_errors(state_dir):
        descriptor = os.open(state_dir / FILE_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if not (_take(descriptor) and _take_folder(folder)):
            raise LockHeld(str(state_dir), _pid(descriptor))
        with sqlite_errors(state_dir):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n{command}\n".encode(), 0)
        yield
        with suppress(OSError):  # the lock is free all the same once the file is closed
            os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def writer_of(state_dir: Path) -> int | None:
    """The id of the process that holds the lock now, 0 if it is unknown; None when none does. Raises StateDirError."""
    with sqlite_errors(state_dir):
        try:
            descriptor = os.open(state_dir / FILE_NAME, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return _writer_without_file(state_dir)
    try:
        if not os.pread(descriptor, 1, 0):
            return None  # left in good order: looking closer would only stand in the way of one who starts
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _pid(descriptor) or 0
    else:
        return None
    finally:
        os.close(descriptor)


def _writer_without_file(state_dir: Path) -> int | None:
    """0 when a process holds the lock although the file is gone, else None."""
    try:
        folder = os.open(state_dir, _FOLDER)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(folder, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return 0
    except OSError:  # as in `_take_folder`
        return None
    else:
        return None
    finally:
        os.close(folder)


def _take_folder(folder: int) -> bool:
    try:
        return _take(folder)
    except OSError:  # a file system, like NFS, on which a folder cannot be locked: then the file alone must do
        return True


def _take(descriptor: int) -> bool:
    for _ in range(_PROBES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_PROBE_SECONDS)
        else:
            return True
    return False


def _pid(descriptor: int) -> int | None:
    first, _, _ = os.pread(descriptor, 64, 0).partition(b"\n")
    return int(first) if first.isdigit() else None
