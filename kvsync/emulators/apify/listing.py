"""Paged listings of stores and keys, and their parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final

from kvsync.emulators.apify import shown
from kvsync.emulators.apify.access import Caller, require_user
from kvsync.emulators.apify.model import Record, Store
from kvsync.emulators.apify.problems import done, invalid
from kvsync.emulators.apify.schema import collection, holds
from kvsync.emulators.apify.stores import Stores
from kvsync.emulators.model import Answer, Request

_MOST: Final = 1_000
_OWNERSHIP: Final = ("ownedByMe", "sharedWithMe")


def stores(known: Stores, caller: Caller, request: Request) -> Answer:
    """One page of the caller's stores, oldest first. Nobody shares any, so those are none."""
    user, asked = require_user(caller), dict(request.query)
    unnamed, desc = flag(asked, "unnamed"), flag(asked, "desc")
    offset, limit = _number(asked, "offset"), _limit(asked)
    ownership = asked.get("ownership") or _OWNERSHIP[0]
    if ownership not in _OWNERSHIP:
        raise invalid(f"Invalid value provided: ownership must be one of {', '.join(_OWNERSHIP)}", "invalid-parameter")
    found = known.of(user, unnamed=unnamed) if ownership == _OWNERSHIP[0] else []
    page = (found[::-1] if desc else found)[offset : offset + limit]
    items = [
        shown.store(store, known.contents(store).size, request.origin, writer=caller.writes(store)) for store in page
    ]
    counts = {"total": len(found), "offset": offset, "limit": limit, "count": len(items)}
    return done({**counts, "desc": desc, "unnamed": unnamed, "items": items})


def keys(known: Stores, store: Store, caller: Caller, request: Request) -> Answer:
    """One page of keys; the last one says with null that nothing follows."""
    asked = dict(request.query)
    limit, start = _limit(asked), asked.get("exclusiveStartKey", "")
    found = list(islice(chosen(known, store, asked, start), limit + 1))
    page, more = found[:limit], len(found) > limit
    writer = caller.writes(store)
    return done(
        {
            "items": [shown.key(store, key, record, request.origin, writer=writer) for key, record in page],
            "count": len(page),
            "limit": limit,
            "exclusiveStartKey": start or None,
            "isTruncated": more,
            "nextExclusiveStartKey": page[-1][0] if more else None,
        }
    )


def chosen(known: Stores, store: Store, asked: Mapping[str, str], start: str = "") -> Iterator[tuple[str, Record]]:
    """The records that `prefix` and `collection` ask for. Raises Refused (400)."""
    items = known.contents(store).items(asked.get("prefix", ""), start)
    if not (name := asked.get("collection", "")):
        return items
    wanted = collection(store.schema, name)
    return ((key, record) for key, record in items if holds(wanted, key))


def flag(asked: Mapping[str, Any], name: str) -> bool:
    """Whether a parameter is set: `1` or `true`."""
    return str(asked.get(name, "")).lower() in ("1", "true")


def _limit(asked: Mapping[str, str]) -> int:
    """As many as a page may have; 0 asks for no limit of one's own."""
    return min(_number(asked, "limit") or _MOST, _MOST)


def _number(asked: Mapping[str, str], name: str) -> int:
    text = asked.get(name) or "0"
    if not (text.isascii() and text.isdecimal() and len(text) <= 15):
        raise invalid(f"Invalid value provided: {name} must be a number that is not negative", "invalid-parameter")
    return int(text)
