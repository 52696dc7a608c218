"""Secrets as entries: values, versions, and kvsync's mark in custom metadata.

Two members of the custom metadata are kvsync's own; all others belong to other programs and are never changed.

    kvsync        the mark, and the version that it was made for, with the time at which the server created it
    kvsync-next   the mark of a version that is about to be written, and a digest of its content

state of the metadata                                     the mark of the current version
──────────────────────────────────────────────────────    ─────────────────────────────────────────────────────────────────
kvsync names the current version and its time             kvsync
kvsync names an earlier version, replaced while it lived  kvsync: another program changed an entry of ours
kvsync names a version that was deleted or expired        none: another program created the secret again
kvsync names another time, or a version that is gone      none: it cannot be proven
kvsync-next names the current version, digest equal       kvsync-next: the process was killed before it could confirm
kvsync-next in all other cases                            as if it were not there
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

from kvsync.model.canonical import canonical_json, canonical_json_text, fingerprint
from kvsync.model.entry import Actual, Content, Identity, Mark
from kvsync.stores.mark_fields import MARK_FIELDS, bytes_from_hex, fields_from_text, fields_to_text

MARK: Final = "kvsync"
NEXT: Final = "kvsync-next"
FIELD: Final = "value"
"""The member of a secret that holds a value which is not a JSON object."""

_EXACT: Final = 2**53
"""Whole numbers up to here keep their value in every server."""


class Version(NamedTuple):
    """One version: when it was created, and when it is or was deleted, as the server writes it and in epoch seconds."""

    created: str
    deleted_at: float | None
    destroyed: bool


@dataclass(frozen=True, slots=True)
class Secret:
    """What the metadata of a path says at the moment `seen_at`. `current` is the number of the newest version, 0 where there
    is none."""

    current: int
    versions: Mapping[int, Version]
    custom: Mapping[str, str]
    seen_at: float
    delete_after: str = "0s"

    @property
    def etag(self) -> str:
        """The current version and the time of its creation: numbers begin again when a secret is removed completely."""
        version = self.versions.get(self.current)
        return f"{self.current}@{version.created if version is not None else ''}"

    @property
    def is_live(self) -> bool:
        """True when the current version can be read: it is neither deleted nor destroyed."""
        version = self.versions.get(self.current)
        if version is None or version.destroyed:
            return False
        return version.deleted_at is None or version.deleted_at > self.seen_at

    @property
    def expires_at(self) -> float | None:
        """When the current version ends."""
        version = self.versions.get(self.current)
        return version.deleted_at if version is not None else None


def secret_of(data: Mapping[str, Any], seen_at: float) -> Secret:
    """The metadata of a response that arrived at `seen_at`.

    Raises LookupError, TypeError, AttributeError or ValueError for what is not it."""
    versions = {int(number): _version(one) for number, one in data["versions"].items()}
    custom, after = data.get("custom_metadata") or {}, str(data.get("delete_version_after"))
    return Secret(int(data["current_version"]), versions, custom, seen_at, after)


def current_of(metadata: Mapping[str, Any], seen_at: float) -> Secret:
    """The part of the metadata that comes with a value: of its version alone. Raises the same."""
    number = int(metadata["version"])
    return Secret(number, {number: _version(metadata)}, metadata.get("custom_metadata") or {}, seen_at)


def needs_history(secret: Secret) -> bool:
    """True when earlier versions are needed to tell whose the current one is."""
    return fields_from_text(secret.custom.get(MARK)).get("v") not in (None, secret.current)


def to_actual(identity: Identity, secret: Secret, content: Content | None) -> Actual:
    """A live secret as an entry; without `content`, as a listing shows it."""
    confirmed = _confirmed(secret)
    noted = confirmed if content is None else _unconfirmed(secret, content) or confirmed
    known = fingerprint(content) if content is not None else _fingerprint(secret, confirmed)
    size = None if content is None else len(content.value)
    return Actual(identity, secret.etag, known, content, size, secret.expires_at, MARK_FIELDS.mark(noted))


def must_be_read(secret: Secret) -> bool:
    """True when only the value tells whose the current version is: a process was killed after it had written it."""
    return fields_from_text(secret.custom.get(NEXT)).get("v") == secret.current


def mark_text(mark: Mark, content: Content, version: int, created: str | None = None) -> str:
    """A mark for the custom metadata: confirmed by the time at which its version was created, or about to be made."""
    of = None if fingerprint(content) == mark.fingerprint else fingerprint(content).hex()
    return fields_to_text(MARK_FIELDS.of(mark) | {"v": version, "at": created, "of": of})


def to_data(content: Content) -> Mapping[str, Any]:
    """The members of the secret for a value: those of a JSON object, else one member `value` with the text."""
    found = _exact_object(content.value)
    return {FIELD: content.value.decode()} if found is None or _is_text(found) else found


def to_content(data: Mapping[str, Any]) -> Content:
    """The value that the members of a secret are."""
    if _is_text(data):
        return Content(str(data[FIELD]).encode("utf-8", "surrogatepass"))
    return Content(canonical_json(data).encode("utf-8", "surrogatepass"))


def _version(found: Mapping[str, Any]) -> Version:
    return Version(str(found["created_time"]), _moment(found["deletion_time"]), bool(found["destroyed"]))


def _is_text(data: Mapping[str, Any]) -> bool:
    return data.keys() == {FIELD} and isinstance(data[FIELD], str)


def _exact_object(value: bytes) -> dict[str, Any] | None:
    """The JSON object that a text is, if every server gives it back as the same text."""
    if not value.startswith(b"{") or canonical_json_text(value) != value:
        return None
    found = json.loads(value)
    return found if isinstance(found, dict) and _is_exact(found) else None


def _is_exact(found: Any) -> bool:
    if isinstance(found, dict):
        return all(map(_is_exact, found.values()))
    if isinstance(found, list):
        return all(map(_is_exact, found))
    return (
        not isinstance(found, int | float)
        or isinstance(found, bool)
        or (isinstance(found, int) and abs(found) < _EXACT)
    )


def _confirmed(secret: Secret) -> Mapping[str, Any]:
    """The confirmed mark if it is that of the current version, or of one that was replaced while it lived."""
    noted = fields_from_text(secret.custom.get(MARK))
    number = noted.get("v")
    version = secret.versions.get(number) if isinstance(number, int) else None
    if version is None or number is None or version.created != noted.get("at") or number > secret.current:
        return {}
    following = secret.versions.get(number + 1)
    if number == secret.current:
        return noted
    if following is None or version.destroyed:
        return {}
    replaced = _moment(following.created)
    was_live = version.deleted_at is None or (replaced is not None and version.deleted_at > replaced)
    return noted if was_live else {}


def _unconfirmed(secret: Secret, content: Content) -> Mapping[str, Any]:
    noted = fields_from_text(secret.custom.get(NEXT))
    is_ours = noted.get("v") == secret.current and noted.get("of", noted.get("fp")) == fingerprint(content).hex()
    return noted if is_ours else {}


def _fingerprint(secret: Secret, noted: Mapping[str, Any]) -> bytes | None:
    """The fingerprint of the current version where a mark tells it."""
    if noted.get("v") != secret.current or must_be_read(secret):
        return None
    return bytes_from_hex(noted.get("of", noted.get("fp"))) or None


def _moment(text: Any) -> float | None:
    """A time as the server writes it, with up to nine digits after the second, of which six count; None for an empty one.
    Raises ValueError."""
    return datetime.fromisoformat(str(text)).timestamp() if text else None
