"""Entries: their identity, content and mark, as the files ask for them and as a store holds them.

All frozen. Times are seconds since the Unix epoch, lifetimes are seconds. A `repr` never shows a value.
"""

from __future__ import annotations

import hmac
from dataclasses import field
from enum import StrEnum
from operator import attrgetter
from typing import Final, NamedTuple

from kvsync.errors import Origin
from kvsync.util.escaping import clip_name
from kvsync.util.values import dataclass


class Identity(NamedTuple):
    """Key and label of an entry, which identify it within a target. With the label None, it is the entry without a label, which
    is separate from entries with one."""

    key: str
    label: str | None = None

    def __str__(self) -> str:
        return self.key if self.label is None else f"{self.key} [{self.label}]"


def brief(identity: Identity) -> str:
    """The identity with key and label cut to a readable length, for messages."""
    return str(Identity(clip_name(identity.key), None if identity.label is None else clip_name(identity.label)))


def identity_order(identity: Identity) -> tuple[str, bool, str]:
    """Sort key for identities: by key, the entry without a label before its labelled ones."""
    return identity.key, identity.label is not None, identity.label or ""


@dataclass(frozen=True, slots=True, order=True)
class Target:
    """One namespace of one configured store: the unit of planning, policy, locking and reporting."""

    store: str
    namespace: str

    # By hand, because passes over thousands of targets look them up hundreds of thousands of times.
    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Target):
            return NotImplemented
        return self.namespace == other.namespace and self.store == other.store

    def __hash__(self) -> int:
        return hash((self.store, self.namespace))

    def __str__(self) -> str:
        return f"{self.store}/{self.namespace}"


target_order: Final = attrgetter("store", "namespace")
"""Sort key for targets: their own order, for thousands of them in a tenth of the time."""


class Content(NamedTuple):
    """What a store keeps for an entry, apart from its lifetime and kvsync's mark.

    `tags` are sorted pairs of strings. `metadata` is any JSON as canonical text (see `kvsync.model.canonical`). If the
    `description` of a desired entry is None, kvsync leaves the description in the store unchanged; an empty one removes it. If
    that of an actual entry is None, there is none.
    """

    value: bytes
    content_type: str | None = None
    tags: tuple[tuple[str, str], ...] = ()
    metadata: str | None = None
    description: str | None = None

    def __repr__(self) -> str:
        return f"Content({len(self.value)} bytes, content_type={self.content_type!r})"


class Mode(StrEnum):
    """How kvsync manages an entry: keeps it in sync, only creates it, or only reports differences."""

    ENFORCE = "enforce"
    CREATE_ONLY = "create-only"
    OBSERVE = "observe"


@dataclass(frozen=True, slots=True)
class Entry:
    """One desired entry, already normalised for its store.

    `fingerprint` is `canonical.fingerprint(content)`. At most one of `ttl` and `expires_at` is set. `ttl` is a lifetime, which
    kvsync renews when less than `renew_before` is left (0: never). `expires_at` is the time at which the entry expires. `after`
    are the keys of the target that are written before this entry; with `after_all`, everything else in the target is.
    """

    identity: Identity
    content: Content
    fingerprint: bytes = field(repr=False)
    ttl: int | None = None
    expires_at: int | None = None
    renew_before: int | None = None
    json: bool = False
    mode: Mode = Mode.ENFORCE
    protected: bool = False
    sensitive: bool = False
    origin: Origin | None = None
    after: tuple[str, ...] = ()
    after_all: bool = False

    def renewal_margin(self) -> float:
        """Return the remaining lifetime in seconds below which this entry is renewed: `renew_before`, by default a third of the
        TTL."""
        if self.renew_before is not None:
            return self.renew_before
        return (self.ttl or 0) / 3


@dataclass(frozen=True, slots=True)
class Mark:
    """Ownership mark that kvsync keeps next to an entry that it wrote: the owner, and what was applied.

    `seal` binds the mark to its place, key and label (see `kvsync.planning.marks`); None if an earlier version wrote the mark.
    `is_recorded` means that the mark comes from the ledger, not from the store; such a mark has no `seal`. A mark in the ledger
    must not reveal a sensitive value, so its `fingerprint` is that of the content, sealed with `key`. Use `matches` instead of
    comparing fingerprints.
    """

    owner: str
    fingerprint: bytes = field(repr=False)
    ttl: int | None = None
    sensitive: bool = False
    protected: bool = False
    key: bytes | None = field(default=None, repr=False)
    seal: bytes | None = field(default=None, repr=False)
    is_recorded: bool = field(default=False, compare=False)

    def matches(self, fingerprint: bytes) -> bool:
        """Return True if the content with this fingerprint is what was applied."""
        if self.key is None:
            return self.fingerprint == fingerprint
        return self.is_comparable and self.fingerprint == sealed(fingerprint, self.key)

    @property
    def is_comparable(self) -> bool:
        """False if the fingerprint is sealed with a key that this machine does not have."""
        return self.key is None or not self.key.startswith(NOT_HELD)


NOT_HELD: Final = b"\0key not held: "
"""Begins what is in the place of a key that is not held here; the name of the key follows."""


def sealed(fingerprint: bytes, key: bytes) -> bytes:
    """A fingerprint that only holders of `key` can compare: 16 bytes of HMAC-SHA256."""
    return hmac.digest(key, fingerprint, "sha256")[:16]


@dataclass(frozen=True, slots=True)
class Actual:
    """One entry as a store holds it.

    `content` is None if the listing does not contain the value, and `fingerprint` is None if only a read can provide it. `etag`
    is opaque and changes with every write; None if the store has no versions.
    """

    identity: Identity
    etag: str | None = None
    fingerprint: bytes | None = field(default=None, repr=False)
    content: Content | None = None
    size: int | None = None
    expires_at: float | None = None
    mark: Mark | None = None
    locked: bool = False


ENDED = "\0ended"
"""In place of the etag of an entry that kvsync deleted because its declared end had come."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What kvsync's own ledger says of an entry: how it was last seen in agreement with the files.

    `unseen_since` is when the entry was neither desired nor listed any more (epoch seconds), None while it is either: a
    listing can be stale, so what becomes visible again is known again.
    """

    mark: Mark
    etag: str | None = None
    expires_at: float | None = None
    unseen_since: float | None = None

    @property
    def has_ended(self) -> bool:
        """True when kvsync itself ended the life of the entry: what is there now is someone else's."""
        return self.etag == ENDED

    @property
    def is_there(self) -> bool:
        """True when the entry was there when kvsync last looked, and its life had not ended."""
        return not self.has_ended and self.unseen_since is None

    def matches(self, fingerprint: bytes) -> bool:
        """True when the content with this fingerprint is what was applied."""
        return self.mark.matches(fingerprint)
