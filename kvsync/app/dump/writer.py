"""Serializes entries as the text of a state file. Pure."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

from kvsync.app.dump.yaml_text import Data, Node, block
from kvsync.model.canonical import canonical_json_text
from kvsync.model.entry import Content, Identity, Target, identity_order
from kvsync.model.exact_json import read_json
from kvsync.model.feature_flags import FLAG_TYPE, flag_fields
from kvsync.rendering.words import duration, moment

_JSON: Final = "application/json"
_DEEPEST: Final = 50
_ENORMOUS_NUMBER: Final = re.compile(rb"[0-9]{1000}")


@dataclass(frozen=True, slots=True)
class DumpEntry:
    """One entry to be written down, with the fingerprint of its content in the store. `reference` represents a value that must
    not be, or does not fit, in the file: the form (`env`, `file` or `sops`) and what it names. `is_flag` is true under the
    keys of feature flags, `is_untyped` where the store keeps no content type for JSON, so that an object or a list may be JSON
    without one."""

    identity: Identity
    content: Content
    fingerprint: bytes = b""
    ttl: int | None = None
    expires_at: float | None = None
    protected: bool = False
    sensitive: bool = False
    reference: tuple[str, ...] | None = None
    is_flag: bool = False
    is_untyped: bool = False


def write(target: Target, entries: Iterable[DumpEntry]) -> str:
    """The documents of a state file: one, and a second for labelled entries that must not inherit what the entry without a
    label says of itself."""
    plain: dict[str, Node] = {}
    apart: dict[str, Node] = {}
    ordered = sorted(entries, key=lambda entry: identity_order(entry.identity))
    for name, group in groupby(ordered, key=lambda entry: entry.identity.key):
        bare, labelled = _split(group)
        if bare is not None and labelled and _options(bare):
            plain[name], apart[name] = _entry(bare), {"labels": labelled}
        elif labelled:
            plain[name] = (_value(bare) if bare else {}) | {"labels": labelled}
        elif bare is not None:
            plain[name] = _entry(bare)
    return "---\n".join(_document(target, keys) for keys in (plain, apart) if keys)


def _document(target: Target, keys: dict[str, Node]) -> str:
    head: dict[str, Node] = {"store": target.store, "namespace": target.namespace}
    return "".join([*block(head), "keys:\n", *block(keys, 2)])


def _split(entries: Iterable[DumpEntry]) -> tuple[DumpEntry | None, dict[str, Node]]:
    """The entry without a label, and the others by label."""
    bare, labelled = None, {}
    for entry in entries:
        if entry.identity.label is None:
            bare = entry
        else:
            labelled[entry.identity.label] = _entry(entry)
    return bare, labelled


def _entry(entry: DumpEntry) -> Node:
    """An entry under its key or label: the text alone where nothing else is to be said."""
    value, options = _value(entry), _options(entry)
    return value["value"] if not options and "value" in value else value | options


def _value(entry: DumpEntry) -> dict[str, Node]:
    """The form of the value, and the value."""
    if entry.reference is not None:
        form, *names = entry.reference
        return {form: {"file": names[0], "key": names[1]} if form == "sops" else names[0]}
    if (fields := _feature(entry)) is not None:
        return {"feature": Data(fields)}
    if _is_json(entry):
        return {"json": Data(read_json(entry.content.value.decode()))}
    try:
        return {"value": entry.content.value.decode()}
    except UnicodeDecodeError:
        return {"base64": Data(b64encode(entry.content.value).decode())}


def _options(entry: DumpEntry) -> dict[str, Node]:
    """What is said of an entry besides its value."""
    _, content_type, tags, metadata, description = entry.content
    options: dict[str, Node] = {}
    implied = content_type == _JSON and "json" in _value(entry)
    if content_type is not None and not (implied or "feature" in _value(entry)):
        options["content_type"] = content_type
    if tags:
        options["tags"] = dict(tags)
    if metadata is not None:
        options["metadata"] = Data(read_json(metadata))
    if description:
        options["description"] = description
    if entry.ttl is not None:
        options["ttl"] = duration(entry.ttl)
    elif entry.expires_at is not None:
        options["expires_at"] = Data(moment(entry.expires_at))
    if entry.protected:
        options["protected"] = "true"
    if entry.sensitive and not (entry.reference and entry.reference[0] in ("env", "sops")):
        options["sensitive"] = "true"
    return options


def _feature(entry: DumpEntry) -> dict[str, Any] | None:
    """The fields of a feature flag; None for an entry that `feature:` does not give again."""
    if not entry.is_flag or entry.content.content_type != FLAG_TYPE:
        return None
    return flag_fields(entry.identity.key, entry.content.value)


def _is_json(entry: DumpEntry) -> bool:
    """True for a value that `json:` would give again, byte for byte."""
    value, kind = entry.content.value, entry.content.content_type
    is_typed = kind == _JSON or (kind is None and entry.is_untyped and value[:1] in (b"{", b"["))
    if not is_typed or value == b"null" or _ENORMOUS_NUMBER.search(value):
        return False
    return canonical_json_text(value) == value and _depth(read_json(value.decode())) < _DEEPEST


def _depth(data: Any) -> int:
    """How many levels of lists and objects there are."""
    members = data.values() if isinstance(data, dict) else data if isinstance(data, list) else None
    return 0 if members is None else 1 + max(map(_depth, members), default=0)
