"""ZIP archive in a response, received in chunks and read member by member, never extracted to disk.

An archive is used only if nothing about it is doubtful: a member that occurs twice, is damaged, encrypted, cut off or
unexpectedly large, or has an unexpected name makes all of it unreliable.
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
from kvsync.model.answer_limits import AnswerLimits

_IN_MEMORY: Final = 8 * 1024**2
_PIECE: Final = 256 * 1024
_LARGEST_KEPT: Final = 64 * 1024**2
_DAMAGED: Final = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, ValueError, NotImplementedError, RuntimeError, KeyError
)  # fmt: skip
_ENCRYPTED: Final = 0x1


class Download:
    """Receives an archive of at most `most` bytes, in memory while it is small. Must be closed."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._file = SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115  (closed with the download)
        self.size = 0

    @property
    def file(self) -> IO[bytes]:
        """What was received."""
        return cast(IO[bytes], self._file)

    def begin(self) -> None:
        """Start again with nothing received."""
        self._file.seek(0)
        self._file.truncate()
        self.size = 0

    def write(self, piece: bytes) -> None:
        """Receive one chunk. Raises PermanentError if the archive is too large."""
        self.size += len(piece)
        if self.size > self._most:
            raise PermanentError(f"the archive has more than {self._most:,} bytes (limits.listing_bytes)")
        self._file.write(piece)

    def close(self) -> None:
        """Delete what was received. Idempotent."""
        self._file.close()


class Archive(NamedTuple):
    """Content of an archive: size in bytes and digest of each member by name, and the bytes of the one that was asked for."""

    digests: dict[str, tuple[int, bytes]]
    kept: bytes | None


class UnreliableArchiveError(Exception):
    """The archive may be incomplete or damaged."""


def open_archive(
    download: Download, key: re.Pattern[str], keep: str, hasher: Callable[[], blake2b], limits: AnswerLimits
) -> Archive:
    """Read all members. Every name must match `key`; the member named `keep` is kept whole and left out of the others. Raises
    UnreliableArchiveError."""
    try:
        with zipfile.ZipFile(download.file) as archive:
            members = archive.infolist()
            _check(members, key, max(limits.unpacked, limits.unpack_ratio * download.size))
            digests = {one.filename: _digest(archive, one, hasher()) for one in members if one.filename != keep}
            kept = [_whole(archive, one) for one in members if one.filename == keep]
    except _DAMAGED as error:
        raise UnreliableArchiveError(f"{type(error).__name__}: {error}") from None
    return Archive(digests, kept[0] if kept else None)


def _check(members: list[zipfile.ZipInfo], key: re.Pattern[str], most: int) -> None:
    names = {member.filename for member in members}
    if len(names) < len(members):
        raise UnreliableArchiveError("it contains a name twice")
    if not all(map(key.fullmatch, names)):
        raise UnreliableArchiveError("a name is not a valid key")
    if any(member.flag_bits & _ENCRYPTED for member in members):
        raise UnreliableArchiveError("a member is encrypted")
    if sum(member.file_size for member in members) > most:
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
    if member.file_size > _LARGEST_KEPT:
        raise UnreliableArchiveError("a member is too large to keep")
    return archive.read(member)
