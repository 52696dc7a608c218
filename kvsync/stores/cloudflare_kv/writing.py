"""Bulk writes, and the outcomes of their responses."""

from __future__ import annotations

import json
import math
from base64 import b64encode
from collections.abc import Sequence
from typing import Any, Final

from kvsync.errors import BatchRefused, StoreError
from kvsync.http.failures import unconfirmed
from kvsync.http.model import Request, Response
from kvsync.model.entry import Content
from kvsync.planning.audit import is_text
from kvsync.stores.base import Write, WriteResult, WriteStatus
from kvsync.stores.cloudflare_kv.metadata import check_size, metadata_for
from kvsync.stores.cloudflare_kv.remote import Remote

LEAST_LIFE: Final = 60
"""Seconds that an entry lives at least."""

MOST_BODY: Final = 50_000_000
"""Bytes of one call; the API takes twice as many, but not always in time."""

_CLOSE: Final = 2 * LEAST_LIFE
"""Seconds of life below which it is the server's clock that must count them."""

_DONE: Final = WriteResult(WriteStatus.DONE)
_UNKNOWN: Final = WriteResult(WriteStatus.UNKNOWN, error="the store reported that the write may be incomplete")

Named = tuple[str, Write]
"""A write and its remote key."""


def pair_for(name: str, write: Write, now: float) -> bytes:
    """One put as JSON. Raises ValueError, with the reason, for what the store cannot hold."""
    assert write.content is not None
    metadata = metadata_for(write.content, write.mark)
    check_size(write.content, write.mark, metadata)
    pair = {"key": name, **_lifetime(write, now)} | ({} if metadata is None else {"metadata": metadata})
    text = _encode(pair | _value(write.content))
    if len(text) > 2 * len(write.content.value) + _SHORT:  # escapes make it longer than base64 does
        text = _encode(pair | _base64(write.content))
    return text.encode()


async def put(
    remote: Remote, namespace: str, id_: str, pairs: Sequence[bytes], writes: Sequence[Named]
) -> list[WriteResult]:
    """Write pairs, in one call. Raises StoreError; BatchRefused, with nothing sent, for what is too long for one."""
    body = b"[" + b",".join(pairs) + b"]"
    if len(body) > MOST_BODY and len(pairs) > 1:
        raise BatchRefused(f"{remote.where}: {len(body)} bytes in one call; the limit is {MOST_BODY}")
    what = f"writing {len(pairs):,} entries of {namespace}"
    is_secret = any(write.is_sensitive for _, write in writes)
    call = remote.writing("PUT", remote.targets.bulk(id_), what, body, is_secret=is_secret)
    return _results(remote.where, call, await remote.ask(namespace, call), writes)


async def delete(remote: Remote, namespace: str, id_: str, writes: Sequence[Named]) -> list[WriteResult]:
    """Delete, in one call. Raises StoreError."""
    body = _encode([name for name, _ in writes]).encode()
    what = f"deleting {len(writes):,} entries of {namespace}"
    call = remote.writing("POST", remote.targets.bulk(id_, "delete"), what, body)
    return _results(remote.where, call, await remote.ask(namespace, call), writes)


def unknown(error: StoreError) -> WriteResult:
    """The result of a write of which nothing is known, while others of the same call are done."""
    return WriteResult(WriteStatus.UNKNOWN, error=str(error))


def _results(where: str, call: Request, answer: Response, writes: Sequence[Named]) -> list[WriteResult]:
    """What an answer says of each write; all are in doubt where its numbers do not agree. Raises LostAnswer when it is not the
    API's word for a success."""
    envelope = answer.data if isinstance(answer.data, dict) else {}
    result = envelope.get("result") or {}
    if envelope.get("success") is not True or not isinstance(result, dict):
        raise unconfirmed(where, call, answer)
    told = result.get("unsuccessful_keys") or []
    if not isinstance(told, list) or not all(isinstance(name, str) for name in told):
        raise unconfirmed(where, call, answer)
    failed, done = set(told), result.get("successful_key_count")
    is_consistent = done is None or done == len(writes) - len(failed)
    return [_DONE if is_consistent and name not in failed else _UNKNOWN for name, _ in writes]


def _lifetime(write: Write, now: float) -> dict[str, int]:
    """Absolute, but for a lifetime so short that two clocks could disagree on it."""
    if write.expires_at is None:
        return {}
    left = write.expires_at - now
    if write.mark is not None and write.mark.ttl is not None and left < _CLOSE:
        return {"expiration_ttl": max(LEAST_LIFE, math.ceil(left))}
    if left < LEAST_LIFE:
        raise ValueError(f"it expires in less than {LEAST_LIFE} s; Cloudflare KV accepts no shorter lifetime")
    return {"expiration": math.ceil(write.expires_at)}


def _value(content: Content) -> dict[str, Any]:
    return {"value": content.value.decode()} if is_text(content.value) else _base64(content)


def _base64(content: Content) -> dict[str, Any]:
    return {"value": b64encode(content.value).decode(), "base64": True}


_SHORT: Final = 4096
"""Bytes of a pair that are never worth another look."""

_encode: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
