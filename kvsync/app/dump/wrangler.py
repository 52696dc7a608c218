"""Import of a file for `wrangler kv bulk put`: `[{"key": …, "value": …, "metadata": …}, …]`."""

from __future__ import annotations

import binascii
from base64 import b64decode
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from kvsync.app.dump.export_file import read_export
from kvsync.config.model import StoreConfig
from kvsync.errors import InvalidInput, Origin, Problem, UsageError
from kvsync.model.canonical import fingerprint
from kvsync.model.entry import Actual, Content, Mark, Target
from kvsync.model.key_format import KeyFormat
from kvsync.stores.cloudflare_kv.metadata import parts_of
from kvsync.util.escaping import is_unicode
from kvsync.yaml.problems import name_hint, quoted

_TYPE: Final = "cloudflare-kv"
_MEMBERS: Final = ("key", "value", "base64", "expiration", "expiration_ttl", "metadata")
_LATEST: Final = 253402300799
"""The last second of the year 9999."""

_HOW: Final = 'a list of {"key": …, "value": …} with base64, expiration, expiration_ttl and metadata where needed'


@dataclass(frozen=True, slots=True)
class BulkFile:
    """The entries of the one target, and the keys that are none of its key format."""

    entries: dict[Target, list[Actual]]
    outside_namespace: tuple[str, ...]


def read_bulk(file: Path, store: StoreConfig, namespace: str | None, owner: str) -> BulkFile:
    """Read a file as if `owner` had written it to a namespace. Raises UsageError and InvalidInput, with all that is wrong."""
    if store.type != _TYPE:
        raise UsageError(f"--wrangler needs a store of type {_TYPE}; {store.name} has type {store.type}")
    if namespace is None:
        raise UsageError(f"the file does not name its namespace; use {store.name}/NAMESPACE")
    keys = KeyFormat(store.key_format or "{key}")
    entries: dict[str, Actual] = {}
    numbers: dict[str, int] = {}
    outside_namespace: list[str] = []
    problems: list[Problem] = []
    for number, pair in enumerate(_pairs(file)):
        try:
            name, content, mark, expires_at = _read(pair, owner)
            if numbers.setdefault(name, number) != number:
                raise ValueError(f"the same key as entry {numbers[name]}")
        except ValueError as error:
            problems.append(Problem(f"{_named(number, pair)}: {error}", Origin(str(file), 1, 1), _HOW))
            continue
        identity = keys.decode(namespace, name)
        if identity is None:
            outside_namespace.append(name)
        else:
            entries[name] = Actual(identity, None, fingerprint(content), content, expires_at=expires_at, mark=mark)
    if problems:
        raise InvalidInput(problems)
    return BulkFile({Target(store.name, namespace): list(entries.values())}, tuple(outside_namespace))


def _named(number: int, pair: Any) -> str:
    key = pair.get("key") if isinstance(pair, dict) else None
    return f"entry {number} ({quoted(key)})" if isinstance(key, str) else f"entry {number}"


def _pairs(file: Path) -> list[Any]:
    pairs = read_export(file, _HOW)
    if not isinstance(pairs, list):
        raise InvalidInput([Problem("not a list of entries", Origin(str(file), 1, 1), _HOW)])
    return pairs


def _read(pair: Any, owner: str) -> tuple[str, Content, Mark | None, float | None]:
    """Name, content, mark (for a TTL) and end of one entry. Raises ValueError with the reason, which repeats no value."""
    if not isinstance(pair, dict) or not isinstance(pair.get("key"), str):
        raise ValueError("not a mapping with a key")
    for name in pair:
        if name not in _MEMBERS:
            raise ValueError(f"unknown member {quoted(name)} ({name_hint(name, _MEMBERS)})")
    if not is_unicode(pair["key"]):
        raise ValueError("its key is not Unicode text: it has half of a surrogate pair")
    parts = parts_of(pair.get("metadata"))
    content = Content(_value(pair), parts.content_type, parts.tags, parts.metadata)
    ttl, expiration = (_number(pair, name) for name in ("expiration_ttl", "expiration"))
    if ttl is not None:
        return pair["key"], content, Mark(owner, fingerprint(content), ttl), None
    return pair["key"], content, None, None if expiration is None else float(expiration)


def _value(pair: dict[str, Any]) -> bytes:
    value, is_base64 = pair.get("value"), pair.get("base64", False)
    if not isinstance(value, str):
        raise ValueError("its value is not text")
    if not isinstance(is_base64, bool):
        raise ValueError("base64 is neither true nor false")
    try:
        return b64decode(value, validate=True) if is_base64 else value.encode()
    except (binascii.Error, UnicodeEncodeError, ValueError):
        raise ValueError("its value is not base64, or not Unicode text") from None


def _number(pair: dict[str, Any], name: str) -> int | None:
    number = pair.get(name)
    if number is not None and (not isinstance(number, int) or isinstance(number, bool) or number <= 0):
        raise ValueError(f"{name} is not a positive number of seconds")
    if number is not None and number > _LATEST:
        raise ValueError(f"{name} is after the year 9999; write seconds, not milliseconds")
    return number
