"""Saved plans: writes and reads plan files.

The file is the plan's JSON document with the environment it was made for: fingerprints and etags, never a value. Nothing is
applied *from* it; it can only leave out changes of a fresh plan (`plan_selection`), so an edited file cannot add anything. A
signature over the whole document, under the key of the state directory, shows whether it was edited.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from hmac import compare_digest
from typing import Any, NamedTuple, TypeVar

from kvsync.errors import InvalidInput, Origin, Problem
from kvsync.model.change import Action
from kvsync.model.entry import Identity, Target
from kvsync.model.plan import Plan
from kvsync.rendering.json import SCHEMA, Document, Seal, plan_document, to_text
from kvsync.util.escaping import to_bytes

_PROBE = b"kvsync saved plan"
_SIGNED = b"kvsync signature of a saved plan\0"
_AGAIN = "create a new one with kvsync plan --out FILE"
_T = TypeVar("_T")


class _Side(NamedTuple):
    """One side of a saved change: its fingerprint (sealed when sensitive) and declared lifetime."""

    fingerprint: str | None = None
    ttl: int | None = None
    expires_at: str | None = None


class SavedPlace(NamedTuple):
    """Where a target led: `id` is None for a place that was not there yet."""

    id: str | None
    description: str


@dataclass(frozen=True, slots=True)
class SavedChange:
    """One change as it was planned: what, against which version, and to what end."""

    identity: Identity
    action: Action
    etag: str | None
    before: _Side | None
    after: _Side | None
    moved_to: Identity | None
    moved_to_target: Target | None
    sensitive: bool


class _RepeatedError(ValueError):
    """A member of an object is there twice."""


@dataclass(frozen=True, slots=True)
class SavedPlan:
    """A plan read back from a file. `seal` names the key that it was signed with. `places` says where each target led (None:
    the file does not say). `content` represents everything in the file but the signature."""

    owner: str
    digest: str
    environment: str | None
    seal: str
    targets: Mapping[Target, tuple[SavedChange, ...]]
    places: Mapping[Target, SavedPlace | None]
    content: bytes
    signature: str | None

    def is_comparable(self, seal: Seal) -> bool:
        """True when it was saved with the same key: only then signature and sensitive values can be checked."""
        return self.seal == seal(_PROBE)

    def is_altered(self, seal: Seal) -> bool:
        """True when it is not as it was saved. Only for one that `is_comparable`."""
        given = to_bytes(self.signature or "")
        return not compare_digest(given, seal(_SIGNED + self.content).encode())


def save(plan: Plan, seal: Seal, environment: str | None) -> str:
    """The text of a plan file. `environment` is the one in force, `seal` the state directory's."""
    document = {**plan_document(plan, seal), "environment": environment, "seal": seal(_PROBE)}
    content = _content(json.loads(to_text(document)))  # as it will be read
    return to_text({**document, "signature": seal(_SIGNED + content)})


def load(text: str, file: str = "plan file") -> SavedPlan:
    """Read a plan file back. Raises InvalidInput when it is not a plan that this version of kvsync saved."""
    try:
        document = json.loads(text, object_pairs_hook=_members)
    except _RepeatedError:
        raise _invalid("is damaged: an object contains the same member twice", file) from None
    except (ValueError, RecursionError) as error:
        line, column = getattr(error, "lineno", 1), getattr(error, "colno", 1)
        raise _invalid("is not valid JSON; the file may be truncated", file, line, column) from None
    schema = document.get("schema") if isinstance(document, dict) else None
    if schema != SCHEMA:
        found = f"its schema is {schema!r}" if isinstance(schema, str) else "it has no schema"
        raise _invalid(f"is not a plan that this version of kvsync can read: {found}, expected {SCHEMA!r}", file)
    if "seal" not in document:
        raise _invalid("is the output of plan -o json, which cannot be applied", file)
    try:
        return _saved(document)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise _invalid("is damaged: a part of the plan is missing or has the wrong type", file) from None


def mismatch(saved: SavedPlan, owner: str, environment: str | None) -> str | None:
    """Why a saved plan does not belong to this configuration at all, None when it does."""
    if saved.owner != owner:
        return f"the plan was saved for owner {saved.owner!r}, but the configuration has owner {owner!r}"
    if saved.environment != environment:
        names = [f"environment {name!r}" if name else "no environment" for name in (saved.environment, environment)]
        return f"the plan was saved for {names[0]}, but kvsync is running with {names[1]}"
    return None


def _saved(document: Document) -> SavedPlan:
    targets: dict[Target, tuple[SavedChange, ...]] = {}
    places: dict[Target, SavedPlace | None] = {}
    for described in document["targets"]:
        target = Target(_typed(described["store"], str), _typed(described["namespace"], str))
        changes = {change.identity: change for change in map(saved_change, described["changes"])}
        if target in targets or len(changes) != len(described["changes"]):
            raise ValueError(target)
        targets[target] = tuple(changes.values())
        places[target] = _place(described.get("place"))
    owner, digest, seal = (_typed(document[name], str) for name in ("owner", "digest", "seal"))
    environment, signature = _optional(document["environment"], str), _optional(document.get("signature"), str)
    return SavedPlan(owner, digest, environment, seal, targets, places, _content(document), signature)


def _place(document: Document | None) -> SavedPlace | None:
    if document is None:
        return None
    return SavedPlace(_optional(document["id"], str), _typed(document["description"], str))


def _content(document: Document) -> bytes:
    """32 bytes that represent everything in a document but its signature."""
    signed = {name: value for name, value in document.items() if name != "signature"}
    return sha256(json.dumps(signed, sort_keys=True, separators=(",", ":")).encode()).digest()


def _members(pairs: list[tuple[str, Any]]) -> Document:
    """The members of an object. Raises _RepeatedError for one that is there twice: readers would not agree which one counts."""
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _RepeatedError
    return members


def saved_change(document: Document) -> SavedChange:
    """A change from its JSON document. Raises KeyError, TypeError and ValueError if it is damaged."""
    moved_to = document.get("moved_to")
    return SavedChange(
        _identity(document),
        Action(document["action"]),
        _optional(document["etag"], str),
        _side(document["before"]),
        _side(document["after"]),
        None if moved_to is None else _identity(moved_to),
        None if moved_to is None else _other_target(moved_to),
        _typed(document.get("sensitive", False), bool),
    )


def _other_target(document: Document) -> Target | None:
    if "store" not in document:
        return None
    return Target(_typed(document["store"], str), _typed(document["namespace"], str))


def _side(document: Document | None) -> _Side | None:
    if document is None:
        return None
    fingerprint = _optional(document["fingerprint"], str)
    return _Side(fingerprint, _optional(document.get("ttl"), int), _optional(document.get("expires_at"), str))


def _identity(document: Document) -> Identity:
    return Identity(_typed(document["key"], str), _optional(document["label"], str))


def _typed(value: Any, kind: type[_T]) -> _T:
    if not isinstance(value, kind):
        raise TypeError(kind)
    return value


def _optional(value: Any, kind: type[_T]) -> _T | None:
    return None if value is None else _typed(value, kind)


def _invalid(what: str, file: str, line: int = 1, column: int = 1) -> InvalidInput:
    return InvalidInput([Problem(what, Origin(file, line, column), _AGAIN)])
