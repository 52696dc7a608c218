"""Field tables: strict decoding of a mapping by its allowed fields.

    FIELDS = (
        Field("path", path(), required=True, help="The database file, relative to the configuration."),
        Field("timeout", duration(minimum=0.1), default=30.0, help="Longest time that one call may take."),
    )
    problems = Problems("kvsync.yaml")
    values = decode(node, FIELDS, problems, "stores.local")
    problems.raise_if_any()

This module is the one to import from; the decoders themselves live next to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Mapping as MappingOf
from typing import Any, Final

from kvsync.errors import ErrorCode
from kvsync.util.values import dataclass
from kvsync.yaml.credential import Credential, CredentialKind, credential
from kvsync.yaml.decoders import (
    INVALID,
    Decoder,
    ScalarDecoder,
    Schema,
    boolean,
    choice,
    glob,
    list_of,
    map_of,
    one_of,
    path,
    text,
)
from kvsync.yaml.json_types import free_json
from kvsync.yaml.nodes import Mapping, Node
from kvsync.yaml.problems import Problems, at, found, inside, name_hint, nearest, quoted
from kvsync.yaml.quantities import duration, integer, moment, number, percentage, size

__all__ = [
    "INVALID",
    "OMITTED",
    "Credential",
    "CredentialKind",
    "Decoder",
    "Field",
    "Problems",
    "ScalarDecoder",
    "Schema",
    "WrappingDecoder",
    "at",
    "boolean",
    "checked",
    "choice",
    "credential",
    "decode",
    "duration",
    "fields_schema",
    "found",
    "free_json",
    "glob",
    "integer",
    "is_extension",
    "list_of",
    "map_of",
    "moment",
    "name_hint",
    "nearest",
    "number",
    "one_of",
    "path",
    "percentage",
    "quoted",
    "record",
    "size",
    "text",
]

EXTENSION: Final = "x-"
"""Begins the names of fields that kvsync ignores."""

OMITTED: Final[Any] = type("_Omitted", (), {"__repr__": lambda _: "OMITTED"})()
"""As the default of a field: when the file does not give the field, it is missing from what `decode` returns."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a mapping: its name, its decoder, and its default. `help` is one sentence that explains the field. A
    `private_file` is a path, relative to the folder of `kvsync.yaml`, of a file that no state file may take values from. With
    `included`, the field is the path of a file that completes the configuration: kvsync calls the function with the path, the
    text and the other fields, and it returns the fields that the file sets, or raises ValueError with the reason."""

    name: str
    decoder: Decoder
    required: bool = False
    default: Any = None
    help: str = ""
    private_file: bool = False
    included: Callable[[str, bytes, MappingOf[str, Any]], MappingOf[str, Any]] | None = None

    def schema(self) -> Schema:
        """Return the field as JSON Schema, with its help, and with its default if JSON can represent it."""
        schema = self.decoder.schema()
        if self.help:
            schema["description"] = self.help
        return schema


def decode(node: Node, fields: Sequence[Field], problems: Problems, what: str = "") -> dict[str, Any]:
    """Read a mapping by its table of fields.

    Returns a value for every field: what the file says, else the default (also after a problem), and leaves out fields whose
    default is OMITTED. Never raises; unknown, missing, null and wrong fields are noted in `problems`. `what` is the path of
    the mapping for messages, such as `stores.local`; the root has none.
    """
    values = {field.name: field.default for field in fields if field.default is not OMITTED}
    if not isinstance(node, Mapping):
        problems.add(at(what, f"expected a mapping, found {found(node)}"), node, _fields_hint(fields))
        return values
    known = {field.name: field for field in fields}
    for name, (key, member) in node.items.items():
        if name in known:
            value = known[name].decoder.decode(member, problems, inside(what, name))
            values |= {name: value} if value is not INVALID else {}
        elif not is_extension(name):
            problems.add(
                at(what, f"unknown field {quoted(name)}"), key, name_hint(name, known), detail=ErrorCode.UNKNOWN_FIELD
            )
    for field in fields:
        if field.required and field.name not in node.items:
            problems.add(
                at(what, f'missing field "{field.name}"'), node, field.help or None, detail=ErrorCode.MISSING_FIELD
            )
    return values


def is_extension(name: str) -> bool:
    """True for a field that is ignored everywhere: a place for anchors that several fields share."""
    return name.startswith(EXTENSION)


def record(fields: Sequence[Field]) -> Decoder:
    """A mapping with a table of fields of its own; gives a dict."""
    return RecordDecoder(tuple(fields))


def checked(
    decoder: Decoder, check: Callable[[Any, Node, Problems, str], None], rules: Schema | None = None
) -> Decoder:
    """`decoder`, and then `check(value, node, problems, what)`, which notes what is wrong between the fields; `rules` say the
    same in JSON Schema."""
    return CheckedDecoder(decoder, check, rules or {})


def fields_schema(fields: Sequence[Field]) -> Schema:
    """A table of fields as JSON Schema of an object."""
    schema: Schema = {
        "type": "object",
        "properties": {field.name: field.schema() for field in fields},
        "patternProperties": {f"^{EXTENSION}": True},
        "additionalProperties": False,
    }
    required = [field.name for field in fields if field.required]
    return schema | ({"required": required} if required else {})


@dataclass(frozen=True, slots=True)
class RecordDecoder(Decoder):
    """Reads a mapping by a table of fields."""

    fields: tuple[Field, ...]
    expected: str = "a mapping"

    def accepts(self, node: Node) -> bool:
        """True for mappings."""
        return isinstance(node, Mapping)

    def decode(self, node: Node, problems: Problems, what: str) -> Any:
        """A dict as `decode` gives it, or INVALID with a problem noted when there is no mapping."""
        values = decode(node, self.fields, problems, what)
        return values if isinstance(node, Mapping) else INVALID

    def schema(self) -> Schema:
        """The same rules as JSON Schema."""
        return fields_schema(self.fields)


@dataclass(frozen=True, slots=True)
class WrappingDecoder(Decoder):
    """Base class of decoders that read with another one and do more with the value in `decode`."""

    decoder: Decoder

    @property
    def expected(self) -> str:  # type: ignore[override]  # derived, where the others store it
        """What the other decoder expects."""
        return self.decoder.expected

    def accepts(self, node: Node) -> bool:
        """True when the other decoder accepts."""
        return self.decoder.accepts(node)

    def schema(self) -> Schema:
        """The same rules as JSON Schema."""
        return self.decoder.schema()


@dataclass(frozen=True, slots=True)
class CheckedDecoder(WrappingDecoder):
    """Reads with another decoder, then looks at the value as a whole."""

    check: Callable[[Any, Node, Problems, str], None]
    rules: Schema

    def decode(self, node: Node, problems: Problems, what: str) -> Any:
        """The value, or INVALID with a problem noted."""
        value = self.decoder.decode(node, problems, what)
        if value is not INVALID:
            self.check(value, node, problems, what)
        return value

    def schema(self) -> Schema:
        """The same rules as JSON Schema."""
        return self.decoder.schema() | self.rules


def _fields_hint(fields: Sequence[Field]) -> str | None:
    return f"its fields: {', '.join(field.name for field in fields)}" if fields else None
