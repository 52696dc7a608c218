"""Canonical form of values, so that different spellings of the same value are not reported as drift."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final

from kvsync.model.entry import Content
from kvsync.model.exact_json import has_fractions, read_json, write_json

FLAG_ESSENCE: Final = "application/vnd.microsoft.appconfig.ff+json"
"""Media type of a feature flag of Azure App Configuration, without parameters."""

_OPTIONAL: Final = frozenset({"allocation", "conditions", "description", "display_name", "telemetry", "variants"})
"""Members of a feature flag that mean nothing when they are null."""

FINGERPRINT_SIZE = 16
"""Bytes of a fingerprint."""

_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


def sorted_json(data: Any) -> str:
    """The JSON text of a document of kvsync's own: sorted members, no spaces. Its numbers are as Python writes them."""
    return _encode(data)


def canonical_json(data: Any) -> str:
    """The one JSON text of a value: sorted members, no spaces, numbers by value, non-ASCII characters as they are."""
    text = write_json(data)
    return write_json(read_json(text)) if has_fractions(text) else text


def canonical_json_text(text: bytes) -> bytes | None:
    """The canonical form of a JSON text, or None when it is not JSON in UTF-8."""
    try:
        return write_json(read_json(text.decode())).encode()
    except (ValueError, RecursionError):
        return None


def canonical_flag_text(text: bytes) -> bytes | None:
    """The canonical form of a feature flag as the portal writes it, or None when it is not JSON. Azure's clients write optional
    members that are null, and leave out a description or conditions that are empty: that makes no difference to anyone who
    reads it. Other JSON under the media type, which has no id, is compared as JSON."""
    try:
        flag = read_json(text.decode())
        if isinstance(flag, dict) and "id" in flag:
            flag = {name: member for name, member in flag.items() if member is not None or name not in _OPTIONAL}
            flag.setdefault("description", "")
            conditions = flag.setdefault("conditions", {})
            if isinstance(conditions, dict) and conditions.get("client_filters") is None:
                flag["conditions"] = conditions | {"client_filters": []}
        return write_json(flag).encode()
    except (ValueError, RecursionError):
        return None


def is_flag_type(content_type: str | None) -> bool:
    """True for the media type of feature flags, whatever its parameters and case."""
    return (content_type or "").partition(";")[0].strip().lower() == FLAG_ESSENCE


def is_json_type(content_type: str | None) -> bool:
    """True for `application/json` and `…+json`, whatever their parameters and case."""
    if not content_type:
        return False
    essence = content_type.partition(";")[0].strip().lower()
    return essence == "application/json" or essence.endswith("+json")


def fingerprint(content: Content) -> bytes:
    """Return 16 bytes that represent the content: value (JSON by meaning), content type, tags, metadata, description."""
    _, content_type, tags, metadata, description = content
    return fingerprinter(content_type, tags, metadata, description)(content.value)


def actual_fingerprint(content: Content, is_applied: Callable[[bytes], bool] | None) -> bytes:
    """The fingerprint of what a store holds; `is_applied` tests for the fingerprint in the mark of the entry, None without a
    mark. The description is not part of it if the mark says so: then kvsync leaves the description to other writers."""
    if is_applied is None:
        return fingerprint(content)
    plain = fingerprint(content if content.description is None else content._replace(description=None))
    if is_applied(plain):
        return plain
    full = fingerprint(content._replace(description=content.description or ""))
    return full if content.description or is_applied(full) else plain


@lru_cache(maxsize=512)
def fingerprinter(
    content_type: str | None,
    tags: tuple[tuple[str, str], ...],
    metadata: str | None,
    description: str | None = None,
    *,
    canonical: bool = False,
) -> Callable[[bytes], bytes]:
    """The function from value to fingerprint for contents that have the rest in common, as thousands do. `canonical` says
    that JSON values are known to be in canonical form already."""
    if content_type is None and not tags and metadata is None and description is None:
        return _bare_fingerprint
    parts = [content_type, tags, metadata, *([] if description is None else [description])]
    rest = _encode(parts).encode("utf-8", "surrogatepass")  # JSON of a server may hold them
    canonical_text = _canonical_text(content_type, canonical=canonical)

    def full_fingerprint(value: bytes) -> bytes:
        if canonical_text is not None:
            value = canonical_text(value) or value
        text = b"%d:%b%b" % (len(value), value, rest)
        return blake2b(text, digest_size=FINGERPRINT_SIZE, person=b"kvsync.content").digest()

    return full_fingerprint


def _canonical_text(content_type: str | None, *, canonical: bool) -> Callable[[bytes], bytes | None] | None:
    """What brings values of this type into the form that is compared; None if they are compared as they are."""
    if is_flag_type(content_type):
        return canonical_flag_text
    return canonical_json_text if is_json_type(content_type) and not canonical else None


def _bare_fingerprint(value: bytes) -> bytes:
    return blake2b(value, digest_size=FINGERPRINT_SIZE).digest()
