"""Entries of etcd: a key with its value, and kvsync's mark in a second key, its sidecar.

    app/greeting             the value, and nothing else
    .kvsync/app/greeting     the mark, as JSON: owner, fp, seal, and where there are such ttl, flags, until, lease

Both are written in one transaction, so they have the same mod_revision as long as nobody else writes to one of them.

what is there                                        the entry
────────────────────────────────────────────────     ──────────────────────────────────────────────────────────────────────
key and sidecar                                      bears the mark of the sidecar, whatever the value is by now
key made after its sidecar was written               bears no mark: another program deleted the key and made it again
key alone                                            bears no mark
sidecar alone                                        does not exist; creating it replaces the sidecar
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from kvsync.http.etcd import raw
from kvsync.model.canonical import fingerprint
from kvsync.model.entry import Actual, Content, Identity
from kvsync.stores.base import Write
from kvsync.stores.mark_fields import MARK_FIELDS, fields_from_text, fields_to_text

_ABSENT: Final = "0"


class Row(NamedTuple):
    """One key as etcd gives it. Revisions are text, as they are in the gateway's JSON; `lease` is None without one."""

    key: bytes
    value: bytes
    created: str
    modified: str
    lease: str | None


class Pair(NamedTuple):
    """A key, and its sidecar where there is one."""

    row: Row
    sidecar: Row | None

    @property
    def etag(self) -> str:
        """The mod_revision of the key; with that of the sidecar after it where that is another one."""
        mark = self.sidecar.modified if self.sidecar is not None else _ABSENT
        return self.row.modified if mark == self.row.modified else f"{self.row.modified}-{mark}"


def row_of(kv: Mapping[str, Any]) -> Row:
    """A key of an answer. Raises LookupError, TypeError or ValueError for what is not one."""
    lease = kv.get("lease")
    revisions = str(int(kv["create_revision"])), str(int(kv["mod_revision"]))
    return Row(raw(kv["key"]), raw(kv.get("value", "")), *revisions, None if lease in (None, "0") else str(lease))


def revisions_of(etag: str | None) -> tuple[str, str]:
    """The mod_revisions of key and sidecar in an etag. Without one: those of a key that does not exist."""
    key, _, mark = (etag or f"{_ABSENT}-{_ABSENT}").partition("-")
    return key, mark or key


def mark_text(write: Write, lease: str | None) -> str:
    """The value of the sidecar of a write that brings a mark."""
    mark = write.mark
    assert mark is not None
    return fields_to_text(MARK_FIELDS.of(mark) | {"until": write.expires_at, "lease": lease})


def foreign_lease(pair: Pair) -> str | None:
    """The lease of an entry where kvsync did not note when it ends."""
    noted = _noted(pair)
    is_ours = noted.get("lease") == pair.row.lease and isinstance(noted.get("until"), int | float)
    return None if is_ours else pair.row.lease


def to_actual(identity: Identity, pair: Pair, ends: Mapping[str, float | None]) -> Actual:
    """A key and its sidecar as an entry. `ends` has the ends of leases that are not kvsync's, as far as they are known."""
    content, noted = Content(pair.row.value), _noted(pair)
    lease = foreign_lease(pair)
    expires_at = ends.get(lease) if lease is not None else noted.get("until") if pair.row.lease is not None else None
    return Actual(
        identity,
        etag=pair.etag,
        fingerprint=fingerprint(content),
        content=content,
        size=len(content.value),
        expires_at=expires_at,
        mark=MARK_FIELDS.mark(noted),
    )


def bears_mark(pair: Pair) -> bool:
    """True when the entry has a mark, of whatever owner."""
    return bool(_noted(pair))


def _noted(pair: Pair) -> Mapping[str, Any]:
    """What the sidecar says of the key; nothing where it was written for a key that was deleted since."""
    sidecar = pair.sidecar
    if sidecar is None or int(sidecar.modified) < int(pair.row.created):
        return {}
    return fields_from_text(sidecar.value)
