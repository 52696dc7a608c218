"""Import of an az CLI export: `az appconfig kv export -d file --format json --profile appconfig/kvset`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from kvsync.app.dump.export_file import read_export
from kvsync.config.model import StoreConfig
from kvsync.errors import InvalidInput, Origin, Problem, UsageError
from kvsync.model.entry import Actual, Identity, Target
from kvsync.model.key_format import KeyFormat
from kvsync.stores.azure_appconfig import AzureAppConfigStore
from kvsync.stores.azure_appconfig.items import Row, row_of, to_actual
from kvsync.util.escaping import is_unicode
from kvsync.yaml.problems import quoted

_TYPE: Final = "azure-appconfig"
_TEXTS: Final = ("value", "label", "content_type", "description")
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
    keys = KeyFormat(store.key_format or AzureAppConfigStore.key_format, native_labels=True)
    entries: dict[Target, dict[Identity, Actual]] = {}
    outside_namespace: list[str] = []
    problems: list[Problem] = []
    for number, item in enumerate(_items(file)):
        try:
            row = _row(item)
            home = namespace or keys.namespace_of(row.key)
            actual = None if home is None else _entry(row, home, keys)
            if home is None or actual is None:
                outside_namespace.append(row.key)
            else:
                mark = actual.mark and replace(actual.mark, owner=owner)
                _add(entries.setdefault(Target(store.name, home), {}), replace(actual, mark=mark))
        except ValueError as error:
            problems.append(Problem(f"{_named(number, item)}: {error}", Origin(str(file), 1, 1), _HOW))
    if problems:
        raise InvalidInput(problems)
    return Kvset({target: list(found.values()) for target, found in sorted(entries.items())}, tuple(outside_namespace))


def _named(number: int, item: Any) -> str:
    key = item.get("key") if isinstance(item, dict) else None
    return f"item {number} ({quoted(key)})" if isinstance(key, str) else f"item {number}"


def _add(entries: dict[Identity, Actual], actual: Actual) -> None:
    other = entries.setdefault(actual.identity, actual)
    if other.content != actual.content:
        raise ValueError("the same key and label as an item before it, with other content")


def _items(file: Path) -> list[Any]:
    export = read_export(file, _HOW)
    if not isinstance(export, dict) or "items" not in export:
        raise _invalid(file, "not a list of key-values")
    if not isinstance(export["items"], list):
        raise _invalid(file, "its items are not a list")
    return export["items"]


def _row(item: Any) -> Row:
    """An item of the export. Raises ValueError with the reason, which repeats no value."""
    if not isinstance(item, dict) or not isinstance(item.get("key"), str):
        raise ValueError("not a key-value with a key")
    for name in _TEXTS:
        if not isinstance(item.get(name), str | None):
            raise ValueError(f"its {name} is not text")
    tags = item.get("tags") or {}
    if not isinstance(tags, dict) or not all(isinstance(text, str | None) for text in tags.values()):
        raise ValueError("its tags are not pairs of text")
    texts = [item["key"], *(item.get(name) or "" for name in _TEXTS)]
    if not all(map(is_unicode, [*texts, *tags, *(text or "" for text in tags.values())])):
        raise ValueError("it is not Unicode text: it has half of a surrogate pair")
    return row_of({**item, "etag": ""})


def _entry(row: Row, namespace: str, keys: KeyFormat) -> Actual | None:
    identity = keys.decode(namespace, row.key, row.label)
    home = None if keys.namespace_of(row.key) == namespace else namespace
    return None if identity is None else to_actual(identity, row, home)


def _invalid(file: Path, message: str) -> InvalidInput:
    return InvalidInput([Problem(message, Origin(str(file), 1, 1), _HOW)])
