"""JSON Schemas that values are checked against, offline.

A `$ref` to another document is an error, never a request.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

from kvsync.config.schemas import SchemaRule
from kvsync.errors import Kind, Origin, Problem
from kvsync.util.values import dataclass
from kvsync.yaml.fields import INVALID, Problems, free_json
from kvsync.yaml.parse import parse_all
from kvsync.yaml.parsed import ParseLimits

MOST_BYTES: Final = 1024 * 1024
"""Size of a schema file, at most."""


@dataclass(frozen=True, slots=True)
class JsonSchema:
    """A schema file, compiled; or the `problems` for which it cannot be used."""

    file: str
    validator: Any = None
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Schemas:
    """The rules of the configuration with their schemas. `digest` changes when a rule or the text of a schema does."""

    rules: tuple[tuple[SchemaRule, JsonSchema], ...] = ()
    digest: bytes = b""

    def covering(self, store: str, namespace: str) -> tuple[tuple[SchemaRule, JsonSchema], ...]:
        """The rules that check entries of a target."""
        return tuple(item for item in self.rules if item[0].covers(store, namespace))

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What is wrong with the schema files themselves."""
        return tuple(dict.fromkeys(problem for _, schema in self.rules for problem in schema.problems))


@dataclass(slots=True)
class SchemaFiles:
    """The schema files of a configuration. Each is compiled once for its text."""

    root: Path
    rules: Sequence[SchemaRule]
    _compiled: dict[str, tuple[bytes, JsonSchema]] = field(default_factory=dict)

    def load(self) -> Schemas:
        """Read the files as they are now. What is wrong with one is in its `JsonSchema`."""
        digest = blake2b(repr(self.rules).encode("utf-8", "surrogateescape"), digest_size=16)
        found: list[tuple[SchemaRule, JsonSchema]] = []
        for rule in self.rules:
            key, schema = self._schema(rule.schema)
            digest.update(key)
            found.append((rule, schema))
        return Schemas(tuple(found), digest.digest())

    @property
    def folders(self) -> tuple[str, ...]:
        """The folders whose changes may change a schema."""
        return tuple(sorted({str((self.root / rule.schema).parent) for rule in self.rules}))

    def _schema(self, file: str) -> tuple[bytes, JsonSchema]:
        try:
            text = _read(self.root / file)
        except OSError as error:
            problem = Problem(f"cannot read the schema: {error.strerror}", Origin(file, 1, 1), kind=Kind.UNREADABLE)
            return str(problem).encode(), JsonSchema(file, problems=(problem,))
        key = blake2b(text, digest_size=16).digest()
        known = self._compiled.get(file)
        if known is None or known[0] != key:
            known = self._compiled[file] = key, compile_schema(text, file)
        return known


def _read(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(MOST_BYTES + 1)


def compile_schema(text: bytes, file: str) -> JsonSchema:
    """The schema in a text, which is JSON or YAML."""
    problems = Problems(file)
    document = _document(text, problems)
    if problems:
        return JsonSchema(file, problems=problems.all())
    from kvsync.util.json_schema import validator_of  # most configurations have no schemas

    try:
        return JsonSchema(file, validator_of(document))
    except ValueError as error:
        problem = Problem(
            f"not a usable JSON Schema: {error}", Origin(file, 1, 1), "only $ref within the file is supported"
        )
        return JsonSchema(file, problems=(problem,))


def _document(text: bytes, problems: Problems) -> Any:
    parsed = parse_all(text, problems.file, ParseLimits(size=MOST_BYTES))
    problems.extend(parsed.problems)
    if len(parsed.documents) != 1:
        problems.add("expected one document with a JSON Schema", None)
        return None
    value = free_json().decode(parsed.documents[0], problems, "")
    if value is not INVALID and not isinstance(value, dict | bool):
        problems.add("a JSON Schema must be a mapping, or true or false", parsed.documents[0])
    return value
