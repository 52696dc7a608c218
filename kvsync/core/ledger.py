"""The ledger as a document, for stores that keep it beside the entries: what was applied, for the next machine to find.

    {"digest": "…", "entries": [[key, label, fingerprint, ttl, flags, etag, expires_at, seal], …], "owner": "…",
     "schema": "kvsync.ledger/1", "seals": ["…"]}

One text for one content: sorted, without spaces, what is absent at the end of a row left out. `digest` stands for all the
rest, so that a document that was cut or changed by hand is known for what it is. The fingerprint of a sensitive entry is
sealed with the key of the state directory that wrote it; `seals` name those keys, and a row the one it was sealed with.
"""

from __future__ import annotations

import json
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, NamedTuple

from kvsync.core.canonical import canonical_json
from kvsync.core.model import ENDED, Applied, Identity, Mark, identity_order

SCHEMA: Final = "kvsync.ledger/1"

_SENSITIVE, _PROTECTED, _ENDED = 1, 2, 4

_TYPES: Final = (str, str | None, str, int | None, int | None, str | None, int | float | None, int | None)
"""Of the members of a row."""


class LedgerDamaged(ValueError):
    """What is there is no whole ledger: it counts as lost."""


class LedgerRefused(ValueError):
    """The ledger that is there is not ours to read or to replace."""


class LedgerRow(NamedTuple):
    """What was applied of one entry. `seal` names the key that the fingerprint of a sensitive entry is sealed with."""

    fingerprint: bytes
    ttl: int | None = None
    sensitive: bool = False
    protected: bool = False
    etag: str | None = None
    expires_at: float | None = None
    seal: str | None = None

    @classmethod
    def of(cls, applied: Applied, seal: str) -> LedgerRow:
        """The row of what was applied; `seal` names the key that marks of sensitive entries are sealed with here."""
        mark = applied.mark
        flags = (mark.sensitive, mark.protected)
        return cls(
            mark.fingerprint, mark.ttl, *flags, applied.etag, applied.expires_at, seal if mark.sensitive else None
        )

    def applied(self, owner: str, key: bytes) -> Applied:
        """What the row says was applied. One that was sealed with another key than `key` matches nothing."""
        mark = Mark(
            owner, self.fingerprint, self.ttl, self.sensitive, self.protected, key if self.seal is not None else None
        )
        return Applied(mark, self.etag, self.expires_at)

    def is_same(self, other: LedgerRow | None) -> bool:
        """True when both say the same, as far as that can be told: fingerprints under different seals cannot be compared."""
        if other is None or self == other:
            return other is not None
        is_blind = self.seal is not None and other.seal is not None and self.seal != other.seal
        return is_blind and self._replace(fingerprint=b"", seal="") == other._replace(fingerprint=b"", seal="")


@dataclass(frozen=True, slots=True)
class LedgerDocument:
    """The ledger of one owner in one namespace."""

    owner: str
    rows: Mapping[Identity, LedgerRow]


def encode(document: LedgerDocument) -> bytes:
    """The one text of a ledger."""
    seals = sorted({row.seal for row in document.rows.values() if row.seal is not None})
    numbers = {seal: number for number, seal in enumerate(seals)}
    rows = sorted(document.rows.items(), key=lambda item: identity_order(item[0]))
    entries = [_data(identity, row, numbers) for identity, row in rows]
    body = {"entries": entries, "owner": document.owner, "schema": SCHEMA, "seals": seals}
    return canonical_json({"digest": _digest(body), **body}).encode()


def decode(text: bytes) -> LedgerDocument:
    """Read a ledger back. Raises LedgerDamaged when it is not whole, LedgerRefused when a newer kvsync has written it."""
    try:
        body = json.loads(text)
        schema, digest = body["schema"], body.pop("digest")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise LedgerDamaged("it is cut short, or is no ledger") from None
    if schema != SCHEMA and str(schema).startswith("kvsync.ledger/"):
        raise LedgerRefused(f"it was left by a newer kvsync ({schema}; this one reads {SCHEMA}); upgrade kvsync")
    if digest != _digest(body):
        raise LedgerDamaged("it was changed by something else than kvsync")
    try:
        return LedgerDocument(str(body["owner"]), dict(_row(data, body["seals"]) for data in body["entries"]))
    except (ValueError, TypeError, KeyError, IndexError):
        raise LedgerDamaged("it is not in the form that kvsync writes") from None


def decode_ours(text: bytes, owner: str) -> LedgerDocument:
    """The same, for the ledger of `owner` alone. Raises LedgerRefused for that of another owner too."""
    document = decode(text)
    if document.owner != owner:
        reason = f"it belongs to owner {document.owner!r}, and a namespace that keeps its ledger has one owner"
        raise LedgerRefused(f"{reason}; use another namespace, or remove that ledger if its owner is gone")
    return document


def _data(identity: Identity, row: LedgerRow, seals: Mapping[str, int]) -> list[Any]:
    has_ended = row.etag == ENDED
    flags = _SENSITIVE * row.sensitive | _PROTECTED * row.protected | _ENDED * has_ended
    etag = None if has_ended else row.etag
    seal = seals[row.seal] if row.seal is not None else None
    data = [*identity, _text(row.fingerprint), row.ttl, flags or None, etag, row.expires_at, seal]
    while data[-1] is None:
        data.pop()
    return data


def _row(data: list[Any], seals: list[str]) -> tuple[Identity, LedgerRow]:
    data = data + [None] * (len(_TYPES) - len(data))
    if not all(map(isinstance, data, _TYPES)):
        raise TypeError(data)
    key, label, fingerprint, ttl, flags, etag, expires_at, seal = data
    flags = flags or 0
    etag = ENDED if flags & _ENDED else etag
    marks = (bool(flags & _SENSITIVE), bool(flags & _PROTECTED))
    seal = seals[seal] if seal is not None else None
    return Identity(key, label), LedgerRow(_bytes(fingerprint), ttl, *marks, etag, expires_at, seal)


def _text(fingerprint: bytes) -> str:
    return urlsafe_b64encode(fingerprint).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)


def _digest(body: Mapping[str, Any]) -> str:
    return sha256(canonical_json(body).encode()).hexdigest()
