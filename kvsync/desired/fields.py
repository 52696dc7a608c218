"""The fields of desired-state files: what `decode` reads, and what the JSON Schema of `kvsync schema state` says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from kvsync.config.policy import POLICY_FIELDS
from kvsync.model.canonical import canonical_json
from kvsync.model.entry import Mode
from kvsync.yaml.fields import (
    INVALID,
    OMITTED,
    Decoder,
    Field,
    Problems,
    ScalarDecoder,
    Schema,
    at,
    boolean,
    choice,
    duration,
    fields_schema,
    found,
    free_json,
    glob,
    list_of,
    map_of,
    moment,
    path,
    record,
    text,
)
from kvsync.yaml.nodes import Mapping, Node

_VARIABLE: Final = r"[A-Za-z_][A-Za-z0-9_]*"
VALUE_FORMS: Final = ("value", "json", "file", "base64", "env")


class Placed(NamedTuple):
    """A decoded value with the node it came from."""

    value: Any
    node: Node


@dataclass(frozen=True, slots=True)
class PlacedDecoder(Decoder):
    """Reads with another decoder and keeps the place; gives `Placed`."""

    decoder: Decoder

    @property
    def expected(self) -> str:  # type: ignore[override]  # derived, where the others store it
        """What the other decoder expects."""
        return self.decoder.expected

    def accepts(self, node: Node) -> bool:
        """True when the other decoder accepts."""
        return self.decoder.accepts(node)

    def decode(self, node: Node, problems: Problems, what: str) -> Any:
        """A `Placed`, or INVALID with a problem noted."""
        value = self.decoder.decode(node, problems, what)
        return value if value is INVALID else Placed(value, node)

    def schema(self) -> Schema:
        """The same rules as JSON Schema."""
        return self.decoder.schema()


@dataclass(frozen=True, slots=True)
class KeysDecoder(Decoder):
    """Gives the mapping of keys as it is: its entries are read one by one, by `kvsync.desired.entries`."""

    expected: str = "a mapping of keys to values"

    def accepts(self, node: Node) -> bool:
        """True for mappings."""
        return isinstance(node, Mapping)

    def decode(self, node: Node, problems: Problems, what: str) -> Any:
        """The node, or INVALID with a problem noted."""
        if isinstance(node, Mapping):
            return node
        problems.add(at(what, f"expected {self.expected}, found {found(node)}"), node, "write {} when none is wanted")
        return INVALID

    def schema(self) -> Schema:
        """The forms of entries as JSON Schema."""
        return {"type": "object", "additionalProperties": entry_schema()}


def _ttl() -> Decoder:
    stretch = duration(whole=True, minimum=1)
    assert isinstance(stretch, ScalarDecoder)

    def read(written: str, plain: bool) -> Any:
        return None if plain and written == "none" else stretch.read(written, plain)

    rules: Schema = {"anyOf": [stretch.rules, {"const": "none"}]}
    return ScalarDecoder(f"{stretch.expected} (or none)", read, rules)


def _field(name: str, decoder: Decoder, help: str, *, required: bool = False) -> Field:  # noqa: A002  # as in Field
    return Field(name, decoder, required=required, default=OMITTED, help=help)


OPTION_FIELDS: Final = (
    _field("ttl", _ttl(), "How long the entry lives; kvsync renews it. `none` takes a default away."),
    _field("renew_before", duration(whole=True), "Renew once less life than this is left; 0s means never."),
    _field("mode", choice(Mode), "enforce (keep it equal), create-only (write it once), observe (only look)."),
    _field("protected", boolean(), "Never deleted, never overwritten without --allow-protected."),
    _field("sensitive", boolean(), "The value is never shown, logged or kept in the journal."),
    _field("content_type", text(), "The media type of the value, such as text/html."),
    _field("tags", map_of(text(empty=True)), "Pairs of text beside the value; added to those of the defaults."),
    _field("metadata", free_json(), "Free JSON beside the value, where the store keeps it."),
)
"""What may be said of an entry beside its value; `defaults` says it for all entries of a document."""

FORM_FIELDS: Final = (
    _field("value", text(empty=True), "The value: the text as it is written."),
    _field("json", free_json(), "The value as data; stored as canonical JSON, compared as JSON."),
    _field("file", path(), "The value is the content of this file, relative to this one."),
    _field("base64", text(empty=True, private=True), "The value as Base64."),
    _field(
        "env", text(_VARIABLE, "the name of an environment variable", private=True), "The value is in this variable."
    ),
)

LABELLED_FIELDS: Final = (*FORM_FIELDS, *OPTION_FIELDS, _field("expires_at", moment(), "When the entry shall be gone."))
"""An entry under a label."""

FILES_FIELDS: Final = (
    _field("path", path(), "The folder, relative to this file.", required=True),
    Field("glob", glob(), default="**/*", help="Which files under it."),
    Field("prefix", text(empty=True), default="", help="What the keys begin with."),
    *OPTION_FIELDS,
)

MOVED_FIELDS: Final = (
    _field("from", text(), "The key that is to go.", required=True),
    _field("to", text(), "The key that takes its place; it stands under keys.", required=True),
)

DOCUMENT_FIELDS: Final = (
    _field("store", text(), "The store, by its name in kvsync.yaml."),
    _field("stores", list_of(text(), least=1), "Several stores that hold the same."),
    _field("namespace", text(), "The namespace in the store."),
    _field("defaults", record(OPTION_FIELDS), "What holds for every entry that does not say otherwise."),
    _field("policy", record(POLICY_FIELDS), "Lines of the policy that differ for this target."),
    _field("keys", KeysDecoder(), "The entries. {} means that none are wanted."),
    _field("files", list_of(PlacedDecoder(record(FILES_FIELDS))), "One key for each file."),
    _field("absent", list_of(PlacedDecoder(text())), "Keys to delete even when nothing is pruned."),
    _field(
        "moved", list_of(PlacedDecoder(record(MOVED_FIELDS))), "Keys that were renamed: copied, checked, then deleted."
    ),
)

Options = dict[str, Any]


def packed(options: Options) -> Options:
    """Options as they are kept: tags as sorted pairs, metadata as canonical JSON. Leaves `options` as they are."""
    kept = dict(options)
    if "tags" in kept:
        kept["tags"] = tuple(sorted(kept["tags"].items()))
    if "metadata" in kept:
        kept["metadata"] = canonical_json(kept["metadata"])
    return kept


def merged(under: Options, over: Options) -> Options:
    """`over` laid over `under`, line by line; tags are added to one another, and an end of life of one kind replaces the
    other."""
    if not over:
        return under
    result = {**under, **over}
    if "tags" in under and "tags" in over:
        result["tags"] = tuple(sorted({**dict(under["tags"]), **dict(over["tags"])}.items()))
    if "expires_at" in over and "ttl" not in over:
        result.pop("ttl", None)
    elif "ttl" in over and "expires_at" not in over:
        result.pop("expires_at", None)
    return result


def entry_schema() -> Schema:
    """The forms of an entry as JSON Schema: a scalar, or a mapping with at most one form of value."""
    scalar: Schema = {"type": ["string", "number", "boolean"]}
    one_form = {"not": {"anyOf": [{"required": [a, b]} for a in VALUE_FORMS for b in VALUE_FORMS if a < b]}}
    labelled = {"anyOf": [scalar, fields_schema(LABELLED_FIELDS) | one_form]}
    labels: Schema = {
        "anyOf": [{"type": "object", "additionalProperties": labelled}, list_of(text(), least=1).schema()],
        "description": "One more entry for each label; a list gives each label the same value.",
    }
    full = fields_schema(LABELLED_FIELDS) | one_form
    full["properties"] = {**full["properties"], "labels": labels}
    remove: Schema = {
        "type": "object",
        "properties": {"remove": {"const": True, "description": "In overlays: drop this entry."}},
        "required": ["remove"],
        "additionalProperties": False,
    }
    return {"anyOf": [scalar, full, remove]}


def document_schema() -> Schema:
    """One document of a state file as JSON Schema."""
    return fields_schema(DOCUMENT_FIELDS)
