"""Decoded forms of a text, so that secrets are found in any encoding, including nested ones.

    written in                                       how it is read
    ──────────────────────────────────────────────   ─────────────────────────────────────────────────────────────
    URLs (`%41`), JSON, repr and C (`\\u0041`,        what represents a character is replaced by it, and so is what
    `\\x41`, `\\"`), HTML (`&#65;`)                     then represents one
    UTF-16                                           without zero bytes
    base64, also URL-safe and within longer base64   as a whole, begun at each of four places
    hexadecimal                                      as a whole, begun at each of two places
    any of these, with separators in between         without blanks, signs of punctuation and what has no width

What is not base64 or hexadecimal is decoded to nonsense, in which no secret is found: that is faster than to look for what is.
A view knows where in the text each of its bytes comes from.
"""

from __future__ import annotations

import re
from binascii import a2b_base64
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from functools import cache
from string import ascii_letters, digits, hexdigits
from typing import Final, TypeAlias

from kvsync.util.patterns import lazy_pattern
from kvsync.util.redaction.fragments import Span
from kvsync.util.redaction.separators import joined, kept_bytes

_ROUNDS: Final = 4
"""How often a text is unescaped: a server may quote JSON that quotes JSON."""

_ESCAPE: Final = lazy_pattern(
    rb"%(?P<percent>[0-9a-fA-F]{2})"
    rb"|\\u(?P<high>[dD][89abAB][0-9a-fA-F]{2})\\u(?P<low>[dD][c-fC-F][0-9a-fA-F]{2})"
    rb"|\\u(?P<unicode>[0-9a-fA-F]{4})|\\U(?P<long>[0-9a-fA-F]{8})|\\x(?P<byte>[0-9a-fA-F]{2})"
    rb"|\\(?P<octal>[0-3][0-7]{2})|\\(?P<letter>[\\\"'/abfnrtv0`$])"
    rb"|(?P<entity>&(?:\#[0-9]{1,7}|\#[xX][0-9a-fA-F]{1,6}|[A-Za-z]{2,8});)"
)
_LETTERS: Final = {
    b"a": b"\a",
    b"b": b"\b",
    b"f": b"\f",
    b"n": b"\n",
    b"r": b"\r",
    b"t": b"\t",
    b"v": b"\v",
    b"0": b"\0",
}
_HIGH: Final = lazy_pattern(rb"\\x[89a-fA-F]")

_BASE64: Final = (ascii_letters + digits + "+/-_").encode()
_HEX: Final = hexdigits.encode()
_TO_BASE64: Final = bytes(byte if byte in _BASE64 else ord("/") for byte in range(256)).translate(
    bytes.maketrans(b"-_", b"+/")
)
_TO_HEX: Final = bytes(byte if byte in _HEX else ord("f") for byte in range(256))
_IN_BASE64: Final = lazy_pattern(rb"[A-Za-z0-9+/_-]+")
_IN_HEX: Final = lazy_pattern(rb"[0-9a-fA-F]+")

_Reader: TypeAlias = Callable[[re.Match[bytes]], bytes]


class View:
    """A decoded form of a text. `parent` is what it was read from, None for the text itself; `locate` finds bytes of it there.
    `is_joined` says that separators were left out, so that what was apart is together."""

    __slots__ = ("_locate", "_parent", "data", "is_joined")

    def __init__(
        self,
        data: bytes,
        parent: View | None = None,
        locate: Callable[[int, int], Span] | None = None,
        *,
        is_joined: bool = False,
    ) -> None:
        self.data = data
        self._parent, self._locate = parent, locate
        self.is_joined: bool = is_joined or (parent is not None and parent.is_joined)

    def origin(self, start: int, end: int) -> Span:
        """Where in the text these bytes come from."""
        if self._parent is None or self._locate is None:
            return start, end
        return self._parent.origin(*self._locate(start, end))


def has_escapes(data: bytes) -> bool:
    """False for a text in which nothing is escaped and no byte is zero."""
    return b"\\" in data or b"%" in data or b"&" in data or b"\0" in data


@cache
def has_runs(shortest: int) -> Callable[[bytes], object]:
    """True for a text that may hold so many bytes in base64 or in hexadecimal digits."""
    return re.compile(rb"[A-Za-z0-9+/_-]{%d}" % -(-shortest * 8 // 6)).search


def decoded(data: bytes) -> bytes:
    """A text decoded from base64 and hexadecimal at every place, one after the other: for a first look."""
    base64, hexadecimal = data.translate(_TO_BASE64), data.translate(_TO_HEX).decode("ascii")
    parts = [_from_base64(base64, shift) for shift in range(4)]
    parts += [_from_hex(hexadecimal, shift) for shift in range(2)]
    return b"".join([*parts, *(part.replace(b"\0", b"") for part in parts if b"\0" in part)])


def views(data: bytes, shortest: int, depth: int, *, foreign: bool) -> Iterator[View]:
    """Every view of a text in which pieces of `shortest` bytes are looked for, the text itself first. `depth` is how many
    encodings are looked for within one another. Separators are left out of the text, and where it is `foreign` also of what
    is encoded in it."""
    yield from _below(View(data), shortest, depth, joins=True, foreign=foreign)


def _below(view: View, shortest: int, depth: int, *, joins: bool, foreign: bool) -> Iterator[View]:
    yield view
    for view in _unescaped(view):  # noqa: B020 - the last one is what is decoded further
        yield view
    without = _without_separators(view) if joins else view
    if len(without.data) < len(view.data):
        yield without
        if foreign and has_runs(shortest)(without.data):
            yield from _decodings(without)
    if depth and has_runs(shortest)(view.data):
        for inside in _decodings(view):
            yield from _below(inside, shortest, depth - 1, joins=foreign, foreign=foreign)


# -- single characters ------------------------------------------------------------------------------------------------


def _unescaped(view: View, rounds: int = _ROUNDS) -> Iterator[View]:
    """What escapes represent, with zero bytes (which a secret may have) and without them (as in UTF-16), the one that is read
    furthest last."""
    if not rounds or not has_escapes(view.data):
        return
    if _HIGH.search(view.data):
        yield _without_escapes(view, _text_character)
    shorter = _without_escapes(view, _character)
    if shorter.data != view.data:
        yield shorter
        yield from _unescaped(shorter, rounds - 1)
    if b"\0" in view.data:
        bare = _without_zeros(view)
        yield bare
        yield from _unescaped(bare, rounds - 1)


def _without_zeros(view: View) -> View:
    source = view.data

    @cache
    def kept() -> list[int]:
        return [at for at, byte in enumerate(source) if byte]

    return View(source.replace(b"\0", b""), view, lambda start, end: (kept()[start], kept()[end - 1] + 1))


def _without_separators(view: View) -> View:
    source = view.data

    @cache
    def kept() -> list[int]:
        return kept_bytes(source)

    return View(joined(source), view, lambda start, end: (kept()[start], kept()[end - 1] + 1), is_joined=True)


def _without_escapes(view: View, read: _Reader) -> View:
    """The view with every escape replaced by what it represents."""
    source = view.data

    @cache
    def pieces() -> tuple[list[int], list[tuple[int, Span, bool]]]:
        found = list(_pieces(source, read))
        return [at for at, _, _ in found], found

    def locate(at: int) -> Span:
        begins, found = pieces()
        here, (start, end), is_escape = found[bisect_right(begins, at) - 1]
        return (start, end) if is_escape else (start + at - here, start + at - here + 1)

    return View(_ESCAPE.sub(read, source), view, lambda start, end: (locate(start)[0], locate(end - 1)[1]))


def _pieces(source: bytes, read: _Reader) -> Iterator[tuple[int, Span, bool]]:
    """The pieces of an unescaped text: where each begins, where it comes from, and whether it was an escape there."""
    at = end = 0
    for match in _ESCAPE.finditer(source):
        if match.start() > end:
            yield at, (end, match.start()), False
            at += match.start() - end
        if became := len(read(match)):
            yield at, match.span(), True
            at += became
        end = match.end()
    yield at, (end, len(source)), False


def _character(match: re.Match[bytes]) -> bytes:
    """What an escape represents."""
    kind = match.lastgroup
    assert kind is not None
    written = match[kind]
    if kind in ("percent", "byte"):
        return bytes((int(written, 16),))
    if kind == "octal":
        return bytes((int(written, 8),))
    if kind == "letter":
        return _LETTERS.get(written, written)
    if kind == "low":
        return _encoded(0x10000 + ((int(match["high"], 16) & 0x3FF) << 10) + (int(written, 16) & 0x3FF))
    if kind == "entity":
        from html import unescape  # few texts need its table of entities

        return unescape(written.decode("ascii")).encode("utf-8", "surrogatepass")
    return _encoded(int(written, 16))


def _text_character(match: re.Match[bytes]) -> bytes:
    """The same, with `\\xe9` as the character that it is in the repr of a text, not the byte that it is in that of bytes."""
    return _encoded(int(match["byte"], 16)) if match.lastgroup == "byte" else _character(match)


def _encoded(code: int) -> bytes:
    return chr(code).encode("utf-8", "surrogatepass") if code < 0x110000 else b""


# -- base64 and hexadecimal -------------------------------------------------------------------------------------------


def _decodings(view: View) -> Iterator[View]:
    source = view.data
    base64, hexadecimal = source.translate(_TO_BASE64), source.translate(_TO_HEX).decode("ascii")
    for shift in range(4):
        yield View(_from_base64(base64, shift), view, _run_finder(source, _IN_BASE64, shift, 3, 4))
    for shift in range(2):
        yield View(_from_hex(hexadecimal, shift), view, _run_finder(source, _IN_HEX, shift, 1, 2))


def _from_base64(text: bytes, shift: int) -> bytes:
    """All of a text of base64 characters from `shift` on; what is cut at its end counts as far as it goes."""
    part = text[shift:]
    return a2b_base64(part + b"/" * (-len(part) % 4))


def _from_hex(text: str, shift: int) -> bytes:
    return bytes.fromhex(text[shift : shift + (len(text) - shift) // 2 * 2])


def _run_finder(
    source: bytes, run: re.Pattern[bytes], shift: int, size: int, written: int
) -> Callable[[int, int], Span]:
    """Finds decoded bytes, `size` of which are `written` characters, with the whole run of such characters around them."""

    @cache
    def runs() -> tuple[list[int], list[int]]:
        spans = [match.span() for match in run.finditer(source)]
        return [start for start, _ in spans], [end for _, end in spans]

    def locate(start: int, end: int) -> Span:
        first, last = shift + start // size * written, min(shift + ((end - 1) // size + 1) * written, len(source))
        starts, ends = runs()
        before, after = bisect_right(starts, first) - 1, bisect_left(ends, last)
        is_inside_first, is_inside_last = (
            before >= 0 and ends[before] > first,
            after < len(ends) and starts[after] < last,
        )
        return starts[before] if is_inside_first else first, ends[after] if is_inside_last else last

    return locate
