"""Entries, identities, changes and outcomes.

All frozen. Times are seconds since the Unix epoch, lifetimes are seconds. A `repr` never shows a value.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Final, NamedTuple, Protocol

from kvsync.errors import Origin, Problem
from kvsync.model.policy import Policy
from kvsync.util.escaping import clip_name


class Identity(NamedTuple):
    """What names an entry inside a target. `label` None is the entry without a label, an identity of its own."""

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

    def __str__(self) -> str:
        return f"{self.store}/{self.namespace}"


class Content(NamedTuple):
    """What a store keeps for an entry, apart from its lifetime and kvsync's mark.

    `tags` are sorted pairs of strings; `metadata` is free JSON in canonical text (see `kvsync.model.canonical`).
    """

    value: bytes
    content_type: str | None = None
    tags: tuple[tuple[str, str], ...] = ()
    metadata: str | None = None

    def __repr__(self) -> str:
        return f"Content({len(self.value)} bytes, content_type={self.content_type!r})"


class Mode(StrEnum):
    """How far kvsync goes for an entry: keep it equal, only create it, or only look at it."""

    ENFORCE = "enforce"
    CREATE_ONLY = "create-only"
    OBSERVE = "observe"


@dataclass(frozen=True, slots=True)
class Entry:
    """One desired entry, already normalised for its store.

    `fingerprint` is `canonical.fingerprint(content)`. At most one of `ttl` (a lifetime that kvsync renews once less than
    `renew_before` is left; 0 means never) and `expires_at` (a moment after which it must be gone) is set. `after` are the keys
    of the target that are written before this entry; with `after_all` everything else of the target is.
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
        """Seconds of remaining life under which this entry is renewed: `renew_before`, by default a third of the TTL."""
        if self.renew_before is not None:
            return self.renew_before
        return (self.ttl or 0) / 3


@dataclass(frozen=True, slots=True)
class Mark:
    """What kvsync leaves next to an entry it wrote: whose it is, and what was applied.

    `seal` binds the mark to its place, key and label (see `kvsync.planning.marks`); None where an earlier version wrote it.
    `is_recorded` says that the mark comes from the ledger, not from the store. A mark kept in the ledger must not tell a
    guesser what a sensitive value was: there `fingerprint` is the one of the content, sealed with `key`. Ask `matches`
    instead of comparing.
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
        """True when the content with this fingerprint is what was applied."""
        if self.key is None:
            return self.fingerprint == fingerprint
        return self.is_comparable and self.fingerprint == sealed(fingerprint, self.key)

    @property
    def is_comparable(self) -> bool:
        """False when the fingerprint is sealed with a key that is not held here."""
        return self.key is None or not self.key.startswith(NOT_HELD)


NOT_HELD: Final = b"\0key not held: "
"""Begins what is in the place of a key that is not held here; the name of the key follows."""


def sealed(fingerprint: bytes, key: bytes) -> bytes:
    """A fingerprint that only holders of `key` can compare: 16 bytes of HMAC-SHA256."""
    return hmac.digest(key, fingerprint, "sha256")[:16]


@dataclass(frozen=True, slots=True)
class Actual:
    """One entry as a store holds it.

    `content` is None when the listing did not carry the value, `fingerprint` None when it is not known without reading it.
    `etag` is opaque and changes with every write; None where a store has no versions.
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

    def matches(self, fingerprint: bytes) -> bool:
        """True when the content with this fingerprint is what was applied."""
        return self.mark.matches(fingerprint)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a store holds of one namespace at one moment.

    `entries` has every identity; the mapping may decode lazily. `settled` is the cheap view for comparing: the fingerprints
    of those entries of which there is nothing else to know: they bear a valid mark of our owner, do not expire, are neither
    locked, sensitive nor protected, and are as the mark says we left them. `token`, where a store offers it, represents
    this exact state: equal tokens mean nothing changed. A snapshot with `complete=False` never causes a delete. `ledger` is
    what a store that keeps its own ledger holds of it, in the bytes it was left in, or as much of them as there is;
    `ledger_expires_at` is when the store will end that too, if it does.
    """

    target: Target
    entries: Mapping[Identity, Actual]
    settled: Mapping[Identity, bytes]
    complete: bool = True
    problems: tuple[str, ...] = ()
    token: str | None = None
    ledger: bytes | None = field(default=None, repr=False)
    ledger_expires_at: float | None = None


class SettledTest(Protocol):
    """Tells which entries a snapshot may show as settled; `kvsync.planning.marks.MarkSigner` does."""

    def is_settled(self, entry: Actual) -> bool:
        """True when there is nothing to know of an entry but its fingerprint."""
        ...


def snapshot_of(
    target: Target, entries: Iterable[Actual], signer: SettledTest, *, token: str | None = None
) -> Snapshot:
    """Build a snapshot, with its settled view, from entries that are all at hand."""
    by_identity = {entry.identity: entry for entry in entries}
    settled = {
        identity: entry.fingerprint
        for identity, entry in by_identity.items()
        if entry.fingerprint is not None and signer.is_settled(entry)
    }
    return Snapshot(target, by_identity, settled, token=token)


@dataclass(frozen=True, slots=True)
class Move:
    """A key that was renamed in the files: `source` goes once `destination` is verified to be there.

    A move between two targets is kept by both: by the one that the key leaves with `destination_target`, and by the one
    that it arrives in with `source_target`."""

    source: str
    destination: str
    origin: Origin | None = None
    source_target: Target | None = None
    destination_target: Target | None = None


@dataclass(frozen=True)
class Desired:
    """What the files ask of one target.

    `entries` has every identity; the mapping may build entries lazily. `settled` is the cheap view for comparing: the
    fingerprints of the entries that have no lifetime, mode `enforce`, and are neither sensitive nor protected. `digest`
    changes whenever anything here does. `problems` is not empty when a file that names this target could not be used:
    then the target keeps its state.
    """

    target: Target
    entries: Mapping[Identity, Entry]
    settled: Mapping[Identity, bytes]
    digest: str
    policy: Policy = field(default_factory=Policy)
    absent: Mapping[str, Origin] = field(default_factory=dict)
    moved: tuple[Move, ...] = ()
    problems: tuple[Problem, ...] = ()

    @cached_property
    def moves(self) -> Mapping[str, Move]:
        """The moves by the key that goes; the first, where files name one key twice."""
        return {move.source: move for move in reversed(self.moved) if move.source_target is None}


class Action(StrEnum):
    """What a change does to the store."""

    CREATE = "create"
    UPDATE = "update"
    RENEW = "renew"
    ADOPT = "adopt"
    RELEASE = "release"
    DELETE = "delete"


class Class(StrEnum):
    """Why an entry is what it is, seen three ways: desired, actual, last applied."""

    NEW = "new"
    CHANGED = "changed"
    REMOVED = "removed"
    DRIFTED = "drifted"
    MISSING = "missing"
    CONFLICT = "conflict"
    EXPIRING = "expiring"
    EXPIRED = "expired"
    FOREIGN = "foreign"
    UNOWNED = "unowned"
    TAKEN = "taken"
    PROTECTED = "protected"
    LOCKED = "locked"


DRIFT_CLASSES = frozenset({Class.DRIFTED, Class.MISSING, Class.CONFLICT})


@dataclass(frozen=True, slots=True)
class Change:
    """One thing to do to one entry: what, why, and both sides, so that applying can insist on the version seen.

    `reasons` name what differs: value, content_type, tags, metadata, ttl, expires_at, mark. A delete that is half of a
    move carries `moved_to`, the identity that must be verified to be there first: in `moved_to_target`, where that is another
    target.
    """

    action: Action
    cause: Class
    identity: Identity
    reasons: tuple[str, ...] = ()
    before: Actual | None = None
    after: Entry | None = None
    origin: Origin | None = None
    moved_to: Identity | None = None
    moved_to_target: Target | None = None

    @property
    def new_name(self) -> str:
        """What a moved entry is called afterwards, for people; empty for one that is not moved."""
        if self.moved_to is None:
            return ""
        return f"{self.moved_to}" if self.moved_to_target is None else f"{self.moved_to_target}: {self.moved_to}"

    @property
    def sensitive(self) -> bool:
        """True when neither side's value may be shown or kept."""
        marked = self.before is not None and self.before.mark is not None and self.before.mark.sensitive
        return marked or (self.after is not None and self.after.sensitive)

    @property
    def written_after(self) -> tuple[str, ...]:
        """The keys that must be written before; a renewal, which changes nothing that is read, waits for none."""
        return self.after.after if self.after is not None and self.action is not Action.RENEW else ()

    @property
    def is_last(self) -> bool:
        """True when it is written after everything else of its target."""
        return self.after is not None and self.after.after_all and self.action is not Action.RENEW


@dataclass(frozen=True, slots=True)
class Refusal:
    """A difference that kvsync will not act on, and why. `action` is what it would have done, `reasons` name what differs, as
    those of a `Change`; `deferred` is
    the change that kvsync tries later, because the entry is quarantined or contended, or waits for another entry."""

    identity: Identity
    cause: Class
    action: Action
    reason: str
    origin: Origin | None = None
    deferred: Change | None = None
    reasons: tuple[str, ...] = ()


class OutcomeKind(StrEnum):
    """What became of one change."""

    APPLIED = "applied"
    UNCHANGED = "unchanged"
    CONFLICT = "conflict"
    STALE = "stale"
    REFUSED = "refused"
    FAILED = "failed"
    SKIPPED = "skipped"
    NOT_ATTEMPTED = "not-attempted"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one change; `etag` is the version that our write made."""

    identity: Identity
    action: Action
    kind: OutcomeKind
    error: str | None = None
    etag: str | None = None
