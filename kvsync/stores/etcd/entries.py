"""Entries of etcd: a key with its value, and kvsync's mark in a second key, its sidecar; and the transaction that writes them.

    app/greeting             the value, and nothing else
    .kvsync/app/greeting     the mark, as JSON: owner, fp, seal, and where there are such ttl, flags, until, lease

Both are written in one transaction, so they have the same mod_revision as long as nobody else writes to one of them.

what is there                                        the entry
────────────────────────────────────────────────     ──────────────────────────────────────────────────────────────────────
key and sidecar                                      bears the mark of the sidecar, whatever the value is by now
key made after its sidecar was written               bears no mark: another program deleted the key and made it again
key alone                                            bears no mark
sidecar alone                                        does not exist; creating it replaces the sidecar

A batch is one transaction, in which each entry is a transaction of its own. The outer one compares the id of the cluster, so
that nothing is written to another one. The inner ones compare the revisions of a key and its sidecar and write both or
neither: a conflict is that entry's alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from kvsync.http.etcd import encoded, flattened, nested, raw
from kvsync.model.canonical import fingerprint
from kvsync.model.entry import Actual, Content, Identity
from kvsync.stores.base import Precondition, Write, WriteResult, WriteStatus
from kvsync.stores.etcd.remote import OWN_KEY
from kvsync.stores.mark_fields import MARK_FIELDS, fields_from_text, fields_to_text

SIDECARS: Final = f"{OWN_KEY}/".encode()
"""What the keys of sidecars begin with."""

_ABSENT: Final = "0"
_EXISTS: Final = WriteResult(WriteStatus.CONFLICT, error="the entry already exists")
_MOVED: Final = WriteResult(WriteStatus.CONFLICT, error="the entry was changed or deleted since it was read")


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


class KeyedWrite(NamedTuple):
    """A write, the key that it goes to, and the lease that ends it."""

    key: bytes
    write: Write
    lease: str | None


def transaction(writes: Sequence[KeyedWrite], id_: str | None) -> Mapping[str, Any]:
    """The body of the call that makes these writes in the cluster with this id; None: in whichever it is."""
    # Some releases of etcd check the user only outside of nested transactions. Nothing has this key, which lies next to ours.
    permitted = _delete(encoded(writes[0].key + b"\0"))
    body: dict[str, Any] = {"success": [permitted, *nested([{"request_txn": _entry(one)} for one in writes])]}
    if id_ is not None:
        same = {"key": encoded(OWN_KEY), "target": "VALUE", "value": encoded(id_), "result": "EQUAL"}
        body["compare"] = [same]
    return body


def results_of(writes: Sequence[KeyedWrite], answer: Mapping[str, Any]) -> list[WriteResult]:
    """What became of each write of a transaction that took place. Raises LookupError, TypeError or ValueError."""
    revision = str(int(answer["header"]["revision"]))
    found = flattened(answer["responses"][1:], len(writes))
    return [_result(one.write, part["response_txn"], revision) for one, part in zip(writes, found, strict=True)]


def _noted(pair: Pair) -> Mapping[str, Any]:
    """What the sidecar says of the key; nothing where it was written for a key that was deleted since."""
    sidecar = pair.sidecar
    if sidecar is None or int(sidecar.modified) < int(pair.row.created):
        return {}
    return fields_from_text(sidecar.value)


def _mark_text(write: Write, lease: str | None) -> str:
    """The value of the sidecar of a write that brings a mark."""
    mark = write.mark
    assert mark is not None
    return fields_to_text(MARK_FIELDS.of(mark) | {"until": write.expires_at, "lease": lease})


def _entry(keyed: KeyedWrite) -> Mapping[str, Any]:
    """The transaction of one entry."""
    key, write, lease = keyed
    names = encoded(key), encoded(SIDECARS + key)
    put = {} if lease is None else {"lease": lease}
    operations: list[Mapping[str, Any]] = [_delete(name) for name in names]
    if write.content is not None:
        operations[0] = {"request_put": {"key": names[0], "value": encoded(write.content.value)} | put}
        if write.mark is not None:
            operations[1] = {"request_put": {"key": names[1], "value": encoded(_mark_text(write, lease))} | put}
    return {"compare": _conditions(names, write), "success": operations}


def _conditions(names: tuple[str, str], write: Write) -> list[Mapping[str, Any]]:
    if write.precondition is Precondition.ABSENT:
        return [{"key": names[0], "target": "CREATE", "create_revision": "0", "result": "EQUAL"}]
    revisions = zip(names, revisions_of(write.etag), strict=True)
    found = [{"key": name, "target": "MOD", "mod_revision": one, "result": "EQUAL"} for name, one in revisions]
    return [*found, {"key": names[0], "target": "CREATE", "create_revision": "0", "result": "GREATER"}]


def _delete(name: str) -> Mapping[str, Any]:
    return {"request_delete_range": {"key": name}}


def _result(write: Write, answer: Mapping[str, Any], revision: str) -> WriteResult:
    if not answer.get("succeeded"):
        return _EXISTS if write.precondition is Precondition.ABSENT else _MOVED
    if write.content is None:
        return WriteResult(WriteStatus.DONE)
    return WriteResult(WriteStatus.DONE, etag=revision if write.mark is not None else f"{revision}-0")
