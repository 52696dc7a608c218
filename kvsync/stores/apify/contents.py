"""Conversion of content types between the API and kvsync.

    kvsync              the API, as its own clients write it
    ─────────────────   ────────────────────────────────────────────────────────────────
    none, text          text/plain; charset=utf-8
    none, bytes         application/octet-stream
    application/json    application/json; charset=utf-8
    any other           the same, in one spelling

So what one of those clients wrote again, with the same value, is not drift.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from kvsync.model.entry import Content
from kvsync.planning.audit import is_text

JSON: Final = "application/json"
_TEXT: Final = "text/plain; charset=utf-8"
_BYTES: Final = "application/octet-stream"
_JSON_UTF8: Final = f"{JSON}; charset=utf-8"


def sent_type(content: Content) -> str:
    """The content type that a content is sent with."""
    if not content.content_type:
        return _TEXT if is_text(content.value) else _BYTES
    return _JSON_UTF8 if content.content_type == JSON else content.content_type


def kept_type(value: bytes, content_type: str | None) -> str | None:
    """The content type of a value as kvsync has it, from any spelling."""
    spelled = _spelled(content_type or "")
    if spelled in ("", _TEXT if is_text(value) else _BYTES):
        return None
    return JSON if spelled == _JSON_UTF8 else spelled


def _spelled(content_type: str) -> str:
    """One spelling: `Text/HTML;Charset="UTF8"` is `text/html; charset=utf-8`. Parameters whose case may matter keep it."""
    essence, *parameters = (part.strip() for part in _parts(content_type))
    return "; ".join([essence.lower(), *(_parameter(part) for part in parameters if part)])


def _parts(content_type: str) -> Iterator[str]:
    """What the semicolons separate that are not inside quotes. Takes each character once, however many quotes there are."""
    pieces, part = content_type.split('"'), ""
    last = len(pieces) - 1
    for index, piece in enumerate(pieces):
        *done, rest = piece.split(";") if (last - index) % 2 == 0 else [piece]
        for end in done:
            yield part + end
            part = ""
        part += rest + ('"' if index < last else "")
    yield part


def _parameter(text: str) -> str:
    name, equals, value = (part.strip() for part in text.partition("="))
    name = name.lower()
    if name != "charset":
        return f"{name}{equals}{value}"
    value = value.strip('"').lower()
    return f"charset={'utf-8' if value == 'utf8' else value}"
