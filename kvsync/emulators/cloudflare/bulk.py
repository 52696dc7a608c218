"""Bulk operations, which validate everything before they write."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from kvsync.emulators.cloudflare.checks import (
    MALFORMED,
    check_metadata,
    check_name,
    check_value,
    encode,
    expiry,
    read_json,
    refusal,
)
from kvsync.emulators.cloudflare.contents import Contents, View
from kvsync.emulators.cloudflare.envelope import done
from kvsync.emulators.cloudflare.model import LARGEST_BULK, LARGEST_BULK_GET, LARGEST_VALUE, Pair
from kvsync.emulators.model import Answer

PUT, REMOVE, GET = "bulk put", "bulk remove keys", "bulk get keys"
_ARGUMENT: Final = 10029


def read_pairs(body: bytes, now: float) -> dict[str, Pair]:
    """The pairs of a bulk put by key. Raises Refused."""
    document = read_json(PUT, body)
    if not isinstance(document, list):
        raise refusal(PUT, 400, MALFORMED, "the request body is not an array of key/value pairs")
    if len(document) > LARGEST_BULK:
        text = f"received {len(document)} key/value pairs, but max allowed per request is: {LARGEST_BULK}"
        raise refusal(PUT, 400, MALFORMED, text)
    pairs: dict[str, Pair] = {}
    for item in document:
        name, pair = _pair(item, now)
        if pairs.setdefault(name, pair) != pair:
            raise refusal(PUT, 400, MALFORMED, f"received duplicate key with different values: {name}")
    return pairs


def read_names(body: bytes) -> list[str]:
    """The keys of a bulk delete, each once. Raises Refused."""
    names = read_json(REMOVE, body)
    if not _are_texts(names):
        raise refusal(REMOVE, 400, MALFORMED, "the request body is not an array of key names")
    if len(names) > LARGEST_BULK:
        text = f"received {len(names)} keys, but max allowed per request is: {LARGEST_BULK}"
        raise refusal(REMOVE, 400, MALFORMED, text)
    return list(dict.fromkeys(check_name(REMOVE, name) for name in names))


def written(names: Iterable[str], unsuccessful: Iterable[str]) -> Answer:
    """What became of a bulk put or delete."""
    bad = list(unsuccessful)
    return done({"successful_key_count": len(list(names)) - len(bad), "unsuccessful_keys": bad})


def read_wanted(body: bytes) -> dict[str, Any]:
    """The body of a bulk get. Raises Refused."""
    wanted = read_json(GET, body)
    if not isinstance(wanted, dict) or not _are_texts(wanted.get("keys")):
        raise refusal(GET, 400, _ARGUMENT, "the request body has no array of keys")
    if not wanted["keys"]:
        raise refusal(GET, 400, _ARGUMENT, "You must request a minimum of 1 key")
    if len(wanted["keys"]) > LARGEST_BULK_GET:
        raise refusal(GET, 400, _ARGUMENT, f"You can request a maximum of {LARGEST_BULK_GET} keys")
    if wanted.get("type") not in (None, "text", "json"):
        raise refusal(GET, 400, _ARGUMENT, f'"{wanted["type"]}" is not a valid type. Use "json" or "text"')
    for name in wanted["keys"]:
        check_name(GET, name)
    return wanted


def get(contents: Contents, wanted: Mapping[str, Any], view: View) -> Answer:
    """Values by key, null for keys that are not there. One value that is not text spoils them all."""
    found = {name: contents.get(name, view) for name in wanted["keys"]}
    if sum(len(pair.value) for pair in found.values() if pair) > LARGEST_VALUE:
        text = f"Total size of request exceeds the limit of {LARGEST_VALUE // 1024**2}MB"
        raise refusal(GET, 413, _ARGUMENT, text)
    read = {name: pair and _value(pair, wanted.get("type") or "text") for name, pair in found.items()}
    if not wanted.get("withMetadata"):
        return done({"values": read})
    return done({"values": {name: pair and _with_metadata(read[name], pair) for name, pair in found.items()}})


def _pair(item: Any, now: float) -> tuple[str, Pair]:
    if not isinstance(item, dict) or not _are_texts([item.get("key"), item.get("value")]):
        raise refusal(PUT, 400, MALFORMED, "each pair needs a key and a value, and both are strings")
    name = check_name(PUT, item["key"])
    value = _bytes(item["value"], item.get("base64"))
    metadata = check_metadata(PUT, item.get("metadata"))
    end = expiry(PUT, item.get("expiration_ttl"), item.get("expiration"), now)
    return name, Pair(check_value(PUT, value), metadata, end)


def _bytes(text: str, encoded: Any) -> bytes:
    if encoded not in (None, True, False):
        raise refusal(PUT, 400, MALFORMED, "base64 is true or false")
    if not encoded:
        return encode(PUT, text)
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise refusal(PUT, 400, MALFORMED, "could not decode value as base64") from None


def _value(pair: Pair, kind: str) -> Any:
    try:
        text = pair.value.decode()
        return json.loads(text) if kind == "json" else text
    except ValueError:
        text = f"At least one of the requested keys corresponds to a non-{kind} value"
        raise refusal(GET, 400, _ARGUMENT, text) from None


def _with_metadata(value: Any, pair: Pair) -> dict[str, Any]:
    end = {} if pair.expiration is None else {"expiration": pair.expiration}
    return {"value": value, "metadata": pair.metadata, **end}


def _are_texts(items: Any) -> bool:
    return isinstance(items, list) and all(isinstance(item, str) for item in items)
