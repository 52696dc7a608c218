"""Reads, writes and deletes one record."""

from __future__ import annotations

import zlib
from typing import Final, NamedTuple

from kvsync.http.failures import cleaned, rejected, unconfirmed
from kvsync.http.model import Request, Response
from kvsync.http.redirects import MOVED
from kvsync.model.entry import Content
from kvsync.stores.apify.content import kept_type, sent_type, whole
from kvsync.stores.apify.remote import KeyValueStore, Remote
from kvsync.stores.base import WriteResult, WriteStatus
from kvsync.stores.partial import EntryDamaged

_REFUSALS: Final = frozenset({400, 413, 415})
_EXPECTED: Final = _REFUSALS | {200, 201, 204}
_HEADERS: Final = {"Accept-Encoding": "gzip, deflate"}
"""A record that another program sent compressed is returned as it is stored, so that its listed size is comparable."""


class StoredRecord(NamedTuple):
    """A record as it was read. `size` is its size in the store, in bytes."""

    content: Content
    size: int


async def read(remote: Remote, namespace: str, store: KeyValueStore, key: str) -> StoredRecord | None:
    """Read a record, None if there is none. Raises StoreError."""
    target, what = remote.targets.record(store.id, key, raw=True), f"reading {namespace}/{key}"
    call = Request("GET", target, what, _HEADERS, expects=MOVED | {200, 404}, limiter=store.records)
    answer = await remote.namespaces.ask(namespace, call)
    if answer.status in MOVED:
        answer = await remote.redirects.follow(remote.origin, call, answer)
    if answer.status == 404:
        return None
    value = _decoded(f"{remote.label}: {what} failed", answer, remote.connection.context.limits.unpacked)
    return StoredRecord(Content(value, kept_type(value, answer.headers.get("content-type"))), len(answer.body))


async def put(
    remote: Remote, namespace: str, store: KeyValueStore, key: str, content: Content, *, is_secret: bool = False
) -> WriteResult:
    """Write a record. Raises StoreError."""
    kind = sent_type(content)
    call = Request(
        "PUT",
        remote.targets.record(store.id, key),
        f"writing {namespace}/{key}",
        {"Content-Type": kind},
        content.value,
        _EXPECTED,
        is_secret=is_secret,
        limiter=store.records,
    )
    answer = _from_api(remote, call, await remote.namespaces.ask(namespace, call))
    if answer.status in _REFUSALS:
        return _refused(call, answer)
    if answer.status == 204:
        raise unconfirmed(remote.label, call, answer)
    kept = kept_type(content.value, kind)
    return WriteResult(WriteStatus.DONE, whole(len(content.value), content.value, kept))


async def delete(remote: Remote, namespace: str, store: KeyValueStore, key: str) -> WriteResult:
    """Delete a record. Raises StoreError."""
    target, what = remote.targets.record(store.id, key), f"deleting {namespace}/{key}"
    call = Request("DELETE", target, what, expects=_EXPECTED, limiter=store.records)
    answer = _from_api(remote, call, await remote.namespaces.ask(namespace, call))
    return _refused(call, answer) if answer.status in _REFUSALS else WriteResult(WriteStatus.DONE)


def _from_api(remote: Remote, call: Request, answer: Response) -> Response:
    """The response to a write. Raises LostAnswer for one that the API does not give."""
    if not _is_api_response(answer):
        raise unconfirmed(remote.label, call, answer)
    return answer


def _is_api_response(answer: Response) -> bool:
    """True for a response of the API: an object, or an empty body after a delete or the creation of a record. The servers in
    front of it may refuse a body that is too large."""
    if answer.status == 204 or not answer.body:
        return answer.status in (201, 204, 413) and not answer.body
    return answer.status == 413 or bool(answer.problem()) or answer.body.strip() == b"{}"


def _refused(call: Request, answer: Response) -> WriteResult:
    """The result for a record that the API rejects: because of its size, its content type, or a schema of the store."""
    return WriteResult(WriteStatus.REJECTED, error=rejected(call, answer))


def _decoded(failed: str, answer: Response, most: int) -> bytes:
    """The body without its encoding, at most `most` bytes. Raises EntryDamaged; `failed` begins its message."""
    encoding = answer.headers.get("content-encoding", "identity").strip().lower()
    if encoding in ("", "identity"):
        return answer.body
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise EntryDamaged(f"{failed}: the response has the unexpected encoding {cleaned(encoding)}")
    try:
        value = _inflated(answer.body, most)
    except (zlib.error, EOFError):
        raise EntryDamaged(f"{failed}: the response does not match its Content-Encoding {encoding}") from None
    if len(value) > most:
        raise EntryDamaged(f"{failed}: it has more than {most:,} bytes after decompression; raise limits.unpacked")
    return value


def _inflated(body: bytes, most: int) -> bytes:
    """Decompress gzip, zlib, or bare deflate, which some programs send under the same name; more than `most` bytes only as far
    as to see that. Raises zlib.error, EOFError."""
    is_wrapped = body[:2] == b"\x1f\x8b" or (len(body) > 1 and body[0] & 15 == 8 and int.from_bytes(body[:2]) % 31 == 0)
    inflater = zlib.decompressobj(zlib.MAX_WBITS | 32 if is_wrapped else -zlib.MAX_WBITS)
    value = inflater.decompress(body, most + 1)
    if not inflater.eof and len(value) <= most:
        raise EOFError
    return value
