"""JSON request and response bodies."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from kvsync.emulators.azure.model import DESCRIBED_FIELDS, FIELDS, KeyValue
from kvsync.emulators.azure.problems import empty, invalid, problem
from kvsync.emulators.azure.query import DESCRIPTIONS, LONGEST, Arguments, has_control, literal
from kvsync.emulators.model import Answer, Request
from kvsync.emulators.quantities import iso

_LARGEST: Final = 10 * 1024  # bytes of one key-value, all attributes together
_JSON: Final = ("application/json", "application/merge-patch+json", "text/json")


def media_type(name: str) -> str:
    """The content type of this kind of document: `kv`, `kvset`, `snapshot`, …; feature flags have a profile instead."""
    if name in ("ff", "ffset"):
        return f'application/json; profile="https://azconfig.io/mime-profiles/{name}"; charset=utf-8'
    return f"application/vnd.microsoft.appconfig.{name}+json; charset=utf-8"


def reply(kind: str, document: Any, headers: Mapping[str, str] | None = None, status: int = 200) -> Answer:
    """A document as an answer."""
    body = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    return Answer(status, {"Content-Type": media_type(kind), **(headers or {})}, body)


def key_value(found: KeyValue, fields: Sequence[str] = FIELDS) -> dict[str, Any]:
    """A key-value with the selected fields."""
    document = {
        "etag": found.etag,
        "key": found.key,
        "label": found.label,
        "content_type": found.content_type,
        "value": found.value,
        "tags": dict(found.tags),
        "locked": found.locked,
        "last_modified": iso(found.modified),
        "description": found.description,
    }
    return {name: document[name] for name in fields}


def shown_fields(arguments: Arguments) -> Sequence[str]:
    """The members of a key-value that a request wants, of those its version knows."""
    return arguments.selected(DESCRIBED_FIELDS if arguments.version >= DESCRIPTIONS else FIELDS)


def read_json(request: Request) -> dict[str, Any]:
    """The object in the body. Raises Refused: 415 for what says it is not JSON, 400 for what is none."""
    given = request.headers.get("Content-Type", "application/json").partition(";")[0].strip().lower()
    if given not in _JSON and not (
        given.startswith("application/vnd.microsoft.appconfig.") and given.endswith("+json")
    ):
        raise empty(415)
    try:
        document = json.loads(request.body)
        json.dumps(document, ensure_ascii=False).encode()  # a lone surrogate is not text, and cannot be sent back
    except (ValueError, RecursionError):
        raise invalid("body", "The body is not a JSON document.") from None
    if not isinstance(document, dict):
        raise invalid("body", "The body is not a JSON object.")
    return document


def read_key_value(arguments: Arguments, key: str) -> KeyValue:
    """What a PUT asks for, without etag and moment. Members that cannot be written are ignored, and so is a description in
    versions without it. Raises Refused."""
    document, label = read_json(arguments.request), arguments.label
    value, content_type = (_text(document, name) for name in ("value", "content_type"))
    if content_type is not None and has_control(content_type):
        raise invalid("content_type")
    description = _text(document, "description") if arguments.version >= DESCRIPTIONS else None
    tags = read_tags(document.get("tags"))
    return checked_size(KeyValue(key, label, value, content_type, tags, False, "", 0.0, description))


def checked_size(wanted: KeyValue) -> KeyValue:
    """The same key-value. Raises Refused if it is too large."""
    if wanted.size > _LARGEST:
        detail = f"The key-value has {wanted.size} bytes; at most {_LARGEST} are allowed."
        raise problem(413, "invalid-argument", title="The key-value is too large", name="value", detail=detail)
    return wanted


def read_tags(tags: Any) -> dict[str, str | None]:
    """Tags of a key-value or a snapshot. Raises Refused."""
    if tags is None:
        return {}
    if not isinstance(tags, dict):
        raise invalid("tags")
    for name, value in tags.items():
        if len(name) > LONGEST or has_control(name):
            raise invalid(f"tags[{name[:LONGEST]}].key")
        if value is not None and not isinstance(value, str):
            raise invalid(f"tags[{name}].value")
        literal(value or "", f"tags[{name}].value")
    return dict(tags)


@dataclass(frozen=True, slots=True)
class Form:
    """How one type of resource is read and shown. `name` is the parameter that filters lists by name, `kind` and `list_kind`
    are the media types of one and of several, `read` makes one from a PUT, `show` selects the members of an answer."""

    name: str
    kind: str
    list_kind: str
    read: Callable[[Arguments, str], KeyValue]
    show: Callable[[KeyValue, Arguments], dict[str, Any]]


KEY_VALUES: Final = Form(
    "key", "kv", "kvset", read_key_value, lambda found, arguments: key_value(found, shown_fields(arguments))
)


def _text(document: Mapping[str, Any], name: str) -> str | None:
    value = document.get(name)
    if value is not None and not isinstance(value, str):
        raise invalid(name)
    return value
