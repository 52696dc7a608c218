"""Decoder of credential references."""

from __future__ import annotations

import re
from collections import abc
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from enum import StrEnum
from typing import Any, Final

from kvsync.errors import Origin
from kvsync.util.values import dataclass
from kvsync.yaml.decoders import INVALID, Decoder, Schema
from kvsync.yaml.nodes import Mapping, Node, Scalar
from kvsync.yaml.problems import Problems, at, name_hint


class CredentialKind(StrEnum):
    """Where a secret is taken from."""

    ENV = "env"
    FILE = "file"
    CREDENTIAL = "credential"


@dataclass(frozen=True, slots=True)
class Credential:
    """A reference to a secret, never the secret itself: an environment variable, a file, or a systemd credential."""

    kind: CredentialKind
    name: str
    origin: Origin | None = None


def credentials_in(value: object) -> Iterator[Credential]:
    """All references to secrets in a decoded configuration, however deep they are."""
    if isinstance(value, Credential):
        yield value
        return
    members: abc.Iterable[object] = ()
    if is_dataclass(value):
        members = (getattr(value, one.name) for one in fields(value))
    elif isinstance(value, abc.Mapping):
        members = value.values()
    elif isinstance(value, tuple | list):
        members = value
    for member in members:
        if not isinstance(member, _PLAIN):
            yield from credentials_in(member)


_PLAIN: Final = (str, int, float, bytes, type(None))
"""What most of a configuration consists of, and holds no reference."""

_HOW: Final = "write {env: NAME}, {file: PATH} or {credential: NAME}"
_NAMES: Final = {
    CredentialKind.ENV: (r"[A-Za-z_][A-Za-z0-9_]*", "the name of an environment variable"),
    CredentialKind.FILE: (r"[^\0]+", "the path of a file"),
    CredentialKind.CREDENTIAL: (r"(?!\.\.?$)[^\0/]+", "the name of a file in $CREDENTIALS_DIRECTORY"),
}


@dataclass(frozen=True, slots=True)
class CredentialDecoder(Decoder):
    """Reads a reference. Whatever else stands here may be a secret, so that no message repeats it."""

    expected: str = "a reference to a secret"

    def accepts(self, node: Node) -> bool:
        """True for mappings."""
        return isinstance(node, Mapping)

    def decode(self, node: Node, problems: Problems, what: str) -> Any:
        """A `Credential`, or INVALID with a problem noted."""
        if isinstance(node, Scalar) and not node.is_null:
            problems.add(at(what, "secrets are not allowed in this file"), node, _HOW)
            return INVALID
        if not isinstance(node, Mapping):
            return self.refuse(node, problems, what, _HOW)
        if len(node.items) != 1:
            problems.add(at(what, "expected exactly one of env, file and credential"), node, _HOW)
            return INVALID
        [(kind, (key, name))] = node.items.items()
        if kind not in set(CredentialKind):
            problems.add(at(what, "expected env, file or credential"), key, name_hint(kind, CredentialKind))
            return INVALID
        return self._reference(CredentialKind(kind), name, problems, f"{what}.{kind}")

    def _reference(self, kind: CredentialKind, name: Node, problems: Problems, what: str) -> Any:
        pattern, meaning = _NAMES[kind]
        written = problems.text_of(name, what, private=True) if isinstance(name, Scalar) and not name.is_null else ""
        if written and re.fullmatch(pattern, written):
            return Credential(kind, written, problems.origin(name))
        if written is not None:
            problems.add(at(what, f"expected {meaning}"), name)
        return INVALID

    def schema(self) -> Schema:
        """The same rules as JSON Schema."""
        return {"anyOf": [_reference_schema(kind) for kind in CredentialKind]}


def credential() -> Decoder:
    """`{env: NAME}`, `{file: PATH}` or `{credential: NAME}`; gives a `Credential`."""
    return CredentialDecoder()


def _reference_schema(kind: CredentialKind) -> Schema:
    pattern, meaning = _NAMES[kind]
    name = {"type": "string", "pattern": f"^(?:{pattern})$", "description": f"{meaning[0].upper()}{meaning[1:]}."}
    return {"type": "object", "properties": {str(kind): name}, "required": [str(kind)], "additionalProperties": False}
