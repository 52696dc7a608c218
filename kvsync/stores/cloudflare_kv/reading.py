"""Reads values, a hundred per call, or one by one if they are not text.

    100 names ── bulk get ──> values, metadata, ends
        └─ refused, since one of them is not text (or all are too long together) ──> two halves, until it is alone
                                                                          └──> its own value and metadata, two calls

Where a whole hundred is absent the others most likely are as well, as before many entries are made: a listing tells that of a
thousand at a time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import aclosing
from typing import Any, Final, NamedTuple

from kvsync.errors import PermanentError
from kvsync.http.failures import cleaned, said, understood
from kvsync.http.model import Request, Response
from kvsync.http.moments import moment_from
from kvsync.model.entry import Identity
from kvsync.stores.cloudflare_kv.answers import NO_TEXT
from kvsync.stores.cloudflare_kv.remote import Remote
from kvsync.stores.cloudflare_kv.token import error_codes
from kvsync.stores.partial import ReadFailures
from kvsync.util.concurrency import gather_or_cancel

MOST: Final = 100
"""Names in one bulk get."""


class StoredValue(NamedTuple):
    """One entry as it was read."""

    value: bytes
    metadata: Any
    expiration: float | None


class Reader:
    """Reads from one namespace: `namespace` is its name, `id_` its id. `binary` are names of values that are known to be no
    text; those that are found are added. `failures` takes what cannot be read."""

    def __init__(self, remote: Remote, namespace: str, id_: str, binary: set[str], failures: ReadFailures) -> None:
        self._remote, self._namespace, self._id, self._binary = remote, namespace, id_, binary
        self._failures = failures
        self._named: Mapping[str, Identity] = {}

    async def read(self, named: Mapping[str, Identity]) -> dict[str, StoredValue]:
        """Those of the entries that are there, by their names. Raises StoreError."""
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
        """The names without those that a listing shows to be absent; it is given up when reading is as cheap."""
        if len(names) <= MOST:
            return list(names)
        calls = max(1, len(names) // MOST // 2)
        listed: set[str] = set()
        last = b""
        async with aclosing(self._remote.pages(self._namespace, self._id, _common_start(names))) as pages:
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
        if not names:
            return {}
        answer = await self._bulk_get(names)
        if answer.status == 200:
            return self._values(answer, names)
        if answer.status == 400 and NO_TEXT not in error_codes(answer):
            raise PermanentError(f"{self._remote.where}: reading {self._namespace} failed: {cleaned(said(answer))}")
        if len(names) == 1:
            self._binary.add(names[0])
            return await self._one(names[0])
        middle = len(names) // 2
        first, second = await gather_or_cancel(map(self._many, (names[:middle], names[middle:])))
        return first | second

    async def _bulk_get(self, names: Sequence[str]) -> Response:
        target, what = self._remote.targets.bulk(self._id, "get"), f"reading {self._namespace}"
        wanted = {"keys": list(names), "type": "text", "withMetadata": True}
        return await self._remote.post(self._namespace, target, what, wanted, expects=(200, 400, 413))

    def _values(self, answer: Response, names: Sequence[str]) -> dict[str, StoredValue]:
        with understood(self._remote.where, f"reading {self._namespace}"):
            values: Mapping[str, Any] = answer.data["result"]["values"]
            return {name: _held(values[name]) for name in names if values.get(name) is not None}

    async def _one(self, name: str) -> dict[str, StoredValue]:
        return await self._failures.note(self._named[name], self._alone(name)) or {}

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
        return await self._remote.ask(self._namespace, call)


def _common_start(names: Sequence[str]) -> str:
    first, last = min(names), max(names)
    same = (index for index, (one, other) in enumerate(zip(first, last, strict=False)) if one != other)
    return first[: next(same, len(first))]


def _held(data: Mapping[str, Any]) -> StoredValue:
    expiration = data.get("expiration")
    if not isinstance(expiration, int | float | None):
        raise TypeError("the expiration of an entry must be a number")
    return StoredValue(data["value"].encode(), data.get("metadata"), moment_from(expiration))
