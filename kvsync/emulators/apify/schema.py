"""Schemas of a store: collections of keys, and the allowed records."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from jsonschema.exceptions import SchemaError, best_match
from jsonschema.validators import validator_for
from referencing import Registry
from referencing.exceptions import Unresolvable

from kvsync.emulators.apify.encodings import decode
from kvsync.emulators.apify.model import Record
from kvsync.emulators.apify.problems import Refused, invalid

_VERSION: Final = 1
_JSON: Final = "application/json"
_NO_OTHERS: Final[Registry[Any]] = Registry()
"""A schema may point into itself alone: nothing is fetched from anywhere."""


def check_schema(document: Any) -> dict[str, Any]:
    """The schema, if it is one. Raises Refused (400)."""
    if not isinstance(document, dict):
        raise _invalid("it must be an object")
    if document.get("actorKeyValueStoreSchemaVersion") != _VERSION:
        raise _invalid(f"actorKeyValueStoreSchemaVersion must be {_VERSION}")
    collections = document.get("collections", {})
    if not isinstance(collections, dict):
        raise _invalid("collections must be an object")
    for name, collection in collections.items():
        _check_collection(name, collection)
    return document


def _check_collection(name: str, collection: Any) -> None:
    if not isinstance(collection, dict):
        raise _invalid(f"collection {name} must be an object")
    keys = [collection[member] for member in ("key", "keyPrefix") if member in collection]
    if len(keys) != 1 or not isinstance(keys[0], str):
        raise _invalid(f"collection {name} must have either key or keyPrefix")
    types = collection.get("contentTypes", [])
    if not isinstance(types, list) or not all(isinstance(type_, str) for type_ in types):
        raise _invalid(f"contentTypes of collection {name} must be a list of texts")
    if "jsonSchema" in collection:
        _check_json_schema(name, collection["jsonSchema"])


def _check_json_schema(name: str, schema: Any) -> None:
    if not isinstance(schema, dict):
        raise _invalid(f"jsonSchema of collection {name} must be an object")
    try:
        validator_for(schema).check_schema(schema)
    except SchemaError as error:
        raise _invalid(f"jsonSchema of collection {name}: {error.message}") from None


def collection(schema: Mapping[str, Any] | None, name: str) -> Mapping[str, Any]:
    """A collection by name. Raises Refused (400) when there is none."""
    found: Mapping[str, Any] | None = (schema or {}).get("collections", {}).get(name)
    if found is None:
        raise invalid(f"The store has no collection {name!r} in its schema", "invalid-collection")
    return found


def holds(collection: Mapping[str, Any], key: str) -> bool:
    """Whether a key belongs to a collection."""
    if "key" in collection:
        return bool(key == collection["key"])
    return key.startswith(collection["keyPrefix"])


def check_record(schema: Mapping[str, Any] | None, key: str, record: Record) -> None:
    """Whether every collection that a key belongs to takes the record. Raises Refused (400)."""
    for name, found in (schema or {}).get("collections", {}).items():
        if holds(found, key):
            _check_type(name, found.get("contentTypes"), record)
            if "jsonSchema" in found:
                _check_content(name, found["jsonSchema"], record)


def _check_type(name: str, types: list[str] | None, record: Record) -> None:
    if types and media_type(record.content_type) not in (media_type(type_) for type_ in types):
        text = f"Collection {name} takes {', '.join(types)}, not {record.content_type}"
        raise invalid(text, "schema-validation")


def _check_content(name: str, schema: Any, record: Record) -> None:
    if media_type(record.content_type) != _JSON:
        raise invalid(f"Collection {name} has a JSON schema, so it takes {_JSON} only", "schema-validation")
    try:
        document = json.loads(decode(record.body, record.encoding))
    except (ValueError, RecursionError):
        raise invalid("The record is not valid JSON", "schema-validation") from None
    try:
        error = best_match(validator_for(schema)(schema, registry=_NO_OTHERS).iter_errors(document))
    except Unresolvable as unresolvable:
        raise invalid(f"Collection {name}: {unresolvable}", "schema-validation") from None
    if error is not None:
        raise invalid(f"Collection {name}: {error.json_path}: {error.message}", "schema-validation")


def media_type(content_type: str) -> str:
    """A content type without its parameters, in small letters."""
    return content_type.partition(";")[0].strip().lower()


def _invalid(what: str) -> Refused:
    return invalid(f"The schema of the store is not valid: {what}", "store-schema-invalid")
