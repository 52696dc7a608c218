"""Import of an az CLI export: `az appconfig kv export -d file --format json --profile appconfig/kvset`."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from kvsync.config.model import StoreConfig
from kvsync.errors import InvalidInput, Origin, Problem, UsageError
from kvsync.model.entry import Actual, Target
from kvsync.model.key_format import KeyFormat
from kvsync.stores.azure_appconfig import KEY_FORMAT
from kvsync.stores.azure_appconfig.items import row_of, to_actual

_TYPE: Final = "azure-appconfig"
_HOW: Final = "export it with --format json --profile appconfig/kvset"


@dataclass(frozen=True, slots=True)
class Kvset:
    """The entries by target, and the keys that belong to no namespace, or not to the one that was asked for."""

    entries: dict[Target, list[Actual]]
    outside_namespace: tuple[str, ...]


def read_kvset(file: Path, store: StoreConfig, namespace: str | None, owner: str) -> Kvset:
    """Read an export as if `owner` had written it; `namespace` None takes all of it. Raises UsageError and InvalidInput."""
    if store.type != _TYPE:
        raise UsageError(f"--kvset needs a store of type {_TYPE}; {store.name} has type {store.type}")
    keys = KeyFormat(store.key_format or KEY_FORMAT, native_labels=True)
    entries: dict[Target, list[Actual]] = {}
    outside_namespace: list[str] = []
    for item in _items(file):
        home = namespace or keys.namespace_of(item["key"])
        actual = None if home is None else _entry(item, home, keys, file)
        if home is None or actual is None:
            outside_namespace.append(item["key"])
        else:
            mark = actual.mark and replace(actual.mark, owner=owner)
            entries.setdefault(Target(store.name, home), []).append(replace(actual, mark=mark))
    return Kvset(dict(sorted(entries.items())), tuple(outside_namespace))


def _items(file: Path) -> list[dict[str, Any]]:
    try:
        items = json.loads(file.read_bytes())["items"]
    except OSError as error:
        raise UsageError(f"{file}: cannot read the file: {error.strerror}") from None
    except json.JSONDecodeError as error:
        raise _invalid(file, f"not valid JSON: {error.msg}", error.lineno, error.colno) from None
    except (ValueError, RecursionError, KeyError, TypeError):
        raise _invalid(file, "not a list of key-values") from None
    if not isinstance(items, list) or not all(
        isinstance(one, dict) and isinstance(one.get("key"), str) for one in items
    ):
        raise _invalid(file, "its items are not key-values")
    return items


def _entry(item: dict[str, Any], namespace: str, keys: KeyFormat, file: Path) -> Actual | None:
    try:
        row = row_of({"etag": "", **item})
    except (KeyError, TypeError, AttributeError):
        raise _invalid(file, f"the key-value {item['key']!r} is not in this profile") from None
    identity = keys.decode(namespace, row.key, row.label)
    home = None if keys.namespace_of(row.key) == namespace else namespace
    return None if identity is None else to_actual(identity, row, home)


def _invalid(file: Path, message: str, line: int = 1, column: int = 1) -> InvalidInput:
    return InvalidInput([Problem(message, Origin(str(file), line, column), _HOW)])
