"""JSON Schema of `kvsync.yaml` and of its overlays, made of the tables of fields that the configuration is read by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from kvsync.config.layers import REMOVE
from kvsync.config.load import HEAD
from kvsync.yaml.fields import Schema, fields_schema
from kvsync.yaml.variables import VARIABLE_NAME

_VARIABLE: Final[Schema] = {"type": "string", "pattern": rf"\$\{{{VARIABLE_NAME}\}}"}
_SCALARS: Final = frozenset({"string", "number", "integer", "boolean"})
_REMOVAL: Final[Schema] = {
    "type": "object",
    "properties": {REMOVE: {"const": True, "description": "Remove this from the configuration."}},
    "required": [REMOVE],
    "additionalProperties": False,
}


def main_schema() -> Schema:
    """The rules of `kvsync.yaml`, with the fields of every store type that is installed."""
    from kvsync.config.fields import config_fields
    from kvsync.stores.registry import InstalledStoreTypes

    schema = fields_schema(config_fields(InstalledStoreTypes()))
    members = schema["properties"]
    schema["properties"] = {
        name: member if name in HEAD else _with_variables(member) for name, member in members.items()
    }
    return schema


def overlay_schema() -> Schema:
    """The rules of an overlay such as `kvsync.prod.yaml`: nothing is required, and whatever it names may be removed."""
    schema = main_schema()
    for name in ("environments", "environment"):
        del schema["properties"][name]
    return _partial(schema)


def _with_variables(schema: Schema) -> Schema:
    """The same rules, where a text with a variable is accepted for every scalar."""
    if _is_scalar(schema):
        described = {"description": schema["description"]} if "description" in schema else {}
        return {"anyOf": [schema, _VARIABLE], **described}
    return _mapped(schema, _with_variables)


def _is_scalar(schema: Schema) -> bool:
    """True for a rule of scalars that a text with a variable may break."""
    types = schema.get("type", ())
    named = {types} if isinstance(types, str) else set(types)
    is_strict = "string" not in named or not schema.keys().isdisjoint({"pattern", "enum"})
    return (bool(named) and named <= _SCALARS and is_strict) or "enum" in schema


def _mapped(schema: Schema, change: Callable[[Schema], Schema]) -> Schema:
    """The same rules, with a change to those of its members, items and alternatives."""
    changed = dict(schema)
    for name in ("additionalProperties", "items"):
        if isinstance(schema.get(name), dict):
            changed[name] = change(schema[name])
    for name in ("anyOf",):
        if name in schema:
            changed[name] = [change(one) for one in schema[name]]
    if "properties" in schema:
        changed["properties"] = {name: change(member) for name, member in schema["properties"].items()}
    return changed


def _partial(schema: Schema) -> Schema:
    """The rules of a mapping that is merged over another one. Lists are replaced as a whole, so their rules stay."""
    changed = {name: rule for name, rule in schema.items() if name not in ("required", "oneOf", "not", "minProperties")}
    for name in ("properties", "patternProperties"):
        if name in schema:
            changed[name] = {
                member: _removable(rule) if isinstance(rule, dict) else rule for member, rule in schema[name].items()
            }
    if isinstance(schema.get("additionalProperties"), dict):
        changed["additionalProperties"] = _removable(schema["additionalProperties"])
    if "anyOf" in schema:
        changed["anyOf"] = [_partial(one) for one in schema["anyOf"]]
    return changed


def _removable(schema: Schema) -> Schema:
    described = {"description": schema["description"]} if "description" in schema else {}
    return {"anyOf": [_partial(schema), _REMOVAL], **described}
