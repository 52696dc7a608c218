"""Decoders that only state files need."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from kvsync.util.values import dataclass
from kvsync.yaml.fields import (
    INVALID,
    Decoder,
    Field,
    Problems,
    ScalarDecoder,
    Schema,
    WrappingDecoder,
    at,
    checked,
    duration,
    fields_schema,
    found,
    glob,
    list_of,
    one_of,
    quoted,
    text,
)
from kvsync.yaml.nodes import Mapping, Node
from kvsync.yaml.variables import VARIABLE_NAME

VARIABLE: Final = r"[A-Za-z_][A-Za-z0-9_]*"
"""Regular expression of the names of environment variables."""

SCALAR: Final[Schema] = {"type": ["string", "number", "boolean"]}
_LONGEST_TTL: Final = (
    2_500_000 * 86400
)  # seconds: what is written now ends before the year 9999, the last that has a date
AFTER_ALL: Final = "all"
"""In place of a list of keys: everything else of the target."""


class Placed(NamedTuple):
    """A decoded value with the node it came from."""

    value: Any
    node: Node


@dataclass(frozen=True, slots=True)
class PlacedDecoder(WrappingDecoder):
    """Reads with another decoder and keeps the place; gives `Placed`."""

    def decode(self, node: Node, problems: Problems, what: str) -> Any:
        """A `Placed`, or INVALID with a problem noted."""
        value = self.decoder.decode(node, problems, what)
        return value if value is INVALID else Placed(value, node)


@dataclass(frozen=True, slots=True)
class KeysDecoder(Decoder):
    """Gives the mapping of keys as it is: its entries are read one by one, by `kvsync.desired.entries`."""

    member: Callable[[], Schema] = dict
    expected: str = "a mapping of keys to values"

    def accepts(self, node: Node) -> bool:
        """True for mappings."""
        return isinstance(node, Mapping)

    def decode(self, node: Node, problems: Problems, what: str) -> Any:
        """The node, or INVALID with a problem noted."""
        if isinstance(node, Mapping):
            return node
        problems.add(at(what, f"expected {self.expected}, found {found(node)}"), node, "for an empty mapping, write {}")
        return INVALID

    def schema(self) -> Schema:
        """The forms of entries as JSON Schema."""
        return {"type": "object", "additionalProperties": self.member()}


@dataclass(frozen=True, slots=True)
class VariablesDecoder(KeysDecoder):
    """Gives the mapping of variables as it is: `kvsync.desired.templates` reads it."""

    forms: tuple[Field, ...] = ()
    expected: str = "a mapping of variables to texts"

    def schema(self) -> Schema:
        """The forms of a variable as JSON Schema."""
        form = fields_schema(self.forms)
        form |= {"minProperties": 1, "maxProperties": 1}
        names = {"pattern": f"^(?:{VARIABLE_NAME})$"}
        return {"type": "object", "propertyNames": names, "additionalProperties": {"anyOf": [SCALAR, form]}}


def ttl() -> Decoder:
    """A lifetime in whole seconds, or `none`; gives the seconds, or None."""
    stretch = duration(whole=True, minimum=1)
    assert isinstance(stretch, ScalarDecoder)

    def read(written: str, plain: bool) -> Any:
        seconds = None if plain and written == "none" else stretch.read(written, plain)
        if seconds is not None and seconds > _LONGEST_TTL:
            raise ValueError(f"at most {_LONGEST_TTL // 86400}d are allowed; if the entry must not expire, write none")
        return seconds

    rules: Schema = {"anyOf": [stretch.rules, {"const": "none"}]}
    return ScalarDecoder(f"{stretch.expected} (or none)", read, rules)


def media_type() -> Decoder:
    """A media type, as text: stores that spell it in their own way do so for each entry."""
    return text(r"[^\0]{1,1000}", "a media type of at most 1,000 characters")


def after() -> Decoder:
    """What is written before an entry: AFTER_ALL, or a tuple of keys."""

    def read(written: str, _plain: bool) -> str:
        if written != AFTER_ALL:
            raise ValueError(f"for one key, write [{written}]")
        return written

    return one_of(ScalarDecoder("all, or a list of keys", read, {"const": AFTER_ALL}), list_of(text(), least=1))


def exclusions() -> Decoder:
    """The patterns of what `files:` leaves out."""
    return list_of(checked(glob(), _refuse_exception))


def _refuse_exception(pattern: str, node: Node, problems: Problems, what: str) -> None:
    """A pattern with ! would leave out nothing, while those before it leave out what it should bring back."""
    if pattern.startswith("!"):
        message = at(what, f"{quoted(pattern)}: exceptions with ! are not supported")
        problems.add(message, node, "list only what to exclude, or use several items under files")
