"""Field tables of state files, used by the decoder and by `kvsync schema state`."""

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
    one_of,
    path,
    record,
    text,
)
from kvsync.yaml.nodes import Mapping, Node

_VARIABLE: Final = r"[A-Za-z_][A-Za-z0-9_]*"
_LONGEST_TTL: Final = (
    2_500_000 * 86400
)  # seconds: what is written now ends before the year 9999, the last that has a date
AFTER_ALL: Final = "all"
"""In place of a list of keys: everything else of the target."""

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
        problems.add(at(what, f"expected {self.expected}, found {found(node)}"), node, "for an empty mapping, write {}")
        return INVALID

    def schema(self) -> Schema:
        """The forms of entries as JSON Schema."""
        return {"type": "object", "additionalProperties": entry_schema()}


def _ttl() -> Decoder:
    stretch = duration(whole=True, minimum=1)
    assert isinstance(stretch, ScalarDecoder)

    def read(written: str, plain: bool) -> Any:
        seconds = None if plain and written == "none" else stretch.read(written, plain)
        if seconds is not None and seconds > _LONGEST_TTL:
            raise ValueError(f"at most {_LONGEST_TTL // 86400}d are allowed; for an entry without an end, write none")
        return seconds

    rules: Schema = {"anyOf": [stretch.rules, {"const": "none"}]}
    return ScalarDecoder(f"{stretch.expected} (or none)", read, rules)


def _media_type() -> Decoder:
    # Stores that spell it in their own way do so for each entry.
    return text(r"[^\0]{1,1000}", "a media type of at most 1,000 characters")


def _field(name: str, decoder: Decoder, help: str, *, required: bool = False) -> Field:  # noqa: A002  # as in Field
    return Field(name, decoder, required=required, default=OMITTED, help=help)


def _after() -> Decoder:
    def read(written: str, _plain: bool) -> str:
        if written != AFTER_ALL:
            raise ValueError(f"for one key, write [{written}]")
        return written

    return one_of(ScalarDecoder("all, or a list of keys", read, {"const": AFTER_ALL}), list_of(text(), least=1))


OPTION_FIELDS: Final = (
    _field("ttl", _ttl(), "Lifetime of the entry; kvsync renews it. `none` removes a default."),
    _field("renew_before", duration(whole=True), "Renew the entry when less than this time is left; 0s means never."),
    _field("mode", choice(Mode), "enforce (keep it in sync), create-only (write it once), observe (report only)."),
    _field("protected", boolean(), "Never delete or overwrite the entry without --allow-protected."),
    _field("sensitive", boolean(), "Never show or log the value, or keep it in the journal."),
    _field("content_type", _media_type(), "The media type of the value, such as text/html."),
    _field("tags", map_of(text(empty=True)), "Tags as pairs of text; added to the tags in defaults."),
    _field("metadata", free_json(), "Metadata as free JSON, if the store supports it."),
)
"""What may be said of an entry besides its value; `defaults` says it for all entries of a document."""

FORM_FIELDS: Final = (
    _field("value", text(empty=True), "The value as text, exactly as written."),
    _field("json", free_json(), "The value as JSON; stored in canonical form, compared by value."),
    _field("file", path(), "File with the value; the path is relative to this file."),
    _field("base64", text(empty=True, private=True), "The value as Base64."),
    _field(
        "env",
        text(_VARIABLE, "the name of an environment variable", private=True),
        "Environment variable with the value.",
    ),
)

_AFTER_FIELD: Final = _field(
    "after",
    _after(),
    "Keys that are written before this entry; `all` writes it last, if all else of the target succeeded.",
)

LABELLED_FIELDS: Final = (
    *FORM_FIELDS,
    *OPTION_FIELDS,
    _field("expires_at", moment(), "Time when the entry expires."),
    _AFTER_FIELD,
)
"""An entry under a label."""

FILES_FIELDS: Final = (
    _field("path", path(), "Folder, relative to this file.", required=True),
    Field("glob", glob(), default="**/*", help="Glob of the files in the folder."),
    Field("exclude", list_of(glob()), default=(), help="Globs of what is left out, as in a .gitignore."),
    Field("prefix", text(empty=True), default="", help="Prefix of the keys."),
    *OPTION_FIELDS,
    _AFTER_FIELD,
)

MOVED_FIELDS: Final = (
    _field("from", text(), "The old key.", required=True),
    _field("to", text(), "The new key; it must be in keys.", required=True),
)

DOCUMENT_FIELDS: Final = (
    _field("store", text(), "The store, by its name in kvsync.yaml."),
    _field("stores", list_of(text(), least=1), "Several stores with the same entries."),
    _field("namespace", text(r"[\s\S]{1,1000}", "text of at most 1,000 characters"), "The namespace in the store."),
    _field("defaults", record(OPTION_FIELDS), "Defaults for all entries of the document."),
    _field("policy", record(POLICY_FIELDS), "Settings that make the policy stricter for this target."),
    _field("keys", KeysDecoder(), "The entries. {} deletes all entries that kvsync owns."),
    _field("files", list_of(PlacedDecoder(record(FILES_FIELDS))), "One key for each file."),
    _field("absent", list_of(PlacedDecoder(text())), "Keys to delete even with prune: off."),
    _field("moved", list_of(PlacedDecoder(record(MOVED_FIELDS))), "Renamed keys: copied, verified, then deleted."),
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
        "description": "One entry per label; with a list, all labels get the same value.",
    }
    full = fields_schema(LABELLED_FIELDS) | one_form
    full["properties"] = {**full["properties"], "labels": labels}
    remove: Schema = {
        "type": "object",
        "properties": {"remove": {"const": True, "description": "In overlays: remove this entry."}},
        "required": ["remove"],
        "additionalProperties": False,
    }
    return {"anyOf": [scalar, full, remove]}


def document_schema() -> Schema:
    """One document of a state file as JSON Schema."""
    return fields_schema(DOCUMENT_FIELDS)
