"""Opens files and folders below a folder without following symbolic links.

Two implementations of one rule. `open_by_kernel` hands the whole path to Linux (`openat2` with RESOLVE_BENEATH, since 5.6);
`open_by_walking` opens each folder on the way on its own. `open_beneath` takes the first where mounts are refused and it works
here: a seccomp filter of a container may not know the system call.
"""

from __future__ import annotations

import errno
import os
import struct
from contextlib import suppress
from functools import cache
from typing import Any, Final, Protocol

FOLDER: Final = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY
"""Flags to open a folder with, to look things up in. `O_PATH` needs no permission to list it."""

_ALWAYS: Final = os.O_CLOEXEC | os.O_NOFOLLOW
_SYSCALL: Final = 437
_MACHINES: Final = frozenset({"x86_64", "aarch64", "riscv64", "ppc64le", "s390x"})
"""Machines on which `openat2` is known to have that number."""

_NO_XDEV, _NO_MAGICLINKS, _NO_SYMLINKS, _BENEATH = 0x01, 0x02, 0x04, 0x08


class Opener(Protocol):
    """Opens `path`, relative to the folder that the descriptor `root` is of, with `flags`. The path must not hold `..`; "" is
    the folder itself. Without `mounts` nothing on another file system is opened.

    Raises OSError: ELOOP or ENOTDIR for a link on the way or at the end, EXDEV for another file system."""

    def __call__(self, root: int, path: str, flags: int, *, mounts: bool = True) -> int:
        """The descriptor, which the caller closes."""


def open_by_walking(root: int, path: str, flags: int, *, mounts: bool = True) -> int:
    """An `Opener` that opens one folder after the other. It takes a bind mount of the same file system for part of it."""
    parts = _parts(path) or ["."]
    device = os.fstat(root).st_dev
    here = os.dup(root)
    try:
        for number, part in enumerate(parts, 1):
            wanted = flags if number == len(parts) else FOLDER
            following = os.open(part, wanted | _ALWAYS, dir_fd=here)
            os.close(here)
            here = following
            if not mounts and os.fstat(here).st_dev != device:
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
    except BaseException:
        os.close(here)
        raise
    return here


def open_by_kernel(root: int, path: str, flags: int, *, mounts: bool = True) -> int:
    """An `Opener` that leaves the whole way to the kernel. Raises OSError with ENOSYS or EPERM where it cannot be called."""
    name = "/".join(_parts(path)) or "."
    resolve = _BENEATH | _NO_SYMLINKS | _NO_MAGICLINKS | (0 if mounts else _NO_XDEV)
    how = struct.pack("=QQQ", flags | _ALWAYS, 0, resolve)
    call, last_error = _system_call()
    while (descriptor := int(call(_SYSCALL, root, os.fsencode(name), how, len(how)))) < 0:
        code = last_error()
        if code != errno.EINTR:
            raise OSError(code, os.strerror(code))
    return descriptor


def open_beneath(root: int, path: str, flags: int, *, mounts: bool = True) -> int:
    """The `Opener` to use: the kernel's where it has one and walking would not do. Only for the kernel a bind mount differs
    from its file system; calling it takes `ctypes`, which costs a short command more than its files."""
    return (open_by_walking if mounts else _opener())(root, path, flags, mounts=mounts)


@cache
def _opener() -> Opener:
    with suppress(OSError, ImportError, MemoryError):  # what ctypes raises where it may not be used
        root = os.open("/", FOLDER | _ALWAYS)
        try:
            os.close(open_by_kernel(root, "", FOLDER))
        finally:
            os.close(root)
        return open_by_kernel
    return open_by_walking


@cache
def _system_call() -> tuple[Any, Any]:
    """`syscall` of the C library with the arguments of `openat2`, and what gives the error of the last call."""
    import ctypes

    system = os.uname()
    if system.sysname != "Linux" or system.machine not in _MACHINES:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    call = ctypes.CDLL(None, use_errno=True).syscall
    call.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t]
    call.restype = ctypes.c_long
    return call, ctypes.get_errno


def _parts(path: str) -> list[str]:
    parts = path.split("/") if path else []
    if any(part in ("", ".", "..") or "\0" in part for part in parts):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    return parts
