"""Writes one entry at a time, with an exact lifetime."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from kvsync.errors import LostAnswer, PermanentError
from kvsync.http.failures import unconfirmed
from kvsync.http.model import Request, Response
from kvsync.http.moments import moment_from
from kvsync.stores.base import Write
from kvsync.stores.voximplant.limits import LONGEST
from kvsync.stores.voximplant.remote import Storage

_CLOSE: Final = 60
"""Seconds by which an entry may end at another time than was asked for."""

Lifetime = Mapping[str, int]
"""`ttl` or `expires_at`, never both."""


def lifetime_of(write: Write, now: float) -> Lifetime:
    """What to ask for. A lifetime that is counted from now on is left for the server's clock to count, and so is one that is
    longer than the service keeps anything: what is left of that is renewed. Raises ValueError for what would have ended."""
    if write.expires_at is None:
        return {"ttl": LONGEST}
    left = math.ceil(write.expires_at - now)
    if left < 1:
        raise ValueError("it expires before it can be written")
    is_counted = write.mark is not None and write.mark.ttl is not None
    return (
        {"ttl": min(left, LONGEST)}
        if is_counted or left > LONGEST - _CLOSE
        else {"expires_at": math.ceil(write.expires_at)}
    )


class Writer:
    """Writes entries, none while pages are listed. It is not documented whether writing an equal value again moves its end: the
    first such write shows it. Where it does not, the entry is deleted and written in one go."""

    def __init__(self) -> None:
        self._renews = False

    async def put(self, storage: Storage, key: str, value: str, lifetime: Lifetime, *, is_secret: bool = False) -> None:
        """Write one entry, and make sure that it lives as long as it must. Raises StoreError."""
        async with storage.quiet:
            item = await _set(storage, key, value, lifetime, is_secret)
            if self._renews or item.get("value") != value or _lives(storage, item, lifetime):
                return
            found = await storage.item(key) or {}
            if found.get("value") != value:
                return  # someone else's by now, which whoever reads it again finds out
            if _lives(storage, found, lifetime):
                self._renews = True
                return
            await _delete(storage, key)
            again = {name: number - 1 for name, number in lifetime.items()}  # or it might pass for that call sent twice
            new = await _set(storage, key, value, again, is_secret)
            self._renews = not _lives(storage, new, lifetime)  # then it is the clocks that are so far apart

    async def delete(self, storage: Storage, key: str) -> None:
        """Delete one entry; that it is gone already is as good. Raises StoreError."""
        async with storage.quiet:
            await _delete(storage, key)


async def _delete(storage: Storage, key: str) -> None:
    what = f"deleting {key}"
    answer = await storage.change("DelKeyValueItem", what, {"key": key})
    problem = answer.problem()
    if problem.get("error") is None and not isinstance(problem.get("result"), int | float):
        raise _unconfirmed(storage, what, answer)


async def _set(storage: Storage, key: str, value: str, lifetime: Lifetime, is_secret: bool) -> Mapping[str, Any]:
    what = f"writing {key}"
    parameters: dict[str, str | int] = {"key": key, "value": value, **lifetime}
    answer = await storage.change("SetKeyValueItem", what, parameters, is_secret=is_secret)
    if answer.problem().get("error") is not None:
        raise PermanentError(f"{storage.where}: {what} failed: the service finds no record to write")
    result = answer.problem().get("result")
    if not isinstance(result, dict) or result.get("key") != key:
        raise _unconfirmed(storage, what, answer, is_secret=is_secret)
    return result


def _unconfirmed(storage: Storage, what: str, answer: Response, *, is_secret: bool = False) -> LostAnswer:
    """The error of a write that the service does not say to have made."""
    return unconfirmed(storage.where, Request("POST", "", what, is_secret=is_secret), answer)


def _lives(storage: Storage, item: Mapping[str, Any], lifetime: Lifetime) -> bool:
    """True when an item ends about when it must; clocks may disagree a little."""
    now, end = storage.clock.now(), moment_from(item.get("expires_at"))
    until = lifetime["expires_at"] if "expires_at" in lifetime else now + lifetime["ttl"]
    return end is None or abs(end - until) <= max(_CLOSE, (until - now) / 10)
