"""Checks of a file before parsing: size, encoding, and invalid bytes."""

from __future__ import annotations

from itertools import islice
from typing import Final

from kvsync.util.patterns import lazy_pattern
from kvsync.yaml.nodes import Scalar
from kvsync.yaml.problems import Problems

UTF8_BOM: Final = b"\xef\xbb\xbf"
_MOST_DIRECTIVES: Final = 100
"""Lines of `%TAG` in a file: libyaml compares each with all before it. Text in quotes may have a few."""

_DIRECTIVE: Final = lazy_pattern(rb"(?:^|[\n\r])%TAG[ \t]")
_BREAK: Final = rb"(?:\r\n|\n|\r)"
_DOCUMENT_BOM: Final = lazy_pattern(
    rb"((?:^|[\n\r])(?:---|\.\.\.)[ \t]*" + _BREAK + rb")\xef\xbb\xbf|(" + _BREAK + rb")\xef\xbb\xbf(?=---(?:\s|$))"
)
"""A mark at the start of a document, as in files that were joined: libyaml counts it as a column, and misreads the document."""

_LATE_BOM: Final = lazy_pattern("(?<=[\n\r])\ufeff")
_UNSEEN_BREAK: Final = lazy_pattern("[\u0085\u2028\u2029]")


def without_marks(data: bytes) -> bytes:
    """The text without the byte order marks at the start of later documents."""
    return _DOCUMENT_BOM.sub(rb"\1\2", data) if UTF8_BOM in data[1:] else data


def check_encoding(data: bytes, problems: Problems, limit: int) -> bool:
    """True when `data` is UTF-8 text of at most `limit` bytes; otherwise a problem is noted."""
    if len(data) > limit:
        size, most = len(data) / 2**20, limit / 2**20
        problems.add(
            f"the file is too large: {size:.1f} MiB; the limit is {most:g} MiB", None, "split it into several files"
        )
    elif data[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in data[:4]:
        problems.add("the file is not UTF-8; it looks like UTF-16", None, "save it as UTF-8")
    elif b"\0" in data:
        refuse_after(data[: data.index(b"\0")], "a NUL byte", "this is not a text file", problems)
    else:
        return _check_text(data, problems) and _check_directives(data, problems)
    return False


def _check_text(data: bytes, problems: Problems) -> bool:
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        message = f"invalid UTF-8: the byte 0x{data[error.start]:02x}"
        refuse_after(data[: error.start], message, "save the file as UTF-8", problems)
        return False
    if not text.isascii() and (unseen := _UNSEEN_BREAK.search(text)):
        # libyaml takes these for line breaks and would fold them: the value would not be the text as written
        code = ord(unseen[0])
        escape = {0x85: "\\N", 0x2028: "\\L", 0x2029: "\\P"}[code]
        hint = f"write {escape} in double quotes"
        refuse_after(text[: unseen.start()].encode(), f"an invisible line break, U+{code:04X}", hint, problems)
        return False
    if not text.isascii() and (late := _LATE_BOM.search(text)):
        hint = "remove it; files that were joined have one each"
        refuse_after(text[: late.start()].encode(), "a byte order mark within the file", hint, problems)
        return False
    return True


def _check_directives(data: bytes, problems: Problems) -> bool:
    found = next(islice(_DIRECTIVE.finditer(data), _MOST_DIRECTIVES, None), None) if b"%TAG" in data else None
    if found is not None:
        message = f"more than {_MOST_DIRECTIVES} %TAG directives"
        refuse_after(data[: found.end() - len("%TAG ")], message, "YAML tags are not supported; remove them", problems)
    return found is None


def refuse_after(before: bytes, message: str, hint: str, problems: Problems) -> None:
    """Note a problem right after the bytes `before`; a byte in them that is not text counts as one character."""
    last = before.removeprefix(UTF8_BOM).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    line = last.count(b"\n")
    problems.add(message, place(line, len(last[last.rfind(b"\n") + 1 :].decode("utf-8", "replace"))), hint)


def place(line: int, column: int) -> Scalar:
    """A node to hang a problem on; line and column count from 0, as libyaml does."""
    return Scalar("", True, line + 1, column + 1)
