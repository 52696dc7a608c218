"""Rules of what may be read beneath a root, and the errors of what cannot be read."""

from __future__ import annotations

import errno
from pathlib import PurePosixPath

from kvsync.config.protected import ProtectedPath
from kvsync.util.shortage import shortage_of
from kvsync.util.values import dataclass


@dataclass(frozen=True, slots=True)
class ReadRules:
    """What may be read beneath a root.

    `protected` is never read. `folders` are what values may be taken from, relative to the root; without any, all of it.
    Without `links` no symbolic link is followed, without `mounts` nothing on another file system is read. A folder with more
    than `folder_names` names is not listed, a path with more than `folder_depth` folders not followed.
    """

    protected: tuple[ProtectedPath, ...] = ()
    folders: tuple[PurePosixPath, ...] = ()
    links: bool = True
    mounts: bool = True
    folder_names: int = 1_000_000
    folder_depth: int = 100


class UnreadableError(Exception):
    """Something in the tree cannot be read; the message says why, without the path."""


class MissingError(UnreadableError):
    """There is no such file or folder."""


class OutsideError(UnreadableError):
    """The path leaves the root, or the folders that values may be taken from."""


class ProtectedError(UnreadableError):
    """The file is protected: it is never read, whatever is configured."""


class TooMuchError(UnreadableError):
    """A limit of the configuration is reached."""


class LinkError(UnreadableError):
    """A symbolic link lies where a file was expected."""


def reason_of(error: Exception) -> UnreadableError:
    """Why something cannot be read, in words."""
    if not isinstance(error, OSError):
        return UnreadableError("its name contains a NUL character")
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return MissingError("it does not exist")
    if error.errno == errno.EXDEV:
        return OutsideError("it is on another file system")
    return UnreadableError(shortage_of(error) or error.strerror or "it cannot be read")


def shown_size(size: int) -> str:
    """A number of bytes for people."""
    if size < 2**20 / 10:
        return f"{size:,} bytes"
    return f"{f'{size / 2**20:,.1f}'.removesuffix('.0')} MiB"


def excess(size: int, most: int, whose: str = "the limit is") -> str:
    """That a size is more than `most`, in bytes where the two are too close to be distinguished otherwise."""
    shown, limit = shown_size(size), shown_size(most)
    if shown == limit:
        shown, limit = f"{size:,} bytes", f"{most:,} bytes"
    return f"it is too large: {shown}; {whose} {limit}"
