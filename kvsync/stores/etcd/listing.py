"""Lists the keys of a range and their sidecars, 10,000 entries a request, all at one revision.

Keys and sidecars are read in one transaction. The first page fixes the revision for the pages after it. If etcd compacts that
revision meanwhile, the listing begins again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from kvsync.errors import TransientError
from kvsync.http.failures import understood
from kvsync.http.paging import ListingLimit
from kvsync.model.key_format import KeyFormat
from kvsync.stores.etcd.entries import Pair, Row, row_of
from kvsync.stores.etcd.gateway import CompactedError, encoded, end_of
from kvsync.stores.etcd.remote import OWN_KEY, Remote
from kvsync.util.gc_pause import gc_paused

PAGE: Final = 10_000
"""Entries of one request."""

SIDECARS: Final = f"{OWN_KEY}/".encode()
"""What the keys of sidecars begin with."""

_RESTARTS: Final = 3
_FLAT: Final = 16
"""Operations of one nested transaction: etcd allows 128 in one, less one for each operation around it."""

Op = Mapping[str, Any]


class State(NamedTuple):
    """What represents the state of a range: the revision that was read, and the number of keys and of sidecars."""

    revision: int
    keys: int
    sidecars: int


class Listing(NamedTuple):
    """Everything in a range at one moment; `cluster` is the own id of the cluster that answered."""

    pairs: list[Pair]
    state: State
    cluster: str


class _Cursor(NamedTuple):
    """Where the next page begins; None when there is none."""

    keys: bytes | None
    sidecars: bytes | None


async def list_all(remote: Remote, prefix: bytes, what: str) -> Listing:
    """All keys that begin with `prefix`, without kvsync's own. Raises StoreError."""
    for _ in range(_RESTARTS):
        try:
            return await _list_once(remote, prefix, what)
        except CompactedError as error:
            last = error
    raise last


async def changed_since(remote: Remote, prefix: bytes, state: State, what: str) -> bool:
    """Whether anything in a range is not as it was in this state. Raises StoreError."""
    since = {"limit": "1", "keys_only": True, "min_mod_revision": str(state.revision + 1)}
    ranges = [_range(start, end_of(start)) | since for start in (prefix or b"\0", SIDECARS + prefix)]
    answer = remote.json(
        await remote.read("kv/txn", what, {"success": [{"request_range": one} for one in ranges]}), what
    )
    with understood(remote.where, what):
        keys, sidecars = (one["response_range"] for one in answer["responses"])
        counts = int(keys.get("count", 0)), int(sidecars.get("count", 0))
        now = int(answer["header"]["revision"])
        if now < state.revision or keys.get("kvs") or sidecars.get("kvs") or counts != state[1:]:
            return True
    _note_seen(remote, prefix, now)
    return False


async def read_pairs(remote: Remote, keys: Sequence[bytes], what: str) -> dict[bytes, Pair]:
    """These keys with their sidecars, all at one moment; missing ones are left out. Raises StoreError."""
    wanted = [{"request_range": {"key": encoded(one)}} for key in keys for one in (key, SIDECARS + key)]
    # Some releases of etcd check the user only outside of nested transactions. This condition always holds.
    permitted = {"key": encoded(keys[0]), "target": "VERSION", "version": "-1", "result": "GREATER"}
    answer = remote.json(await remote.read("kv/txn", what, {"compare": [permitted], "success": nested(wanted)}), what)
    with understood(remote.where, what):
        answers = flattened(answer["responses"], len(wanted))
        found = [one["response_range"].get("kvs") for one in answers]
        rows = [row_of(kvs[0]) if kvs else None for kvs in found]
    pairs = zip(rows[::2], rows[1::2], strict=True)
    return {row.key: Pair(row, sidecar) for row, sidecar in pairs if row is not None}


def nested(operations: Sequence[Op]) -> list[Op]:
    """Operations in groups, as transactions within a transaction: etcd limits how many one holds."""
    groups = [operations[start : start + _FLAT] for start in range(0, len(operations), _FLAT)]
    return [{"request_txn": {"success": group}} for group in groups]


def flattened(responses: Sequence[Mapping[str, Any]], expected: int) -> list[Mapping[str, Any]]:
    """The responses to operations that were grouped by `nested`. Raises LookupError, or ValueError for another number."""
    found = [one for group in responses for one in group["response_txn"]["responses"]]
    if len(found) != expected:
        raise ValueError("another number of responses than of operations")
    return found


async def _list_once(remote: Remote, prefix: bytes, what: str) -> Listing:
    pages = _Pages(remote, prefix, what)
    while not pages.is_done:
        await pages.fetch()
    assert pages.state is not None
    _note_seen(remote, prefix, pages.state.revision)
    by_key = {row.key[len(SIDECARS) :]: row for row in pages.sidecars}
    own = (SIDECARS, OWN_KEY.encode())
    pairs = [
        Pair(row, by_key.get(row.key)) for row in pages.rows if not row.key.startswith(own[0]) and row.key != own[1]
    ]
    return Listing(pairs, pages.state, pages.cluster)


def _note_seen(remote: Remote, prefix: bytes, revision: int) -> None:
    for start in (prefix, SIDECARS + prefix):
        remote.saw(start, revision)


class _Pages:
    """The pages of one listing, fetched one after the other."""

    def __init__(self, remote: Remote, prefix: bytes, what: str) -> None:
        self._remote, self._what = remote, what
        self._ends = (end_of(prefix), end_of(SIDECARS + prefix))
        self._next = _Cursor(prefix or b"\0", SIDECARS + prefix)
        self._limit = ListingLimit(f"{remote.where}: {what}", remote.limits, remote.clock)
        self.rows: list[Row] = []
        self.sidecars: list[Row] = []
        self.state: State | None = None
        self.cluster = ""

    @property
    def is_done(self) -> bool:
        """True once everything was fetched."""
        return self._next == _Cursor(None, None)

    async def fetch(self) -> None:
        """Fetch the next page. Raises StoreError."""
        revision = {} if self.state is None else {"revision": str(self.state.revision)}
        ranges = [
            _range(start, end) | revision | {"limit": str(PAGE)}
            for start, end in zip(self._next, self._ends, strict=True)
            if start is not None
        ]
        body, before = {"success": [{"request_range": one} for one in ranges]}, len(self.rows) + len(self.sidecars)
        answer = await self._remote.read("kv/txn", self._what, body)
        with gc_paused(), understood(self._remote.where, self._what):
            self._take(self._remote.json(answer, self._what))
        new = len(self.rows) + len(self.sidecars) - before
        self._limit.count(new, len(answer.body), is_last=self.is_done)

    def _take(self, answer: Mapping[str, Any]) -> None:
        found = iter(answer["responses"])
        parts = [None if start is None else next(found)["response_range"] for start in self._next]
        if self.state is None:
            header = answer["header"]
            keys, sidecars = (int((part or {}).get("count", 0)) for part in parts)
            self.state = State(int(header["revision"]), keys, sidecars)
            self.cluster = f"{int(header['cluster_id']):x}"
        self._next = _Cursor(self._after(parts[0], self.rows), self._after(parts[1], self.sidecars))

    def _after(self, part: Mapping[str, Any] | None, rows: list[Row]) -> bytes | None:
        """Take in the rows of one range; says where its next page begins."""
        if part is None:
            return None
        new = [row_of(kv) for kv in part.get("kvs", ())]
        rows += new
        if not part.get("more"):
            return None
        if not new:
            raise TransientError(f"{self._remote.where}: {self._what} failed: a page is empty, and not the last one")
        return new[-1].key + b"\0"


def _range(start: bytes, end: bytes) -> dict[str, Any]:
    return {"key": encoded(start), "range_end": encoded(end)}


async def list_namespaces(remote: Remote, keys: KeyFormat) -> list[str]:
    """The namespaces that keys belong to, sorted. The rest of a namespace is skipped. Raises StoreError."""
    what, found = "listing namespaces", set[str]()
    limit = ListingLimit(f"{remote.where}: {what}", remote.limits, remote.clock)
    start = b"\0"
    while True:
        asked = {"key": encoded(start), "range_end": encoded(b"\0"), "limit": str(PAGE), "keys_only": True}
        response = await remote.read("kv/range", what, asked)
        answer = remote.json(response, what)
        with understood(remote.where, what):
            names = [row_of(kv).key for kv in answer.get("kvs", ())]
        found |= {name for key in names if (name := _namespace_of(keys, key)) is not None}
        is_last = not answer.get("more") or not names
        limit.count(len(names), len(response.body), is_last=is_last)
        if is_last:
            return sorted(found)
        start = _after_namespace(keys, names[-1])


def _namespace_of(keys: KeyFormat, key: bytes) -> str | None:
    if key.startswith(SIDECARS) or key == OWN_KEY.encode():
        return None
    try:
        return keys.namespace_of(key.decode())
    except UnicodeDecodeError:
        return None


def _after_namespace(keys: KeyFormat, last: bytes) -> bytes:
    """Where to go on after a page: past the keys of marks, and past the namespace of the last key if its keys are together."""
    if last.startswith(SIDECARS):
        return end_of(SIDECARS)
    name = _namespace_of(keys, last)
    prefix = b"" if name is None else keys.prefix(name).encode()
    return max(last + b"\0", end_of(prefix)) if prefix and last.startswith(prefix) else last + b"\0"
