"""One spelling for one meaning, so that two spellings of a value are never taken for drift."""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import Any

from kvsync.core.model import Content

FINGERPRINT_SIZE = 16
"""Bytes of a fingerprint."""

_SEPARATORS = (",", ":")


def canonical_json(data: Any) -> str:
    """The one JSON text of `data`: sorted members, no spaces, non-ASCII characters as they are."""
    return json.dumps(data, sort_keys=True, separators=_SEPARATORS, ensure_ascii=False, allow_nan=False)


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


def fingerprint(content: Content) -> bytes:
    """16 bytes that stand for the content: value (JSON by meaning), content type, tags, metadata."""
    value: bytes = content.value
    if is_json_type(content.content_type):
        value = canonical_json_text(value) or value
    if content[1:] == (None, (), None):
        return blake2b(value, digest_size=FINGERPRINT_SIZE).digest()
    rest = canonical_json([content.content_type, content.tags, content.metadata]).encode()
    return blake2b(
        b"%d:%b%b" % (len(value), value, rest), digest_size=FINGERPRINT_SIZE, person=b"kvsync.content"
    ).digest()
