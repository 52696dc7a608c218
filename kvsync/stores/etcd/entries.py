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

import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from kvsync.model.canonical import fingerprint
from kvsync.model.entry import Actual, Content, Identity, Mark
from kvsync.planning.marks import seal_from_text, seal_to_text, ttl_from
from kvsync.stores.base import Write
from kvsync.stores.etcd.gateway import raw

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
    fields = {
        "owner": mark.owner,
        "fp": mark.fingerprint.hex(),
        "seal": None if mark.seal is None else seal_to_text(mark.seal),
        "ttl": mark.ttl,
        "flags": "s" * mark.sensitive + "p" * mark.protected or None,
        "until": write.expires_at,
        "lease": lease,
    }
    return json.dumps({name: value for name, value in fields.items() if value is not None}, separators=(",", ":"))


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
        mark=_mark(noted),
    )


def bears_mark(pair: Pair) -> bool:
    """True when the entry has a mark, of whatever owner."""
    return bool(_noted(pair))


def _noted(pair: Pair) -> Mapping[str, Any]:
    """What the sidecar says of the key; nothing where it was written for a key that was deleted since."""
    sidecar = pair.sidecar
    if sidecar is None or int(sidecar.modified) < int(pair.row.created):
        return {}
    try:
        found = json.loads(sidecar.value)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _mark(noted: Mapping[str, Any]) -> Mark | None:
    """A mark; None where there is none that can be read."""
    owner, print_, flags = noted.get("owner"), noted.get("fp"), noted.get("flags", "")
    if not isinstance(owner, str) or not isinstance(flags, str):
        return None
    try:
        applied = bytes.fromhex(print_) if isinstance(print_, str) else b""
    except ValueError:
        applied = b""
    seal = seal_from_text(noted.get("seal"))
    return Mark(owner, applied, ttl_from(noted.get("ttl")), "s" in flags, "p" in flags, seal=seal)
