"""ZIP of all records in streaming format: sizes follow the members, and the directory is at the end."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from kvsync.emulators.apify.encodings import decode
from kvsync.emulators.apify.model import Record

_EARLIEST: Final = datetime(1980, 1, 1, tzinfo=UTC)  # what the format can say
_READABLE: Final = 0o644 << 16


class _Pipe:
    """Takes bytes, and cannot go back."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self.parts.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing waits."""


def pack(items: Iterable[tuple[str, Record]], *, deflated: bool, decoded: bool) -> bytes:
    """One member per record, named as its key; `decoded` takes content encodings off."""
    pipe = _Pipe()
    with zipfile.ZipFile(pipe, "w") as archive:  # type: ignore[call-overload]  # it asks for no more than write and flush
        for key, record in items:
            member = zipfile.ZipInfo(key, _date(record.modified))
            member.compress_type = zipfile.ZIP_DEFLATED if deflated else zipfile.ZIP_STORED
            member.external_attr = _READABLE
            archive.writestr(member, _content(record) if decoded else record.body)
    return b"".join(pipe.parts)


def _content(record: Record) -> bytes:
    try:
        return decode(record.body, record.encoding)
    except ValueError:
        return record.body


def _date(at: float) -> tuple[int, int, int, int, int, int]:
    date = max(_EARLIEST, datetime.fromtimestamp(at, UTC))
    return date.year, date.month, date.day, date.hour, date.minute, date.second
