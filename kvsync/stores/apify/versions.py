"""Substitute etags for records, because the API has no versions.

    listed          size
    in a ZIP               -  value
    read, written   size   -  value  -  content type

Value and content type by their digests.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

_VALUE, _TYPE = 12, 4
"""Bytes of each digest."""

_BETWEEN: Final = "-"


def listed(size: int) -> str:
    """The etag of a record of which only the size in bytes is known."""
    return f"{size}--"


def archived(digest: bytes) -> str:
    """The etag of a record of which only the value is known, by what `hasher` came to."""
    return f"-{digest.hex()}-"


def whole(size: int, value: bytes, content_type: str | None) -> str:
    """The etag of a record that was read or written. `size` is what it takes in the store."""
    digest = hasher()
    digest.update(value)
    kind = blake2b((content_type or "").encode(), digest_size=_TYPE)
    return f"{size}-{digest.hexdigest()}-{kind.hexdigest()}"


def hasher() -> blake2b:
    """Takes in a value, piece by piece."""
    return blake2b(digest_size=_VALUE)


def as_listed(etag: str) -> str:
    """What a listing tells of a version."""
    size, found, _ = etag.partition(_BETWEEN)
    return f"{size}--" if found else etag


def may_be(seen: str, known: str) -> bool:
    """True when what two etags both tell is the same, and there is anything that both tell."""
    parts, others = seen.split(_BETWEEN), known.split(_BETWEEN)
    if len(parts) != len(others):
        return seen == known
    told = [(part, other) for part, other in zip(parts, others, strict=True) if part and other]
    return bool(told) and all(part == other for part, other in told)
