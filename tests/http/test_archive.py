"""Archives that cannot be believed are worth nothing, whatever is wrong with them; those that can are read whole."""

from __future__ import annotations

import io
import re
import struct
import warnings
import zipfile
from collections.abc import Callable
from contextlib import closing
from hashlib import blake2b

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvsync.errors import PermanentError
from kvsync.http import archive as subject
from kvsync.http.archive import Archive, Download, UnreliableArchiveError, open_archive
from kvsync.model.answer_limits import AnswerLimits

KEY = re.compile(r"[a-zA-Z0-9!\-_.'()]+")
LEDGER = "kvsync.ledger.json"


def packed(*members: tuple[str, bytes], how: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", how) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that are there twice
        for name, value in members:
            archive.writestr(name, value)
    return file.getvalue()


def read(data: bytes, limits: AnswerLimits = AnswerLimits()) -> Archive:  # noqa: B008 - frozen
    with closing(Download(len(data))) as download:
        download.write(data)
        return open_archive(download, KEY, LEDGER, blake2b, limits)


def digest(value: bytes) -> tuple[int, bytes]:
    return len(value), blake2b(value).digest()


@pytest.mark.parametrize("how", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_every_member_is_taken_in(how: int) -> None:
    """Every record is there with its size and digest, the ledger apart and whole; an empty archive is an empty store."""
    found = read(packed(("...", b""), ("..a", b"1"), (LEDGER, b"{}"), ("b", b"x" * 600_000), how=how))
    assert found == Archive({"...": digest(b""), "..a": digest(b"1"), "b": digest(b"x" * 600_000)}, b"{}")
    assert read(packed()) == Archive({}, None)


@pytest.mark.parametrize("name", ["a/b", "../x", "/etc/passwd", "a/", "é", "a b", "C:x"])
def test_a_name_that_is_not_a_key_is_doubtful(name: str) -> None:
    """A member whose name cannot be a key makes the whole archive worthless."""
    with pytest.raises(UnreliableArchiveError, match="not a valid key"):
        read(packed(("a", b"1"), (name, b"2")))


def test_a_name_that_is_there_twice_is_doubtful() -> None:
    """Of two members of one name nobody knows which is the record."""
    with pytest.raises(UnreliableArchiveError, match="twice"):
        read(packed(("a", b"1"), ("a", b"2")))


def test_a_bomb_is_doubtful() -> None:
    """An archive that says that it comes to far more than its size is not opened; small ones may be dense."""
    dense = packed(("a", b"\0" * 2_000_000))
    assert read(dense).digests["a"][0] == 2_000_000
    with pytest.raises(UnreliableArchiveError, match="too large when unpacked"):
        read(dense, AnswerLimits(unpacked=1_000_000))
    assert read(dense, AnswerLimits(unpacked=1_000_000, unpack_ratio=2_000)).digests["a"][0] == 2_000_000


def _with(data: bytes, offset: int, value: bytes) -> bytes:
    """The same with other bytes at an offset into the table of contents."""
    start = data.index(b"PK\x01\x02") + offset
    return data[:start] + value + data[start + len(value) :]


_DECLARED, _SUM, _FLAGS, _METHOD, _DISK = 24, 16, 8, 10, 42


@pytest.mark.parametrize(
    "change",
    [
        lambda data: _with(data, _DECLARED, struct.pack("<I", 3)),
        lambda data: _with(data, _DECLARED, struct.pack("<I", 30)),
        lambda data: _with(data, _SUM, b"\0\0\0\0"),
        lambda data: _with(data, _FLAGS, b"\x01\0"),
        lambda data: _with(data, _METHOD, b"\x63\0"),
        lambda data: _with(data, _DISK, struct.pack("<I", 9_999_999)),
        lambda data: data[:-1],
        lambda data: data[: len(data) // 2],
        lambda data: b"",
        lambda data: b'{"error": {"type": "x"}}',
        lambda data: data.replace(b"PK\x03\x04", b"PK\x03\x05"),
    ],
    ids=["shorter", "longer", "sum", "encrypted", "method", "offset", "cut", "half", "empty", "json", "header"],
)
def test_what_is_damaged_is_doubtful(change: Callable[[bytes], bytes]) -> None:
    """A member that is not as the archive says, or an archive that was cut off, makes the whole worthless."""
    with pytest.raises(UnreliableArchiveError):
        read(change(packed(("a", b"some value"))))


@given(st.data())
def test_no_damage_is_an_error_of_another_kind(data: st.DataObject) -> None:
    """Whatever byte is changed, the archive is either doubtful or says the same values as before."""
    whole = packed(("a", b"some value"), ("b", b"other value " * 9), (LEDGER, b"{}"))
    place = data.draw(st.integers(0, len(whole) - 1))
    damaged = whole[:place] + bytes([data.draw(st.integers(0, 255))]) + whole[place + 1 :]
    try:
        found = read(damaged)
    except UnreliableArchiveError:
        return
    values = set(read(whole).digests.values()) | {digest(b"{}")}
    assert set(found.digests.values()) <= values


def test_a_kept_member_that_is_too_large_is_doubtful(monkeypatch: pytest.MonkeyPatch) -> None:
    """A member beyond what memory should hold is not kept."""
    monkeypatch.setattr(subject, "_LARGEST_KEPT", 10)
    with pytest.raises(UnreliableArchiveError, match="too large to keep"):
        read(packed((LEDGER, b"x" * 11)))


def test_a_download_can_begin_again_and_has_an_end() -> None:
    """What an attempt before brought is forgotten, and more than there is room for is refused."""
    download = Download(100)
    download.write(b"x" * 90)
    download.begin()
    download.write(b"y" * 90)
    assert (download.size, download.file.seek(0), download.file.read()) == (90, 0, b"y" * 90)
    with pytest.raises(PermanentError, match=r"limits\.listing_bytes"):
        download.write(b"y" * 11)
    download.close()
    download.close()
