"""Snapshot: the entries of one namespace at one moment. A `repr` never shows a value."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import field
from typing import NamedTuple, Protocol

from kvsync.errors import IncompleteListing
from kvsync.model.entry import Actual, Identity, Target
from kvsync.util.values import dataclass


class Version(NamedTuple):
    """Etag and fingerprint of an entry."""

    identity: Identity
    etag: str | None
    fingerprint: bytes


class VersionedEntries(Mapping[Identity, Actual]):
    """The entries of a listing, as the store listed them until they are asked for."""

    @abstractmethod
    def versions(self) -> Iterable[Version]:
        """The settled entries. Takes less than building each entry."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a store holds in one namespace at one moment.

    `entries` contains every identity; the mapping may decode lazily. `settled` is a fast view for comparisons: the fingerprints
    of the entries about which nothing else needs to be known. Such an entry has a valid mark of our owner and is as the mark
    describes it, does not expire, and is not locked, sensitive or protected. `token`, if the store provides one, represents
    this exact state: equal tokens mean that nothing changed.

    A snapshot with `complete=False` never causes a delete. `ledger` is the ledger that the store keeps, byte for byte, or the
    part of it that is left; `ledger_expires_at` is when the ledger expires, if it does.
    """

    target: Target
    entries: Mapping[Identity, Actual]
    settled: Mapping[Identity, bytes]
    complete: bool = True
    problems: tuple[str, ...] = ()
    token: str | None = None
    ledger: bytes | None = field(default=None, repr=False)
    ledger_expires_at: float | None = None

    def require_complete(self) -> Snapshot:
        """Return this snapshot. Raises IncompleteListing if the listing may lack entries."""
        if self.complete:
            return self
        reason = "; ".join(self.problems) or "the store does not say why"
        raise IncompleteListing(f"{self.target}: the listing is incomplete: {reason}; run the command again")


def settled_versions(snapshot: Snapshot) -> Iterable[Version]:
    """Etag and fingerprint of the settled entries of a snapshot."""
    listed = snapshot.entries
    if isinstance(listed, VersionedEntries):
        return listed.versions()
    return (Version(identity, listed[identity].etag, print_) for identity, print_ in snapshot.settled.items())


class SettledTest(Protocol):
    """Decides which entries a snapshot may show as settled; `kvsync.planning.marks.MarkSigner` does."""

    def is_settled(self, entry: Actual) -> bool:
        """True when there is nothing to know of an entry but its fingerprint."""
        ...


def snapshot_of(
    target: Target, entries: Iterable[Actual], signer: SettledTest, *, token: str | None = None
) -> Snapshot:
    """Build a snapshot, with its settled view, from complete entries."""
    by_identity = {entry.identity: entry for entry in entries}
    settled = {
        identity: entry.fingerprint
        for identity, entry in by_identity.items()
        if entry.fingerprint is not None and signer.is_settled(entry)
    }
    return Snapshot(target, by_identity, settled, token=token)
