"""Conversion of records to entries: content types, and substitutes for etags.

Content types are converted:

    kvsync              the API, as its own clients write it
    ─────────────────   ────────────────────────────────────────────────────────────────
    none, text          text/plain; charset=utf-8
    none, bytes         application/octet-stream
    application/json    application/json; charset=utf-8
    any other           the same, in one spelling

So what one of those clients wrote again, with the same value, is not drift.

The API has no versions. An etag is made of what was seen of a record, value and content type as digests:

    listed          size
    in a ZIP               -  value
    read, written   size   -  value  -  content type
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from typing import Final

from kvsync.model.entry import Content
from kvsync.planning.audit import is_text

JSON: Final = "application/json"
_TEXT: Final = "text/plain; charset=utf-8"
_BYTES: Final = "application/octet-stream"
_JSON_UTF8: Final = f"{JSON}; charset=utf-8"

_VALUE, _TYPE = 12, 4
"""Bytes of each digest."""

_BETWEEN: Final = "-"


def sent_type(content: Content) -> str:
    """The content type to send with a content."""
    if not content.content_type:
        return _TEXT if is_text(content.value) else _BYTES
    return _JSON_UTF8 if content.content_type == JSON else content.content_type


def kept_type(value: bytes, content_type: str | None) -> str | None:
    """The content type of a value in kvsync's form, from any spelling."""
    spelled = _spelled(content_type or "")
    if spelled in ("", _TEXT if is_text(value) else _BYTES):
        return None
    return JSON if spelled == _JSON_UTF8 else spelled


def _spelled(content_type: str) -> str:
    """The canonical spelling: `Text/HTML;Charset="UTF8"` is `text/html; charset=utf-8`. Parameters whose case may matter keep
    it."""
    essence, *parameters = (part.strip() for part in _parts(content_type))
    return "; ".join([essence.lower(), *(_parameter(part) for part in parameters if part)])


def _parts(content_type: str) -> Iterator[str]:
    """Yield the parts between semicolons that are not inside quotes, in linear time."""
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


def listed(size: int) -> str:
    """The etag of a record of which only the size in bytes is known."""
    return f"{size}--"


def archived(digest: bytes) -> str:
    """The etag of a record of which only the value is known, from the digest of `hasher`."""
    return f"-{digest.hex()}-"


def whole(size: int, value: bytes, content_type: str | None) -> str:
    """The etag of a record that was read or written. `size` is its size in the store."""
    digest = hasher()
    digest.update(value)
    kind = blake2b((content_type or "").encode(), digest_size=_TYPE)
    return f"{size}-{digest.hexdigest()}-{kind.hexdigest()}"


def hasher() -> blake2b:
    """A digest of a value, for chunks."""
    return blake2b(digest_size=_VALUE)


def as_listed(etag: str) -> str:
    """The part of a version that a listing shows."""
    size, found, _ = etag.partition(_BETWEEN)
    return f"{size}--" if found else etag


def may_be(seen: str, known: str) -> bool:
    """True if all parts that both etags have are equal, and they have any in common."""
    parts, others = seen.split(_BETWEEN), known.split(_BETWEEN)
    if len(parts) != len(others):
        return seen == known
    compared = [(part, other) for part, other in zip(parts, others, strict=True) if part and other]
    return bool(compared) and all(part == other for part, other in compared)
