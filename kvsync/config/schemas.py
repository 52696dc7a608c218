"""Decoder of the `schemas:` section: which values of which keys must match which JSON Schema."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any, Final

from kvsync.util.values import dataclass
from kvsync.yaml.fields import Field, glob, list_of, one_of, path


@dataclass(frozen=True, slots=True)
class SchemaRule:
    """The values of the keys that match must be JSON and match the schema in the file `schema`, which is relative to the folder
    of the configuration. `stores`, `namespaces` and `keys` are globs; None matches all."""

    schema: str
    keys: tuple[str, ...]
    stores: tuple[str, ...] | None = None
    namespaces: tuple[str, ...] | None = None

    def covers(self, store: str, namespace: str) -> bool:
        """True for a target whose entries the rule checks."""
        return _any_match(store, self.stores) and _any_match(namespace, self.namespaces)

    def checks(self, key: str) -> bool:
        """True for a key whose value the rule checks."""
        return _any_match(key, self.keys)


SCHEMA_FIELDS: Final = (
    Field("stores", list_of(glob()), help="Stores that the rule applies to, as globs (all)."),
    Field("namespaces", list_of(glob()), help="Namespaces that the rule applies to, as globs (all)."),
    Field(
        "keys", one_of(list_of(glob(), least=1), glob()), required=True, help="Keys whose values are checked, as globs."
    ),
    Field("schema", path(), required=True, help="File with the JSON Schema, relative to the folder of this file."),
)
"""Everything that a rule under `schemas:` may hold."""


def schema_rule(values: Mapping[str, Any]) -> SchemaRule:
    """Convert the decoded fields to a rule."""
    keys = values["keys"]
    return SchemaRule(
        values["schema"], (keys,) if isinstance(keys, str) else keys, values["stores"], values["namespaces"]
    )


def _any_match(name: str, globs: tuple[str, ...] | None) -> bool:
    return globs is None or any(fnmatchcase(name, one) for one in globs)
