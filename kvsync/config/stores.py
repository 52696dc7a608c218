"""Decoder of the `stores:` section: common fields, and the fields of each store type."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, Protocol

from kvsync.config.model import StoreConfig
from kvsync.config.policy import POLICY_FIELDS, override
from kvsync.config.values import NAME, is_plain_http, key_format, url
from kvsync.errors import ErrorCode, KvsyncError, Origin
from kvsync.model.policy import Policy
from kvsync.util.values import dataclass
from kvsync.yaml import nodes
from kvsync.yaml.fields import (
    INVALID,
    Decoder,
    Field,
    Problems,
    Schema,
    at,
    boolean,
    checked,
    credential,
    decode,
    duration,
    fields_schema,
    integer,
    map_of,
    name_hint,
    one_of,
    path,
    quoted,
    record,
    text,
)

TYPE: Final = Field("type", text(), required=True, help="Type of the store; kvsync stores lists the types.")

COMMON_FIELDS: Final = (
    TYPE,
    Field("endpoint", url(), help="Base URL of the API, for emulators and private links."),
    Field("timeout", duration(minimum=0.001), default=30.0, help="Timeout of one request (30s)."),
    Field("concurrency", integer(1, 1024), help="Maximum number of concurrent requests (depends on the type)."),
    Field("key_format", key_format(), help="Format of remote keys (depends on the type)."),
    Field("policy", record(POLICY_FIELDS), help="Settings that override the policy of the configuration."),
    Field(
        "proxy",
        one_of(url(), credential()),
        help="URL of the HTTP proxy, instead of HTTP_PROXY and HTTPS_PROXY; by reference if it contains a password.",
    ),
    Field("ca_file", path(), help="PEM file with the certificate authorities to trust, instead of the system's."),
    Field("allow_insecure", boolean(), default=False, help="Allow plain http:// to other machines."),
)
"""What every store takes, whatever its type."""


class StoreTypes(Protocol):
    """The store types that a configuration may name."""

    def names(self) -> tuple[str, ...]:
        """All names, sorted."""
        ...

    def options(self, name: str) -> tuple[Field, ...]:
        """The fields that a type declares. Raises LookupError for an unknown name, and KvsyncError when the package that
        offers the type is broken."""
        ...


@dataclass(frozen=True, slots=True)
class Inclusion:
    """A file that completes the options of a store: the field with its path, which is relative to the configuration, and what
    its text adds to the options. `read` raises ValueError."""

    field: str
    path: str
    node: nodes.Node
    read: Callable[[bytes, Mapping[str, Any]], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class WrittenStore:
    """A store as it is written: its fields, those of them that its type declares, and of these the names of private files and
    the included files."""

    type: str
    values: Mapping[str, Any]
    options: Mapping[str, Any]
    origin: Origin
    private_files: tuple[str, ...]
    inclusions: tuple[Inclusion, ...] = ()

    def configured(self, name: str, policy: Policy) -> StoreConfig:
        """The store with the policy that its lines override."""
        return StoreConfig(
            name=name,
            type=self.type,
            options=self.options,
            endpoint=self.values["endpoint"],
            timeout=self.values["timeout"],
            concurrency=self.values["concurrency"],
            key_format=self.values["key_format"],
            allow_insecure=self.values["allow_insecure"],
            policy=override(policy, self.values["policy"]),
            origin=self.origin,
            private_files=self.private_files,
            proxy=self.values["proxy"],
            ca_file=self.values["ca_file"],
        )


@dataclass(frozen=True, slots=True)
class StoreDecoder(Decoder):
    """Reads one store into a `WrittenStore`; its type, one of `types`, says which fields it has."""

    types: StoreTypes
    expected: str = "a mapping with the type of the store"

    def accepts(self, node: nodes.Node) -> bool:
        """True for mappings."""
        return isinstance(node, nodes.Mapping)

    def decode(self, node: nodes.Node, problems: Problems, what: str) -> Any:
        """A `WrittenStore`, or INVALID with problems noted."""
        if not isinstance(node, nodes.Mapping):
            return self.refuse(node, problems, what)
        options = self._options_of(node, problems, what)
        if options is None:
            return INVALID
        values = decode(node, _fields(options), problems, what)
        _check_encrypted(values, node, problems, what)
        own = {field.name: values[field.name] for field in options if field.name in values}
        private = tuple(own[field.name] for field in options if field.private_file and own.get(field.name))
        included = tuple(
            Inclusion(one.name, own[one.name], node.items[one.name][1], partial(one.included, own[one.name]))
            for one in options
            if one.included is not None and own.get(one.name)
        )
        return WrittenStore(values["type"], values, own, problems.origin(node), private, included)

    def schema(self) -> Schema:
        """The same rules as JSON Schema: one alternative for each type."""
        return {"anyOf": [_type_schema(name, self.types.options(name)) for name in self.types.names()]}

    def _options_of(self, node: nodes.Mapping, problems: Problems, what: str) -> tuple[Field, ...] | None:
        if TYPE.name not in node.items:
            hint = f"one of {', '.join(self.types.names())}"
            problems.add(at(what, 'missing field "type"'), node, hint, detail=ErrorCode.MISSING_FIELD)
            return None
        written = node.items[TYPE.name][1]
        name = TYPE.decoder.decode(written, problems, f"{what}.type")
        if name is INVALID:
            return None
        try:
            return self.types.options(name)
        except LookupError:
            problems.add(
                at(f"{what}.type", f"unknown store type {quoted(name)}"), written, name_hint(name, self.types.names())
            )
            return None
        except KvsyncError as error:  # a third party's package that cannot be imported
            problems.add(at(f"{what}.type", str(error)), written)
            return None


def stores(types: StoreTypes) -> Decoder:
    """The stores by name, at least one; gives a dict of `WrittenStore`."""

    def check(_written: Any, node: nodes.Node, problems: Problems, what: str) -> None:
        if isinstance(node, nodes.Mapping) and not node.items:
            problems.add(at(what, "define at least one store"), node)

    return checked(map_of(StoreDecoder(types), NAME), check, {"minProperties": 1})


def _fields(options: tuple[Field, ...]) -> tuple[Field, ...]:
    """The common fields, where the type does not declare one of the same name, and the type's own."""
    own = {field.name for field in options}
    return tuple(field for field in COMMON_FIELDS if field.name not in own) + options


def _check_encrypted(values: Mapping[str, Any], node: nodes.Mapping, problems: Problems, what: str) -> None:
    if values["allow_insecure"]:
        return
    for name, value in values.items():
        if name == "proxy":  # TLS goes through it
            continue
        addresses = value if isinstance(value, tuple) else (value,)
        if any(is_plain_http(address) for address in addresses):
            message = "plain http:// sends secrets unencrypted over the network"
            place = node.items[name][1] if name in node.items else node
            problems.add(at(f"{what}.{name}", message), place, "write https://, or set allow_insecure: true")


def _type_schema(name: str, options: tuple[Field, ...]) -> Schema:
    schema = fields_schema(_fields(options))
    schema["properties"]["type"] = {"const": name, "description": TYPE.help}
    return schema | {"title": name}
