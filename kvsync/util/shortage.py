"""Recognizes errors caused by a missing resource of the machine: disk space, memory, file descriptors, threads."""

from __future__ import annotations

import errno
from typing import Final

from kvsync.errors import ErrorCode, KvsyncError

_DESCRIPTORS: Final = "too many open files; raise the limit (LimitNOFILE of systemd, or ulimit -n)"
_MEMORY: Final = (
    "out of memory; raise the limit (MemoryMax of systemd, the memory limit of the container, or ulimit -v)"
)
_THREADS: Final = (
    "no thread or process can be started; raise the limit (TasksMax of systemd, the pids limit of the container, or"
    " ulimit -u)"
)
_BY_NUMBER: Final = {
    errno.EMFILE: _DESCRIPTORS,
    errno.ENFILE: _DESCRIPTORS,
    errno.ENOMEM: _MEMORY,
    errno.EAGAIN: _THREADS,
}
_OF_DISK: Final = {
    errno.ENOSPC: "the disk is full, or has no inodes left; free some space",
    errno.EDQUOT: "the disk quota is exceeded; free some space",
    errno.EROFS: "the file system is read-only; mount it writable",
    errno.EIO: "the disk reports an error; check its health",
}
_NO_THREAD: Final = "can't start new thread"
"""What CPython says in a RuntimeError."""

_NO_ROOM: Final = ("failed to map segment", "cannot allocate memory")
"""What the dynamic loader says in an ImportError."""

_NO_EXCEPTION: Final = ("return without exception set", "without setting an exception")
"""What Python says in a SystemError where an import found no memory even for a MemoryError."""


def shortage_of(error: BaseException) -> str | None:
    """What the machine lacks and how to fix that; None for any other error. The causes and contexts of `error` count too."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        if (words := _words(cause)) is not None:
            return words
        cause = cause.__cause__ or cause.__context__
    return None


def code_of(error: BaseException) -> ErrorCode:
    """The code of any exception: that of its class, of a shortage, or of a bug."""
    if isinstance(error, KvsyncError):
        return error.code
    return ErrorCode.BUG if shortage_of(error) is None else ErrorCode.SHORTAGE


def _is_of_memory(error: BaseException) -> bool:
    """True for what Python raises instead of MemoryError when an import runs out of memory."""
    if isinstance(error, SystemError):
        return any(words in str(error) for words in _NO_EXCEPTION)
    return isinstance(error, ImportError) and any(words in str(error).lower() for words in _NO_ROOM)


def _words(error: BaseException) -> str | None:
    if isinstance(error, MemoryError) or _is_of_memory(error):
        return _MEMORY
    if isinstance(error, RuntimeError) and _NO_THREAD in str(error):
        return _THREADS
    if not isinstance(error, OSError) or error.errno is None:
        return None
    if error.errno == errno.EAGAIN and not isinstance(error, BlockingIOError):
        return None
    words = _OF_DISK.get(error.errno)
    if words is not None and isinstance(error.filename, str):
        return f"{error.filename}: {words}"
    return words or _BY_NUMBER.get(error.errno)
