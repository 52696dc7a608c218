"""An entry as it was before a change, into the journal and back; of a sensitive one, only what gives nothing away."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from kvsync.core.canonical import canonical_json
from kvsync.core.model import Actual, Content, Identity, Mark
from kvsync.state.ledger import kept_fingerprint


def before_text(before: Actual, withheld: bool, key: Callable[[], bytes]) -> str:
    """Everything of the entry but its value, as JSON; without content and plain fingerprints when `withheld`."""
    kept: dict[str, Any] = {"etag": before.etag, "expires_at": before.expires_at}
    if before.mark is not None:
        kept["mark"] = _mark_data(before.mark, withheld, key)
    if not withheld:
        kept["fingerprint"] = before.fingerprint.hex() if before.fingerprint else None
        kept["size"] = before.size
        if before.content is not None:
            kept["content"] = before.content[1:]
    return canonical_json({name: value for name, value in kept.items() if value is not None})


def before_of(identity: Identity, text: str, value: bytes | None, key: Callable[[], bytes]) -> Actual:
    """The entry that `before_text` and the value were taken from, as far as they were kept."""
    kept = json.loads(text)
    return Actual(
        identity,
        etag=kept.get("etag"),
        fingerprint=bytes.fromhex(kept["fingerprint"]) if "fingerprint" in kept else None,
        content=_content(value, *kept["content"]) if "content" in kept and value is not None else None,
        size=kept.get("size"),
        expires_at=kept.get("expires_at"),
        mark=_mark(kept["mark"], key) if "mark" in kept else None,
    )


def _content(value: bytes, content_type: str | None, tags: list[list[str]], metadata: str | None) -> Content:
    return Content(value, content_type, tuple((name, text) for name, text in tags), metadata)


def _mark_data(mark: Mark, withheld: bool, key: Callable[[], bytes]) -> dict[str, Any]:
    is_sealed = withheld or mark.key is not None
    fingerprint = kept_fingerprint(mark, key) if is_sealed else mark.fingerprint
    return {
        "owner": mark.owner,
        "fingerprint": fingerprint.hex(),
        "sealed": is_sealed,
        "ttl": mark.ttl,
        "sensitive": mark.sensitive,
        "protected": mark.protected,
        "seal": mark.seal.hex() if mark.seal is not None else None,
        "recorded": mark.is_recorded,
    }


def _mark(data: dict[str, Any], key: Callable[[], bytes]) -> Mark:
    return Mark(
        data["owner"],
        bytes.fromhex(data["fingerprint"]),
        data["ttl"],
        data["sensitive"],
        data["protected"],
        key() if data["sealed"] else None,
        bytes.fromhex(data["seal"]) if data.get("seal") is not None else None,
        data.get("recorded", False),
    )
