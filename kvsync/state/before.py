"""Previous version of an entry in the journal; sensitive entries are stored without their value."""

from __future__ import annotations

import json
from typing import Any

from kvsync.model.canonical import sorted_json
from kvsync.model.entry import Actual, Content, Identity, Mark, sealed
from kvsync.planning.sealing import SealingKeys, name_of


def before_text(before: Actual, withheld: bool, keys: SealingKeys) -> str:
    """Encode the fields of an entry except its value, as JSON. With `withheld`, content and plain fingerprints are left out."""
    kept: dict[str, Any] = {"etag": before.etag, "expires_at": before.expires_at}
    if before.mark is not None:
        kept["mark"] = _mark_data(before.mark, withheld, keys)
    if not withheld:
        kept["fingerprint"] = before.fingerprint.hex() if before.fingerprint else None
        kept["size"] = before.size
        if before.content is not None:
            kept["content"] = before.content[1:]
    return sorted_json({name: value for name, value in kept.items() if value is not None})


def before_of(identity: Identity, text: str, value: bytes | None, keys: SealingKeys) -> Actual:
    """Decode an entry from the JSON of `before_text` and its value, as far as they were kept."""
    kept = json.loads(text)
    return Actual(
        identity,
        etag=kept.get("etag"),
        fingerprint=bytes.fromhex(kept["fingerprint"]) if "fingerprint" in kept else None,
        content=_content(value, *kept["content"]) if "content" in kept and value is not None else None,
        size=kept.get("size"),
        expires_at=kept.get("expires_at"),
        mark=_mark(kept["mark"], keys) if "mark" in kept else None,
    )


def _content(
    value: bytes, content_type: str | None, tags: list[list[str]], metadata: str | None, description: str | None = None
) -> Content:
    return Content(value, content_type, tuple((name, text) for name, text in tags), metadata, description)


def _mark_data(mark: Mark, withheld: bool, keys: SealingKeys) -> dict[str, Any]:
    fingerprint, key = mark.fingerprint, mark.key
    if withheld and key is None:
        key = keys.own()
        fingerprint = sealed(fingerprint, key)
    return {
        "owner": mark.owner,
        "fingerprint": fingerprint.hex(),
        "sealed": key is not None and name_of(key),
        "ttl": mark.ttl,
        "sensitive": mark.sensitive,
        "protected": mark.protected,
        "seal": mark.seal.hex() if mark.seal is not None else None,
        "recorded": mark.is_recorded,
    }


def _mark(data: dict[str, Any], keys: SealingKeys) -> Mark:
    return Mark(
        data["owner"],
        bytes.fromhex(data["fingerprint"]),
        data["ttl"],
        data["sensitive"],
        data["protected"],
        _key(data["sealed"], keys),
        bytes.fromhex(data["seal"]) if data.get("seal") is not None else None,
        data.get("recorded", False),
    )


def _key(sealed_with: str | bool, keys: SealingKeys) -> bytes | None:
    """The key that a fingerprint is sealed with, by its name; earlier versions say only that it is sealed, with the
    directory's own."""
    if isinstance(sealed_with, str):
        return keys.key(sealed_with)
    return keys.own() if sealed_with else None
