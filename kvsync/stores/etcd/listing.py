"""Lists the keys of a range and their sidecars, 10,000 entries a request, all at one revision.

Keys and sidecars are read in one transaction. The first page fixes the revision for the pages after it. If etcd compacts that
revision meanwhile, the listing begins again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from kvsync.http.etcd import CompactedError, encoded, end_of, flattened, nested
from kvsync.http.failures import understood
from kvsync.http.paging import ListingPage, walk
from kvsync.model.key_format import KeyFormat
from kvsync.stores.etcd.entries import SIDECARS, Pair, Row, row_of
from kvsync.stores.etcd.remote import OWN_KEY, Remote
from kvsync.util.gc_pause import gc_paused

PAGE: Final = 10_000
"""Entries of one request."""

_RESTARTS: Final = 3


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


_Page = ListingPage[tuple[list[Row], list[Row]], "_Cursor"]


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
    answer = await remote.read("kv/txn", what, {"success": [{"request_range": one} for one in ranges]})
    with understood(remote.where, what, answer=answer):
        keys, sidecars = (one["response_range"] for one in answer.data["responses"])
        counts = int(keys.get("count", 0)), int(sidecars.get("count", 0))
        now = int(answer.data["header"]["revision"])
        if now < state.revision or keys.get("kvs") or sidecars.get("kvs") or counts != state[1:]:
            return True
    _note_seen(remote, prefix, now)
    return False


async def read_pairs(remote: Remote, keys: Sequence[bytes], what: str) -> dict[bytes, Pair]:
    """These keys with their sidecars, all at one moment; missing ones are left out. Raises StoreError."""
    wanted = [{"request_range": {"key": encoded(one)}} for key in keys for one in (key, SIDECARS + key)]
    # Some releases of etcd check the user only outside of nested transactions. This condition always holds.
    permitted = {"key": encoded(keys[0]), "target": "VERSION", "version": "-1", "result": "GREATER"}
    answer = await remote.read("kv/txn", what, {"compare": [permitted], "success": nested(wanted)})
    with understood(remote.where, what, answer=answer):
        answers = flattened(answer.data["responses"], len(wanted))
        found = [one["response_range"].get("kvs") for one in answers]
        rows = [row_of(kvs[0]) if kvs else None for kvs in found]
    pairs = zip(rows[::2], rows[1::2], strict=True)
    return {row.key: Pair(row, sidecar) for row, sidecar in pairs if row is not None}


async def _list_once(remote: Remote, prefix: bytes, what: str) -> Listing:
    pages = _Pages(remote, prefix, what)
    first = _Cursor(prefix or b"\0", SIDECARS + prefix)
    found = [page.content async for page in walk(first, pages.fetch, remote.connection.listing_limit(what))]
    assert pages.state is not None
    _note_seen(remote, prefix, pages.state.revision)
    by_key = {row.key[len(SIDECARS) :]: row for _, sidecars in found for row in sidecars}
    pairs = [Pair(row, by_key.get(row.key)) for rows, _ in found for row in rows if not _is_own(row.key)]
    return Listing(pairs, pages.state, pages.cluster)


def _is_own(key: bytes) -> bool:
    return key.startswith(SIDECARS) or key == OWN_KEY.encode()


def _note_seen(remote: Remote, prefix: bytes, revision: int) -> None:
    for start in (prefix, SIDECARS + prefix):
        remote.note_revision(start, revision)


class _Pages:
    """Fetches the pages of one listing, all at the revision of the first."""

    def __init__(self, remote: Remote, prefix: bytes, what: str) -> None:
        self._remote, self._what = remote, what
        self._ends = (end_of(prefix), end_of(SIDECARS + prefix))
        self.state: State | None = None
        self.cluster = ""

    async def fetch(self, cursor: _Cursor) -> _Page:
        """The page at `cursor`. Raises StoreError."""
        revision = {} if self.state is None else {"revision": str(self.state.revision)}
        ranges = [
            _range(start, end) | revision | {"limit": str(PAGE)}
            for start, end in zip(cursor, self._ends, strict=True)
            if start is not None
        ]
        body = {"success": [{"request_range": one} for one in ranges]}
        answer = await self._remote.read("kv/txn", self._what, body)
        with gc_paused(), understood(self._remote.where, self._what, answer=answer):
            rows, following = self._parsed(answer.data, cursor)
        size = len(rows[0]) + len(rows[1])
        return ListingPage(rows, size, len(answer.body), None if following == _Cursor(None, None) else following)

    def _parsed(self, answer: Mapping[str, Any], cursor: _Cursor) -> tuple[tuple[list[Row], list[Row]], _Cursor]:
        found = iter(answer["responses"])
        keys, sidecars = ({} if start is None else next(found)["response_range"] for start in cursor)
        if self.state is None:
            header = answer["header"]
            counts = int(keys.get("count", 0)), int(sidecars.get("count", 0))
            self.state, self.cluster = State(int(header["revision"]), *counts), f"{int(header['cluster_id']):x}"
        rows = [row_of(kv) for kv in keys.get("kvs", ())], [row_of(kv) for kv in sidecars.get("kvs", ())]
        return rows, _Cursor(_after(keys, rows[0]), _after(sidecars, rows[1]))


def _after(part: Mapping[str, Any], rows: Sequence[Row]) -> bytes | None:
    """Where the page after one begins; None after the last. Raises IndexError for a page that is empty, and not the last."""
    return rows[-1].key + b"\0" if part.get("more") else None


def _range(start: bytes, end: bytes) -> dict[str, Any]:
    return {"key": encoded(start), "range_end": encoded(end)}


async def list_namespaces(remote: Remote, keys: KeyFormat) -> list[str]:
    """The namespaces that keys belong to, sorted. The rest of a namespace is skipped. Raises StoreError."""
    pages = _key_pages(remote, "listing namespaces", partial(_after_namespace, keys))
    return sorted({name async for page in pages for key in page if (name := _namespace_of(keys, key)) is not None})


async def list_keys(remote: Remote) -> list[bytes]:
    """All keys of the cluster, without kvsync's own. Raises StoreError."""
    pages = _key_pages(remote, "listing the keys", _after_key)
    return [key async for page in pages for key in page if not _is_own(key)]


async def _key_pages(remote: Remote, what: str, after: Callable[[bytes], bytes]) -> AsyncIterator[list[bytes]]:
    """The keys of the cluster by page; `after` says where to go on after the last key of one. Raises StoreError."""

    async def fetch(start: bytes) -> ListingPage[list[bytes], bytes]:
        asked = {"key": encoded(start), "range_end": encoded(b"\0"), "limit": str(PAGE), "keys_only": True}
        answer = await remote.read("kv/range", what, asked)
        with understood(remote.where, what, answer=answer):
            names = [row_of(kv).key for kv in answer.data.get("kvs", ())]
            following = after(names[-1]) if answer.data.get("more") else None
        return ListingPage(names, len(names), len(answer.body), following)

    async for page in walk(b"\0", fetch, remote.connection.listing_limit(what)):
        yield page.content


def _after_key(last: bytes) -> bytes:
    """Where to go on after a page: past the keys of marks."""
    return end_of(SIDECARS) if last.startswith(SIDECARS) else last + b"\0"


def _namespace_of(keys: KeyFormat, key: bytes) -> str | None:
    if _is_own(key):
        return None
    try:
        return keys.namespace_of(key.decode())
    except UnicodeDecodeError:
        return None


def _after_namespace(keys: KeyFormat, last: bytes) -> bytes:
    """The same, and past the namespace of the last key if its keys are together."""
    name = _namespace_of(keys, last)
    prefix = b"" if name is None else keys.prefix(name).encode()
    following = _after_key(last)
    return max(following, end_of(prefix)) if prefix and last.startswith(prefix) else following
