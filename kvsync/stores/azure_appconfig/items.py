"""Conversion of key-values of the API to entries: content, and kvsync's mark.

The mark lives in tags, which nobody but kvsync uses and which are never shown as tags of the entry:

    kvsync        the owner
    kvsync.fp     fingerprint of what was applied, in URL-safe base64
    kvsync.seal   what binds the mark to store, namespace, key and label, in URL-safe base64
    kvsync.ttl    lifetime in seconds, where there is one
    kvsync.until  moment at which the entry ends, in UTC, where there is one; kvsync deletes it then
    kvsync.flags  "s" sensitive, "p" protected
    kvsync.ns     namespace, where the key alone does not tell it
"""

from __future__ import annotations

import binascii
import math
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from kvsync.model.canonical import actual_fingerprint
from kvsync.model.entry import Actual, Content, Identity, Mark
from kvsync.planning.marks import MarkSigner, seal_from_text, seal_to_text, ttl_from
from kvsync.stores.listed_entries import ListedEntries

RESERVED: Final = "kvsync"
"""The name of kvsync's tag, and with a dot the prefix of its other tags."""

OWNER_TAG, _FINGERPRINT, _SEAL, _TTL, _UNTIL, _FLAGS, NAMESPACE_TAG = (
    RESERVED,
    "kvsync.fp",
    "kvsync.seal",
    "kvsync.ttl",
    "kvsync.until",
    "kvsync.flags",
    "kvsync.ns",
)
_NOT_SETTLED: Final = frozenset({_TTL, _UNTIL, _FLAGS})
"""Tags that say more about an entry than its fingerprint."""
_LATEST: Final = 253402300799
"""The last second of the year 9999."""

Tags = Mapping[str, str]


class Row(NamedTuple):
    """One entry of a listing, under its remote key. `value` is None if it is not cached."""

    key: str
    label: str | None
    etag: str
    fingerprint: bytes
    size: int
    tags: Tags
    content_type: str | None
    value: str | None
    locked: bool
    description: str | None = None


class Nulls(NamedTuple):
    """What is null in an entry, and empty in its row: the value, and tags by their names."""

    value: bool = False
    tags: frozenset[str] = frozenset()


NO_NULLS: Final = Nulls()


def nulls_of(item: Mapping[str, Any]) -> Nulls:
    """What is null in an entry of the API that `row_of` accepts."""
    tags = item.get("tags") or {}
    return Nulls(item.get("value") is None, frozenset(name for name, text in tags.items() if text is None))


def row_of(item: Mapping[str, Any]) -> Row:
    """An entry of a page. Raises KeyError, TypeError or AttributeError for another form."""
    value, content_type = item.get("value") or "", item.get("content_type") or None
    tags = {name: text or "" for name, text in (item.get("tags") or {}).items()}
    if not all(isinstance(text, str) for text in (item["key"], item["etag"], content_type or "", *tags.values())):
        raise TypeError("a field that must be text has another type")
    description = item.get("description") or None
    if not isinstance(description, str | None):
        raise TypeError("a description must be text")
    content = Content(_encoded(value), content_type, user_tags(tags), None, description)
    noted = _decoded(tags[_FINGERPRINT]) if _FINGERPRINT in tags else None
    return Row(
        item["key"],
        item.get("label") or None,
        item["etag"],
        actual_fingerprint(content, None if noted is None else noted.__eq__),
        len(content.value),
        tags,
        content_type,
        value,
        bool(item.get("locked")),
        description,
    )


def to_actual(identity: Identity, row: Row, namespace: str | None) -> Actual:
    """A row as an entry. `namespace` is the one that its mark must name, None if the key tells it."""
    content = None
    if row.value is not None:
        content = Content(_encoded(row.value), row.content_type, user_tags(row.tags), None, row.description)
    return Actual(
        identity,
        row.etag,
        row.fingerprint,
        content,
        row.size,
        _moment(row.tags.get(_UNTIL)),
        _mark(row.tags, namespace),
        row.locked,
    )


def is_plain(row: Row, owner: str, namespace: str | None) -> bool:
    """True if the fingerprint says everything about a row, provided that its mark is valid; see `Snapshot`."""
    tags = row.tags
    if tags.get(OWNER_TAG) != owner or row.locked or not tags.keys().isdisjoint(_NOT_SETTLED):
        return False
    return tags.get(NAMESPACE_TAG) == namespace and _decoded(tags.get(_FINGERPRINT)) == row.fingerprint


class Entries(ListedEntries):
    """The entries of a listing. `identified` are its rows by identity; `home` gives the namespace that the mark of a remote key
    must name."""

    def __init__(
        self, identified: Mapping[Identity, Row], home: Callable[[str], str | None], signer: MarkSigner
    ) -> None:
        super().__init__()
        self._rows, self._home = identified, home
        plain = {one: row for one, row in identified.items() if is_plain(row, signer.owner, home(row.key))}
        seals = signer.plain_seal_texts(plain, [row.fingerprint for row in plain.values()])
        for (identity, row), seal in zip(plain.items(), seals, strict=True):
            if row.tags.get(_SEAL) == seal:
                self.settled[identity] = row.fingerprint
        for identity, row in identified.items():
            if identity not in self.settled:
                self.others[identity] = to_actual(identity, row, home(row.key))

    def _settled_entry(self, identity: Identity, fingerprint: bytes) -> Actual:
        row = self._rows[identity]
        return to_actual(identity, row, self._home(row.key))


def may_be_kept(row: Row, owner: str) -> bool:
    """True if the value may be kept in a file: it is ours, and not sensitive."""
    return row.tags.get(OWNER_TAG) == owner and "s" not in row.tags.get(_FLAGS, "")


def user_tags(tags: Tags) -> tuple[tuple[str, str], ...]:
    """The tags that are part of the content."""
    return tuple(sorted((name, text) for name, text in tags.items() if not is_reserved(name)))


def is_reserved(name: str) -> bool:
    """True for the names of kvsync's tags."""
    return name == RESERVED or name.startswith(f"{RESERVED}.")


def tags_for(content: Content, mark: Mark | None, expires_at: float | None, namespace: str | None) -> dict[str, str]:
    """All tags of an entry: those of its content, our mark, and the moment at which it ends."""
    tags = dict(content.tags)
    if mark is not None:
        tags[OWNER_TAG] = mark.owner
        tags[_FINGERPRINT] = urlsafe_b64encode(mark.fingerprint).decode().rstrip("=")
        if mark.seal is not None:
            tags[_SEAL] = seal_to_text(mark.seal)
        if mark.ttl is not None:
            tags[_TTL] = str(mark.ttl)
        if flags := "s" * mark.sensitive + "p" * mark.protected:
            tags[_FLAGS] = flags
        if namespace is not None:
            tags[NAMESPACE_TAG] = namespace
    if expires_at is not None:
        moment = datetime.fromtimestamp(min(math.floor(expires_at), _LATEST), UTC)
        tags[_UNTIL] = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    return tags


def _encoded(value: str) -> bytes:
    return value.encode("utf-8", "surrogatepass")  # JSON can hold halves of characters


def _mark(tags: Tags, namespace: str | None) -> Mark | None:
    owner = tags.get(OWNER_TAG)
    if owner is None:
        return None
    if (
        home := tags.get(NAMESPACE_TAG)
    ) != namespace:  # a neighbour's, whose namespace this key could be part of as well
        owner = f"{owner} (namespace {home})" if home is not None else f"{owner} (another namespace)"
    flags = tags.get(_FLAGS, "")
    return Mark(
        owner,
        _decoded(tags.get(_FINGERPRINT)),
        ttl_from(tags.get(_TTL)),
        "s" in flags,
        "p" in flags,
        seal=seal_from_text(tags.get(_SEAL)),
    )


def _decoded(text: str | None) -> bytes:
    try:
        return urlsafe_b64decode((text or "") + "==")
    except (binascii.Error, ValueError):
        return b""


def _moment(text: str | None) -> float | None:
    """A moment that a person may have edited; None if it cannot be parsed."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
