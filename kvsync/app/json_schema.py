"""JSON Schema 2020-12 of the configuration, state files, plan documents, and the messages of `run.notify`.

The first two are made of the tables of fields that the reading itself goes by. They describe a file as an editor sees it, by
the YAML 1.2 core schema; `kvsync validate` checks what depends on more than one file or on the store.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final

from kvsync.config.model import NoticeKind
from kvsync.model.change import Action, Class, OutcomeKind
from kvsync.yaml.fields import Schema

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

_TEXT: Final[Schema] = {"type": "string"}
_TEXT_OR_NULL: Final[Schema] = {"type": ["string", "null"]}
_CODE: Final[Schema] = {"type": "string", "pattern": "^KV[0-9]{4}$"}
_COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
_AMOUNT: Final[Schema] = {"type": "number", "minimum": 0}
_DIGEST: Final[Schema] = {"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"}


def config_schema() -> Schema:
    """The schema of `kvsync.yaml`, with the fields of every store type that is installed."""
    from kvsync.app.config_schema import main_schema

    return _titled("config", "Configuration of kvsync: kvsync.yaml", main_schema())


def overlay_schema() -> Schema:
    """The schema of an overlay of the configuration, such as `kvsync.prod.yaml`."""
    from kvsync.app.config_schema import overlay_schema

    return _titled("overlay", "Overlay of the configuration of kvsync: kvsync.<environment>.yaml", overlay_schema())


def state_schema() -> Schema:
    """The schema of one document of a state file. An overlay may leave out what the file under it says, so that store and
    namespace are not required here."""
    from kvsync.desired.fields import document_schema

    both: Schema = {"not": {"required": ["store", "stores"]}}
    return _titled("state", "Desired state for kvsync: a file under state/", document_schema() | both)


def plan_schema() -> Schema:
    """The schema of what `plan -o json`, `apply -o json` and `plan --out` write. Later versions may add members."""
    document = _object(
        {
            "schema": {"const": "kvsync.plan/1"},
            "digest": _DIGEST,
            "owner": _TEXT,
            "targets": _list(_target()),
            "summary": _summary(),
            "stats": _object({"requests": _COUNT, "bytes_received": _COUNT, "seconds": _AMOUNT}),
        },
        {
            "environment": _TEXT_OR_NULL,
            "seal": _described(_TEXT, "Identifies the key of the state directory that the plan was saved with."),
            "signature": _described(_TEXT, "Signature of the rest of a saved plan, made with that key."),
            "source": _described(_TEXT, "Commit of the files, if they come from Git."),
            "unmanaged": _described(
                _list(
                    _object({"store": _TEXT, "namespace": _TEXT, "orphans": _COUNT, "configured": {"type": "boolean"}})
                ),
                "Targets that no file names: how many entries kvsync owns there, and whether kvsync.yaml has the store.",
            ),
        },
    )
    return _titled("plan", "Plan of kvsync, with the outcomes after an apply", document)


def notice_schema() -> Schema:
    """The schema of the messages that `run.notify` with format webhook posts. Later versions may add members."""
    document = _object(
        {
            "schema": {"const": "kvsync.notice/1"},
            "id": _described(
                _TEXT, "Id of the message, unchanged when it is sent again; also in the header webhook-id."
            ),
            "at": _described(_TEXT, "When it was written, RFC 3339 in UTC."),
            "owner": _TEXT,
            "environment": _TEXT_OR_NULL,
            "summary": _object({str(kind): _COUNT for kind in NoticeKind}),
            "notices": _list({"oneOf": [_notice(kind, members) for kind, members in _notices().items()]}),
        }
    )
    return _titled("notice", "Message of kvsync about targets", document)


def _notices() -> dict[NoticeKind, dict[str, Schema]]:
    since = {"since": _described(_TEXT, "When it was first seen, RFC 3339 in UTC.")}
    drift = {"type": "object", "additionalProperties": _COUNT}
    healed = {"type": "boolean"}
    kinds = [str(kind) for kind in NoticeKind if kind is not NoticeKind.HEALED]
    return {
        NoticeKind.DRIFT: {
            **since,
            "drift": _described(drift, "Entries by class: drifted, missing, conflict."),
            "healed": _described(healed, "True when the pass that found it healed it; then no healed notice follows."),
        },
        NoticeKind.PARKED: {
            **since,
            "digest": _DIGEST,
            "code": _CODE,
            "reasons": _list(_TEXT),
            "command": _described(_TEXT, "Command that approves the plan."),
        },
        NoticeKind.FAILED: {
            **since,
            "error": _TEXT,
            "code": _described({"anyOf": [_CODE, {"type": "null"}]}, "Code of the error, if it has one."),
            "attempts": _described(_COUNT, "Passes in a row that failed."),
            "unavailable": _described({"type": "boolean"}, "True when the store caused the failure."),
        },
        NoticeKind.HEALED: {"ended": _described(_list({"enum": kinds}), "Notices that no longer apply.")},
    }


def _notice(kind: NoticeKind, members: dict[str, Schema]) -> Schema:
    return _object({"kind": {"const": str(kind)}, "store": _TEXT, "namespace": _TEXT, **members})


SCHEMAS: Final = {
    "config": config_schema,
    "overlay": overlay_schema,
    "state": state_schema,
    "plan": plan_schema,
    "notice": notice_schema,
}
"""The schemas by the name under which `kvsync schema` prints them."""


def _titled(name: str, title: str, schema: Schema) -> Schema:
    return {"$schema": _DIALECT, "$id": f"urn:kvsync:{name}:1", "title": title, **schema}


def _object(required: dict[str, Schema], optional: dict[str, Schema] | None = None) -> Schema:
    return {"type": "object", "properties": required | (optional or {}), "required": list(required)}


def _list(item: Schema) -> Schema:
    return {"type": "array", "items": item}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _words(words: type[StrEnum]) -> Schema:
    return {"enum": [str(word) for word in words]}


def _described(schema: Schema, description: str) -> Schema:
    return {**schema, "description": description}


def _target() -> Schema:
    required: dict[str, Any] = {
        "store": _TEXT,
        "type": _TEXT,
        "namespace": _TEXT,
        "complete": _described({"type": "boolean"}, "False when the listing was incomplete; then nothing is deleted."),
        "parked": _described(_list(_TEXT), "Reasons why the target needs approval; empty when it does not."),
        "approved": _described({"type": "boolean"}, "True when the parked plan was approved."),
        "changes": _list(_change()),
        "refused": _list(_refusal()),
        "foreign": _described(_COUNT, "Number of entries that are neither desired nor owned by kvsync."),
        "unchanged": _COUNT,
        "cost": _object({"requests": _COUNT, "bytes": _COUNT, "seconds": _AMOUNT}),
        "digest": _DIGEST,
        "reported": _described(_list(_change()), "Drift that the policy only reports, and deletes that wait."),
        "ignored": _COUNT,
        "expired": _COUNT,
        "orphans": _described(_COUNT, "Number of the unchanged entries that kvsync owns and no file names."),
        "problems": _described(_list(_TEXT), "Problems in the files of this target; the target is left unchanged."),
        "error": _described(_TEXT_OR_NULL, "Error that prevented reading or writing the store."),
        "place": _described(
            _or_null(_object({"id": _TEXT_OR_NULL, "description": _TEXT})),
            "Place of the target; the id is null while it is unknown, for example before the namespace exists.",
        ),
        "moved_from": _described(_TEXT_OR_NULL, "Previous place of the target, if it changed."),
    }
    optional = {
        "outcomes": _described(_list(_outcome()), "After an apply: the outcome of each change."),
        "waiting": _described(_list(_TEXT), "Changes that must wait, and why."),
        "notes": _described(_list(_TEXT), "What to know before the plan is applied."),
        "wave": _described(_wave(), "With waves: which wave the target is in, and what its changes wait for."),
        "deletes_namespace": _described({"const": True}, "The namespace is empty, and is deleted."),
        "namespace_deleted": _described({"const": True}, "After an apply: the namespace was deleted."),
        "code": _described(_CODE, "Code of the error."),
    }
    return _object(required, optional)


def _wave() -> Schema:
    return _object({"number": _COUNT, "of": _COUNT, "waits_for": _TEXT_OR_NULL, "until": _TEXT_OR_NULL})


def _name() -> dict[str, Schema]:
    return {"key": _TEXT, "label": _TEXT_OR_NULL}


def _change() -> Schema:
    size = {"anyOf": [_COUNT, {"type": "null"}]}
    side = _object(
        {"fingerprint": _TEXT_OR_NULL, "size": _described(size, "In bytes; null when sensitive or unknown.")},
        {"ttl": _described(_COUNT, "In seconds."), "expires_at": _TEXT},
    )
    required = {
        "action": _words(Action),
        "class": _words(Class),
        **_name(),
        "reasons": _described(
            _list(_TEXT), "What differs: value, content_type, tags, metadata, description, ttl, expires_at, mark."
        ),
        "etag": _described(_TEXT_OR_NULL, "Version that the plan saw; the write requires it."),
        "before": _or_null(side),
        "after": _or_null(side),
        "origin": _described(_TEXT_OR_NULL, "file:line:column of the entry."),
    }
    optional = {
        "sensitive": {"const": True},
        "moved_to": _object(_name(), {"store": _TEXT, "namespace": _TEXT}),
        "written_after": _described(_list(_TEXT), "Keys that are written first; the entry waits until they are."),
        "written_last": _described({"const": True}, "The entry is written after everything else of its target."),
    }
    return _object(required, optional)


def _refusal() -> Schema:
    words = {"action": _words(Action), "class": _words(Class)}
    reasons = _described(_list(_TEXT), "What differs, as in the reasons of a change.")
    return _object({**words, **_name(), "reason": _TEXT, "code": _CODE, "reasons": reasons, "origin": _TEXT_OR_NULL})


def _outcome() -> Schema:
    required = {**_name(), "action": _words(Action), "outcome": _words(OutcomeKind), "error": _TEXT_OR_NULL}
    return _object(required, {"code": _CODE})


def _summary() -> Schema:
    actions = {str(action): _COUNT for action in Action if action is not Action.RELEASE}
    planned = {**actions, "unchanged": _COUNT, "foreign": _COUNT, "refused": _COUNT}
    outcomes = {str(kind): _COUNT for kind in OutcomeKind}
    return _object(
        planned,
        {
            str(Action.RELEASE): _COUNT,
            "namespaces": _COUNT,
            **outcomes,
            "outcomes": {"type": "object", "additionalProperties": _COUNT},
        }
        | planned,
    )
