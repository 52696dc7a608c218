"""Reads and writes values in bulk.

    100 names ── bulk get ──> values, metadata, expirations
        └─ refused, because one of them is not text (or all together are too long) ──> two halves, until it is alone
           (or nearly all parts of a few names are refused) ──> each value and its metadata, two calls

If all of the first hundred names are absent, the others probably are too, as before many entries are created: a listing shows
that for a thousand names at a time.
"""

from __future__ import annotations

import json
import math
from base64 import b64encode
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from itertools import chain
from typing import Any, Final, NamedTuple

from kvsync.errors import BatchRefused, PermanentError, StoreError
from kvsync.http.failures import explained, unconfirmed, understood
from kvsync.http.model import Request, Response
from kvsync.http.moments import moment_from
from kvsync.model.entry import Content, Identity
from kvsync.planning.audit import is_text
from kvsync.stores.base import Write, WriteResult, WriteStatus
from kvsync.stores.cloudflare_kv.api import NO_TEXT, error_codes
from kvsync.stores.cloudflare_kv.metadata import check_size, metadata_for
from kvsync.stores.cloudflare_kv.remote import Remote
from kvsync.stores.partial import ReadFailures
from kvsync.util.concurrency import gather_or_cancel

MOST: Final = 100
"""Names in one bulk get."""

LEAST_LIFE: Final = 60
"""Seconds that an entry lives at least."""

MOST_BODY: Final = 50_000_000
"""Bytes of one call; the API accepts twice as many, but not always in time."""

_CLOSE: Final = 2 * LEAST_LIFE
"""Seconds of life below which the server's clock must count them."""

_DONE: Final = WriteResult(WriteStatus.DONE)
_UNKNOWN: Final = WriteResult(WriteStatus.UNKNOWN, error="the store reported that the write may be incomplete")

_MANY: Final = 8
_FEW: Final = 7
_NEARLY_ALL: Final = 0.9
"""If this share of so many parts, with so few names each, is refused, about a third of the values or more are not text."""

Named = tuple[str, Write]
"""A write and its remote key."""

_SHORT: Final = 4096
"""Bytes of a pair that are never compared with its base64 form."""

_encode: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


class StoredValue(NamedTuple):
    """One entry as it was read."""

    value: bytes
    metadata: Any
    expiration: float | None


class Reader:
    """Reads from one namespace: `namespace` is its name, `id_` its id. `binary` are the names of values that are known not to
    be text; new ones are added. `failures` collects what cannot be read."""

    def __init__(self, remote: Remote, namespace: str, id_: str, binary: set[str], failures: ReadFailures) -> None:
        self._remote, self._namespace, self._id, self._binary = remote, namespace, id_, binary
        self._failures = failures
        self._named: Mapping[str, Identity] = {}

    async def read(self, named: Mapping[str, Identity]) -> dict[str, StoredValue]:
        """The entries that exist, by their names. Raises StoreError."""
        self._named, names = named, list(named)
        texts = [name for name in names if name not in self._binary]
        single = [name for name in names if name in self._binary]
        found = await self._many(texts[:MOST])
        rest = texts[MOST:] if found else await self._still_there(texts[MOST:])
        parts = [rest[start : start + MOST] for start in range(0, len(rest), MOST)]
        for part in await gather_or_cancel([*map(self._many, parts), *map(self._one, single)]):
            found |= part
        return found

    async def _still_there(self, names: Sequence[str]) -> list[str]:
        """The names without those that are missing in a listing; the listing is given up when reading is as cheap."""
        if len(names) <= MOST:
            return list(names)
        calls = max(1, len(names) // MOST // 2)
        listed: set[str] = set()
        last = b""
        async with aclosing(self._remote.pages(self._namespace, self._id, common_start(names))) as pages:
            async for items in pages:
                listed.update(item["name"] for item in items)
                last = items[-1]["name"].encode() if items else last
                calls -= 1
                if not calls:
                    break
            else:
                return [name for name in names if name in listed]
        return [name for name in names if name in listed or name.encode() > last]

    async def _many(self, names: Sequence[str]) -> dict[str, StoredValue]:
        """Read names in bulk. A part that is refused is halved until each value that is not text is alone, or until so few are
        text that reading each value alone takes fewer calls."""
        found, alone = dict[str, StoredValue](), list[str]()
        parts = [names] if names else []
        while parts:
            read = await gather_or_cancel(map(self._bulk, parts))
            for values in read:
                found |= values or {}
            refused = [part for part, values in zip(parts, read, strict=True) if values is None]
            if _are_hardly_text(refused, parts):
                alone += chain.from_iterable(refused)
                break
            lone = [part[0] for part in refused if len(part) == 1]
            self._binary.update(lone)
            alone += lone
            parts = [half for part in refused if (middle := len(part) // 2) for half in (part[:middle], part[middle:])]
        for one in await gather_or_cancel(map(self._one, alone)):
            found |= one
        return found

    async def _bulk(self, names: Sequence[str]) -> dict[str, StoredValue] | None:
        """Read names in one call; None if that is refused, because one of the values is not text, or all are too long."""
        target, what = self._remote.targets.bulk(self._id, "get"), f"reading {self._namespace}"
        wanted = {"keys": list(names), "type": "text", "withMetadata": True}
        answer = await self._remote.post(self._namespace, target, what, wanted, expects=(200, 400, 413))
        if answer.status == 400 and NO_TEXT not in error_codes(answer):
            raise PermanentError(explained(self._remote.label, Request("POST", "", what), answer))
        return self._values(answer, names) if answer.status == 200 else None

    def _values(self, answer: Response, names: Sequence[str]) -> dict[str, StoredValue]:
        with understood(self._remote.label, f"reading {self._namespace}", answer=answer):
            values: Mapping[str, Any] = answer.data["result"]["values"]
            return {name: _held(values[name]) for name in names if values.get(name) is not None}

    async def _one(self, name: str) -> dict[str, StoredValue]:
        found = await self._failures.note(self._named[name], self._alone(name)) or {}
        if name in found and not is_text(found[name].value):
            self._binary.add(name)
        return found

    async def _alone(self, name: str) -> dict[str, StoredValue]:
        value, metadata = await gather_or_cancel(self._part(part, name) for part in ("values", "metadata"))
        if value.status == 404 or metadata.status == 404:
            return {}
        expiration = value.headers.get("expiration", "")
        data = metadata.data.get("result") if isinstance(metadata.data, dict) else None
        return {name: StoredValue(value.body, data, moment_from(float(expiration)) if expiration.isdecimal() else None)}

    async def _part(self, part: str, name: str) -> Response:
        target = self._remote.targets.one(self._id, part, name)
        call = Request("GET", target, f"reading {name}", expects=(200, 404), is_json=part == "metadata")
        return await self._remote.namespaces.ask(self._namespace, call)


def _are_hardly_text(refused: Sequence[Sequence[str]], parts: Sequence[Sequence[str]]) -> bool:
    """True if more halves would cost more calls than they save: nearly all of many small parts were refused."""
    are_small = len(parts) >= _MANY and max(map(len, parts)) <= _FEW
    return are_small and sum(map(len, refused)) > _NEARLY_ALL * sum(map(len, parts))


def common_start(names: Sequence[str]) -> str:
    """What all of these names begin with."""
    first, last = min(names), max(names)
    same = (index for index, (one, other) in enumerate(zip(first, last, strict=False)) if one != other)
    return first[: next(same, len(first))]


def _held(data: Mapping[str, Any]) -> StoredValue:
    expiration = data.get("expiration")
    if not isinstance(expiration, int | float | None):
        raise TypeError("the expiration of an entry must be a number")
    return StoredValue(data["value"].encode(), data.get("metadata"), moment_from(expiration))


def pair_for(name: str, write: Write, now: float) -> bytes:
    """One put as JSON. Raises ValueError, with the reason, for an entry that the store cannot hold."""
    assert write.content is not None
    metadata = metadata_for(write.content, write.mark)
    check_size(write.content, write.mark, metadata)
    pair = {"key": name, **_lifetime(write, now)} | ({} if metadata is None else {"metadata": metadata})
    text = _encode(pair | _value(write.content))
    if len(text) > 2 * len(write.content.value) + _SHORT:  # escapes make it longer than base64 does
        text = _encode(pair | _base64(write.content))
    return text.encode()


def put_call(remote: Remote, namespace: str, id_: str, pairs: Sequence[bytes], writes: Sequence[Named]) -> Request:
    """The request that writes pairs. Raises BatchRefused for one that is too long."""
    body = b"[" + b",".join(pairs) + b"]"
    if len(body) > MOST_BODY and len(pairs) > 1:
        raise BatchRefused(f"{remote.label}: {len(body):,} bytes in one call; the limit is {MOST_BODY:,}")
    what = f"writing {len(pairs):,} entries of {namespace}"
    is_secret = any(write.is_sensitive for _, write in writes)
    return remote.writing("PUT", remote.targets.bulk(id_), what, body, is_secret=is_secret)


def delete_call(remote: Remote, namespace: str, id_: str, writes: Sequence[Named]) -> Request:
    """The request that deletes entries."""
    body = _encode([name for name, _ in writes]).encode()
    what = f"deleting {len(writes):,} entries of {namespace}"
    return remote.writing("POST", remote.targets.bulk(id_, "delete"), what, body)


def unknown(error: StoreError) -> WriteResult:
    """The result of a write whose outcome is unknown, while other writes of the same call are done."""
    return WriteResult(WriteStatus.UNKNOWN, error=str(error))


def results_of(where: str, call: Request, answer: Response, writes: Sequence[Named]) -> list[WriteResult]:
    """The results of one call; all are unknown if its numbers contradict each other. Raises LostAnswer unless the API reports a
    success."""
    envelope = answer.data if isinstance(answer.data, dict) else {}
    result = envelope.get("result") or {}
    if envelope.get("success") is not True or not isinstance(result, dict):
        raise unconfirmed(where, call, answer)
    names = result.get("unsuccessful_keys") or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise unconfirmed(where, call, answer)
    failed, done = set(names), result.get("successful_key_count")
    is_consistent = done is None or done == len(writes) - len(failed)
    return [_DONE if is_consistent and name not in failed else _UNKNOWN for name, _ in writes]


def _lifetime(write: Write, now: float) -> dict[str, int]:
    """The expiration; relative only if it is so soon that a difference of clocks matters."""
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
