"""Writes as one transaction of etcd, in which each entry is a transaction of its own.

The outer transaction compares the id of the cluster, so that nothing is written to another one. The inner ones compare the
revisions of a key and its sidecar and write both or neither: a conflict is that entry's alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from kvsync.http.etcd import encoded
from kvsync.stores.base import Precondition, Write, WriteResult, WriteStatus
from kvsync.stores.etcd.entries import mark_text, revisions_of
from kvsync.stores.etcd.listing import SIDECARS, flattened, nested
from kvsync.stores.etcd.remote import OWN_KEY

_EXISTS: Final = WriteResult(WriteStatus.CONFLICT, error="the entry already exists")
_MOVED: Final = WriteResult(WriteStatus.CONFLICT, error="the entry was changed or deleted since it was read")


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


def _entry(keyed: KeyedWrite) -> Mapping[str, Any]:
    """The transaction of one entry."""
    key, write, lease = keyed
    names = encoded(key), encoded(SIDECARS + key)
    put = {} if lease is None else {"lease": lease}
    operations: list[Mapping[str, Any]] = [_delete(name) for name in names]
    if write.content is not None:
        operations[0] = {"request_put": {"key": names[0], "value": encoded(write.content.value)} | put}
        if write.mark is not None:
            operations[1] = {"request_put": {"key": names[1], "value": encoded(mark_text(write, lease))} | put}
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
