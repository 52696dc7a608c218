"""One spelling for one meaning, so that two spellings of a value are never taken for drift."""

from __future__ import annotations

import json
from functools import lru_cache
from hashlib import blake2b
from typing import Any

from kvsync.core.model import Content

FINGERPRINT_SIZE = 16
"""Bytes of a fingerprint."""

_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


def canonical_json(data: Any) -> str:
    """The one JSON text of `data`: sorted members, no spaces, non-ASCII characters as they are."""
    return _encode(data)


def canonical_json_text(text: bytes) -> bytes | None:
    """The canonical form of a JSON text, or None when it is not JSON."""
    try:
        return canonical_json(json.loads(text)).encode()
    except (ValueError, RecursionError):
        return None


def is_json_type(content_type: str | None) -> bool:
    """True for `application/json` and `…+json`, whatever their parameters and case."""
    if not content_type:
        return False
    essence = content_type.partition(";")[0].strip().lower()
    return essence == "application/json" or essence.endswith("+json")


def fingerprint(content: Content, *, canonical: bool = False) -> bytes:
    """16 bytes that stand for the content: value (JSON by meaning), content type, tags, metadata. `canonical` says that a JSON
    value is known to be in canonical form already."""
    value, content_type, tags, metadata = content
    if content_type is not None and not canonical and is_json_type(content_type):
        value = canonical_json_text(value) or value
    if content_type is None and not tags and metadata is None:
        return blake2b(value, digest_size=FINGERPRINT_SIZE).digest()
    rest = _rest(content_type, tags, metadata)
    return blake2b(
        b"%d:%b%b" % (len(value), value, rest), digest_size=FINGERPRINT_SIZE, person=b"kvsync.content"
    ).digest()


@lru_cache(maxsize=512)
def _rest(content_type: str | None, tags: tuple[tuple[str, str], ...], metadata: str | None) -> bytes:
    """What a fingerprint takes in beside the value; thousands of entries share it."""
    return _encode([content_type, tags, metadata]).encode()
