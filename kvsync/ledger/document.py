"""Ledger as a document, for stores that keep it next to the entries.

    {"digest": "…", "entries": [[key, label, fingerprint, ttl, flags, etag, expires_at, seal, unseen_since], …], "owner": "…",
     "intents": [row, …], "place": "…", "revision": 7, "schema": "kvsync.ledger/2", "seals": ["…"]}

One text for one content: sorted, without spaces, what is absent at the end of a row left out. `digest` covers all the rest:
with owner keys it is an HMAC-SHA256 that nobody else can make, without it is a plain SHA-256, which finds a document that
was cut, or changed by hand. `place` binds it to where it was written, so that a copy elsewhere is not believed. `revision`
grows with every write, so that a machine knows an older document that came back. The fingerprint of a sensitive entry is
sealed (see `kvsync.planning.sealing`); `seals` name the keys, and a row the one it was sealed with. `intents`, where there
are some, say what a pass is about to write over entries that the ledger knows (see `kvsync.ledger.intents`).
"""

from __future__ import annotations

import hmac
import json
import shlex
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import field
from hashlib import sha256
from typing import Any, Final, NamedTuple

from kvsync.model.canonical import sorted_json
from kvsync.model.entry import ENDED, Applied, Identity, Mark, identity_order
from kvsync.planning.marks import MarkSigner
from kvsync.planning.sealing import SealingKeys, name_of
from kvsync.util.values import dataclass

SCHEMA: Final = "kvsync.ledger/2"
_WITHOUT_PLACE: Final = "kvsync.ledger/1"
"""Format of earlier versions: without a place, and never signed."""

_SENSITIVE, _PROTECTED, _ENDED = 1, 2, 4

_TYPES: Final = (
    str,
    str | None,
    str,
    int | None,
    int | None,
    str | None,
    int | float | None,
    int | None,
    int | float | None,
)
"""The number of members of a row."""


_MOST: Final = 10**12
"""Seconds of a lifetime, or of a moment since 1970."""

_MOST_REVISIONS: Final = 2**62
"""Small enough for the state directory."""


class LedgerDamaged(ValueError):
    """The document is damaged or incomplete: the ledger counts as lost."""


class LedgerRefused(ValueError):
    """The ledger may be neither read nor replaced."""


class LedgerRow(NamedTuple):
    """What was applied of one entry. `seal` names the key that the fingerprint of a sensitive entry is sealed with."""

    fingerprint: bytes
    ttl: int | None = None
    sensitive: bool = False
    protected: bool = False
    etag: str | None = None
    expires_at: float | None = None
    seal: str | None = None
    unseen_since: float | None = None

    @classmethod
    def of(cls, applied: Applied) -> LedgerRow:
        """The row for what was applied. The mark of a sensitive entry must be sealed."""
        mark = applied.mark
        assert mark.key is not None or not mark.sensitive, (
            "a plain fingerprint of a sensitive value must not leave kvsync"
        )
        seal = name_of(mark.key) if mark.key is not None else None
        moments = (applied.etag, applied.expires_at, seal, applied.unseen_since)
        return cls(mark.fingerprint, mark.ttl, mark.sensitive, mark.protected, *moments)

    def applied(self, owner: str, keys: SealingKeys) -> Applied:
        """What was applied according to the row. A fingerprint that is sealed with a key that is not available here matches
        nothing."""
        key = keys.key(self.seal) if self.seal is not None else None
        flags = (self.ttl, self.sensitive, self.protected)
        mark = Mark(owner, self.fingerprint, *flags, key, is_recorded=True)
        return Applied(mark, self.etag, self.expires_at, self.unseen_since)

    def is_same(self, other: LedgerRow | None) -> bool:
        """True if both rows say the same, as far as they can be compared: fingerprints under different seals cannot."""
        if other is None or self == other:
            return other is not None
        is_blind = self.seal is not None and other.seal is not None and self.seal != other.seal
        return is_blind and self._replace(fingerprint=b"", seal="") == other._replace(fingerprint=b"", seal="")


@dataclass(frozen=True, slots=True)
class LedgerDocument:
    """The ledger of one owner in one namespace.

    `revision` counts its writes; 0 if an earlier version wrote it. `is_current` is False if it must be written again although
    its content is right: an earlier version wrote it, or it is signed with an older owner key.
    """

    owner: str
    rows: Mapping[Identity, LedgerRow]
    revision: int = 0
    is_current: bool = field(default=True, compare=False)
    intents: Mapping[Identity, LedgerRow] = field(default_factory=dict)


def encode(document: LedgerDocument, signer: MarkSigner) -> bytes:
    """The canonical text of a ledger, signed for its place."""
    rows = (*document.rows.values(), *document.intents.values())
    seals = sorted({row.seal for row in rows if row.seal is not None})
    numbers = {seal: number for number, seal in enumerate(seals)}
    names = {"owner": document.owner, "place": signer.place.key, "schema": SCHEMA}
    body = {"entries": _sorted(document.rows, numbers), **names, "revision": document.revision, "seals": seals}
    if document.intents:
        body["intents"] = _sorted(document.intents, numbers)
    key = signer.keys[0] if signer.keys else None
    return sorted_json({"digest": _digest(body, key), **body}).encode()


def decode(text: bytes, signer: MarkSigner) -> LedgerDocument:
    """Read a ledger. Raises LedgerDamaged if it is incomplete, was made for another place, or is not signed although there is
    an owner key; LedgerRefused if it belongs to another owner, or a newer kvsync wrote it."""
    try:
        body = json.loads(text)
        _check_schema(body["schema"])
        digest, owner = body.pop("digest"), body["owner"]
    except LedgerRefused:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise LedgerDamaged("it is truncated, or not a ledger") from None
    if owner != signer.owner:
        reason = f"it belongs to owner {owner!r}; a namespace with a ledger can have only one owner"
        raise LedgerRefused(
            f"{reason}; use another namespace, or, if its owner is gone, run kvsync transfer --from-owner "
            + shlex.quote(str(owner))
        )
    is_current = _check_origin(body, digest, signer)
    try:
        rows, intents = (
            dict(_row(data, body["seals"]) for data in found) for found in (body["entries"], body.get("intents", []))
        )
        return LedgerDocument(str(owner), rows, _count(body.get("revision", 0)), is_current, intents)
    except (ValueError, TypeError, KeyError, IndexError):
        raise LedgerDamaged("it is not in the format that kvsync writes") from None


def _check_schema(schema: object) -> None:
    if schema not in (SCHEMA, _WITHOUT_PLACE) and str(schema).startswith("kvsync.ledger/"):
        raise LedgerRefused(
            f"it was written by a newer release of kvsync ({schema}; this release supports {SCHEMA}); upgrade kvsync"
        )


def _count(revision: object) -> int:
    if not isinstance(revision, int) or not 0 <= revision < _MOST_REVISIONS:
        raise ValueError(revision)
    return revision


def _check_origin(body: Mapping[str, Any], digest: object, signer: MarkSigner) -> bool:
    """Raise LedgerDamaged unless kvsync wrote the document for this place. True if it would be written the same today."""
    try:
        digests = [_digest(body, key) for key in signer.keys] or [_digest(body, None)]
    except (
        ValueError,
        RecursionError,
    ):  # infinite numbers, halves of characters, endless nesting: not written by kvsync
        raise LedgerDamaged("another program changed it") from None
    given = digest.encode("utf-8", "replace") if isinstance(digest, str) else b""
    matches = [hmac.compare_digest(given, one.encode()) for one in digests]
    if not any(matches):
        why = "it is not signed with the owner key" if signer.keys else "another program changed it"
        raise LedgerDamaged(why)
    if body["schema"] == SCHEMA and body.get("place") != signer.place.key:
        raise LedgerDamaged("it was written for another place and copied here")
    return matches[0] and body["schema"] == SCHEMA


def _sorted(rows: Mapping[Identity, LedgerRow], seals: Mapping[str, int]) -> list[list[Any]]:
    ordered = sorted(rows.items(), key=lambda item: identity_order(item[0]))
    return [_data(identity, row, seals) for identity, row in ordered]


def _data(identity: Identity, row: LedgerRow, seals: Mapping[str, int]) -> list[Any]:
    has_ended = row.etag == ENDED
    flags = _SENSITIVE * row.sensitive | _PROTECTED * row.protected | _ENDED * has_ended
    etag = None if has_ended else row.etag
    seal = seals[row.seal] if row.seal is not None else None
    data = [*identity, _text(row.fingerprint), row.ttl, flags or None, etag, row.expires_at, seal, row.unseen_since]
    while data[-1] is None:
        data.pop()
    return data


def _row(data: list[Any], seals: list[str]) -> tuple[Identity, LedgerRow]:
    data = data + [None] * (len(_TYPES) - len(data))
    if not all(map(isinstance, data, _TYPES)):
        raise TypeError(data)
    key, label, fingerprint, ttl, flags, etag, expires_at, seal, unseen_since = data
    flags = flags or 0
    etag = ENDED if flags & _ENDED else etag
    marks = (bool(flags & _SENSITIVE), bool(flags & _PROTECTED))
    seal = seals[seal] if seal is not None else None
    if not isinstance(seal, str | None) or any(isinstance(one, int | float) and abs(one) > _MOST for one in data):
        raise TypeError(data)
    return Identity(key, label), LedgerRow(_bytes(fingerprint), ttl, *marks, etag, expires_at, seal, unseen_since)


def _text(fingerprint: bytes) -> str:
    return urlsafe_b64encode(fingerprint).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)


def _digest(body: Mapping[str, Any], key: bytes | None) -> str:
    text = sorted_json(body).encode()
    return sha256(text).hexdigest() if key is None else hmac.digest(key, text, "sha256").hex()
