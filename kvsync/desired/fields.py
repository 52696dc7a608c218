"""Field tables of state files, used by the decoder and by `kvsync schema state`."""

from __future__ import annotations

from typing import Any, Final

from kvsync.config.policy import POLICY_FIELDS
from kvsync.desired.feature_fields import FEATURE_FIELDS
from kvsync.desired.field_decoders import (
    SCALAR,
    VARIABLE,
    KeysDecoder,
    PlacedDecoder,
    VariablesDecoder,
    after,
    exclusions,
    media_type,
    ttl,
)
from kvsync.desired.variant_checks import check_variants
from kvsync.model.canonical import canonical_json
from kvsync.model.entry import Mode
from kvsync.yaml.fields import (
    OMITTED,
    Decoder,
    Field,
    Schema,
    boolean,
    checked,
    choice,
    duration,
    fields_schema,
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

VALUE_FORMS: Final = ("value", "template", "json", "file", "base64", "env", "sops", "feature")


def _field(name: str, decoder: Decoder, help: str, *, required: bool = False) -> Field:  # noqa: A002  # as in Field
    return Field(name, decoder, required=required, default=OMITTED, help=help)


OPTION_FIELDS: Final = (
    _field("ttl", ttl(), "Lifetime of the entry; kvsync renews it. `none` removes a default."),
    _field("renew_before", duration(whole=True), "Renew the entry when less than this time is left; 0s means never."),
    _field("mode", choice(Mode), "enforce (keep it in sync), create-only (write it once), observe (report only)."),
    _field("protected", boolean(), "Never delete or overwrite the entry without --allow-protected."),
    _field("sensitive", boolean(), "Never show or log the value, or keep it in the journal."),
    _field("content_type", media_type(), "The media type of the value, such as text/html."),
    _field("tags", map_of(text(empty=True)), "Tags as pairs of text; added to the tags in defaults."),
    _field("metadata", free_json(), "Metadata as free JSON, if the store supports it."),
)
"""What may be said of an entry besides its value; `defaults` says it for all entries of a document."""

SOPS_FIELDS: Final = (
    _field("file", path(), "The encrypted file, relative to this file.", required=True),
    _field(
        "key",
        one_of(list_of(text(), least=1), text()),
        "The key in the file, such as db.password; a list for keys with dots: [db, a.b].",
        required=True,
    ),
)

FORM_FIELDS: Final = (
    _field("value", text(empty=True), "The value as text, exactly as written."),
    _field(
        "template",
        text(empty=True),
        "The value as text in which variables, `${name}`, are replaced.",
    ),
    _field("json", free_json(), "The value as JSON; stored in canonical form, compared by value."),
    _field("file", path(), "File with the value; the path is relative to this file."),
    _field("base64", text(empty=True, private=True), "The value as Base64."),
    _field(
        "env",
        text(VARIABLE, "the name of an environment variable", private=True),
        "Environment variable with the value.",
    ),
    _field("feature", checked(record(FEATURE_FIELDS), check_variants), "A feature flag of Azure App Configuration."),
    _field("sops", record(SOPS_FIELDS), "Key of a file that SOPS encrypted; the entry is sensitive."),
)

VARIABLE_FORMS: Final = ("env", "sops")
"""Forms that the value of a document's variable may have, besides text."""

VARIABLE_FIELDS: Final = tuple(one for one in FORM_FIELDS if one.name in VARIABLE_FORMS)

_AFTER_FIELD: Final = _field(
    "after",
    after(),
    "Keys to write before this entry; `all` writes it last, if everything else in the target succeeded.",
)

LABELLED_FIELDS: Final = (
    *FORM_FIELDS,
    *OPTION_FIELDS,
    _field("expires_at", moment(), "Time when the entry expires."),
    _field(
        "description",
        text(empty=True),
        "Description of the entry, if the store has descriptions. Without this field, kvsync keeps the one in the store.",
    ),
    _AFTER_FIELD,
)
"""An entry under a label."""

FILES_FIELDS: Final = (
    _field("path", path(), "Folder, relative to this file.", required=True),
    Field("glob", glob(), default="**/*", help="Glob of the files in the folder."),
    Field(
        "exclude",
        exclusions(),
        default=(),
        help="Patterns of files to leave out, as in a .gitignore, but without exceptions (!).",
    ),
    Field("prefix", text(empty=True), default="", help="Prefix of the keys."),
    *OPTION_FIELDS,
    _AFTER_FIELD,
)

MOVED_FROM_FIELDS: Final = (
    _field("key", text(), "The old key.", required=True),
    _field("store", text(), "The store that it leaves, if that is another one."),
    _field("namespace", text(), "The namespace that it leaves, if that is another one."),
)

MOVED_FIELDS: Final = (
    _field(
        "from",
        one_of(text(), record(MOVED_FROM_FIELDS)),
        "The old key, or store, namespace and key where it was in another target.",
        required=True,
    ),
    _field("to", text(), "The new key; it must be in keys.", required=True),
)

DOCUMENT_FIELDS: Final = (
    _field("store", text(), "The store, by its name in kvsync.yaml."),
    _field("stores", list_of(text(), least=1), "Several stores with the same entries."),
    _field("namespace", text(r"[\s\S]{1,1000}", "text of at most 1,000 characters"), "The namespace in the store."),
    _field("defaults", record(OPTION_FIELDS), "Defaults for all entries of the document."),
    _field(
        "vars",
        VariablesDecoder(forms=VARIABLE_FIELDS),
        "Variables for templates: text, {env: NAME} or {sops: …}.",
    ),
    _field("policy", record(POLICY_FIELDS), "Settings that make the policy stricter for this target."),
    _field("keys", KeysDecoder(lambda: entry_schema()), "The entries. {} deletes all entries that kvsync owns."),
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
    """Merge `over` over `under`, field by field. Tags are merged too, and a lifetime (`ttl` or `expires_at`) replaces one of
    the other kind."""
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
    scalar = SCALAR
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
