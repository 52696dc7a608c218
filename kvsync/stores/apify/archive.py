"""ZIP of all records of a store, received in chunks and read member by member, never extracted to disk.

It counts only when nothing about it is in doubt: what is there twice, damaged, encrypted, cut off, under a name that no record
has, or grows beyond belief makes all of it worthless, and the records are then read one by one.
"""

from __future__ import annotations

import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from hashlib import blake2b
from tempfile import SpooledTemporaryFile
from typing import IO, Final, NamedTuple, cast

from kvsync.errors import PermanentError

MOST: Final = 2 * 1024**3
"""Bytes of an archive that is taken in."""

_IN_MEMORY: Final = 8 * 1024**2
_PIECE: Final = 256 * 1024
_LARGEST_LEDGER: Final = 64 * 1024**2
_USUAL: Final = 256 * 1024**2
_MOST_GROWTH: Final = 100
"""Times its own size that an archive above the usual may come to; beyond is a trap, not data."""

_DAMAGED: Final = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, ValueError, NotImplementedError, RuntimeError, KeyError
)  # fmt: skip
_ENCRYPTED: Final = 0x1


class Download:
    """Takes in an archive, in memory while it is small. Close it."""

    def __init__(self) -> None:
        self._file = SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115  (closed with the download)
        self.size = 0

    @property
    def file(self) -> IO[bytes]:
        """What was taken in."""
        return cast(IO[bytes], self._file)

    def begin(self) -> None:
        """Forget what was taken in."""
        self._file.seek(0)
        self._file.truncate()
        self.size = 0

    def write(self, piece: bytes) -> None:
        """Take one piece. Raises PermanentError when the archive is larger than is taken in."""
        self.size += len(piece)
        if self.size > MOST:
            raise PermanentError(f"the archive has more than {MOST:,} bytes")
        self._file.write(piece)

    def close(self) -> None:
        """Let go of it. Idempotent."""
        self._file.close()


class Archive(NamedTuple):
    """What is in an archive: key to size in bytes and digest of the value, and the bytes of the one record asked for."""

    digests: dict[str, tuple[int, bytes]]
    ledger: bytes | None


class UnreliableArchiveError(Exception):
    """The archive is not a faithful picture of the store."""


def open_archive(
    file: IO[bytes], size: int, key: re.Pattern[str], ledger: str, hasher: Callable[[], blake2b]
) -> Archive:
    """Read all members. `key` is what every name must match; `ledger` is the name of the record that is kept whole and left out
    of the others. Raises UnreliableArchiveError."""
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            _check(members, size, key)
            digests = {one.filename: _digest(archive, one, hasher()) for one in members if one.filename != ledger}
            kept = [_whole(archive, one) for one in members if one.filename == ledger]
    except _DAMAGED as error:
        raise UnreliableArchiveError(f"{type(error).__name__}: {error}") from None
    return Archive(digests, kept[0] if kept else None)


def _check(members: list[zipfile.ZipInfo], size: int, key: re.Pattern[str]) -> None:
    names = {member.filename for member in members}
    if len(names) < len(members):
        raise UnreliableArchiveError("it contains a name twice")
    if not all(map(key.fullmatch, names)):
        raise UnreliableArchiveError("a name is not a valid key")
    if any(member.flag_bits & _ENCRYPTED for member in members):
        raise UnreliableArchiveError("a member is encrypted")
    if sum(member.file_size for member in members) > max(_USUAL, _MOST_GROWTH * size):
        raise UnreliableArchiveError("it is too large when unpacked")


def _digest(archive: zipfile.ZipFile, member: zipfile.ZipInfo, hasher: blake2b) -> tuple[int, bytes]:
    size = 0
    with archive.open(member) as stream:  # checks the declared size and sum at the end
        while piece := stream.read(_PIECE):
            size += len(piece)
            hasher.update(piece)
    if size != member.file_size:
        raise UnreliableArchiveError("the size of a member is wrong")
    return size, hasher.digest()


def _whole(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    if member.file_size > _LARGEST_LEDGER:
        raise UnreliableArchiveError("the ledger is too large")
    return archive.read(member)
