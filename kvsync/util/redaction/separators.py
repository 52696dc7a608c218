"""Separators that a secret may be written with: blanks, punctuation, and characters that are not seen."""

from __future__ import annotations

import re
from typing import Final

from kvsync.util.patterns import lazy_pattern

_SEPARATORS: Final = b" \t\r\n\v\f-_.,:;|/\\'\"`*+~=<>()[]{}#"
_WIDTHLESS: Final = (
    0xA0, 0xAD, 0x34F, 0x61C, 0x180E, *range(0x2000, 0x2010), *range(0x2028, 0x2030), *range(0x205F, 0x2070), 0x3000,
    *range(0xFE00, 0xFE10), 0xFEFF,
)  # fmt: skip
"""Characters that are not seen, or only as a blank."""

_APART: Final = lazy_pattern(
    b"(?:[%s]|%s)+" % (re.escape(_SEPARATORS), b"|".join(chr(code).encode() for code in _WIDTHLESS))
)


def joined(data: bytes) -> bytes:
    """A text without separators: blanks, punctuation, and characters that are not seen."""
    return data.translate(None, _SEPARATORS) if data.isascii() else _APART.sub(b"", data)


def kept_bytes(data: bytes) -> list[int]:
    """Where in a text the bytes of `joined` come from."""
    kept: list[int] = []
    end = 0
    for match in _APART.finditer(data):
        kept += range(end, match.start())
        end = match.end()
    return [*kept, *range(end, len(data))]
