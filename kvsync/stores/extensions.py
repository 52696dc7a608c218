"""Optional interfaces of a store, and what kvsync does with a store that lacks them.

A store has an extension when it defines all its members; there is nothing to register. kvsync asks with `isinstance`, mostly
through the functions below, which hold the default for all other stores. A `kvsync.stores.wrapper.StoreWrapper` has the
extensions of the store it wraps.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Final, Protocol, runtime_checkable

from kvsync.model.entry import Identity
from kvsync.model.place import Place
from kvsync.model.snapshot import Snapshot
from kvsync.planning.marks import MarkSigner
from kvsync.stores.base import Store


@runtime_checkable
class PlaceResolving(Protocol):
    """A store whose remote has ids of its own, so that it can prove where a namespace leads."""

    async def locate(self, namespace: str, *, writing: bool = False) -> Place:
        """What `namespace` is by the server's own ids, as of at most a minute ago.

        With `writing`, right before writes: as of now, and made first where it is missing and may be made. A place that is not
        there yet is not `is_resolved`. Raises StoreError.
        """
        ...


@runtime_checkable
class DeepObservable(Protocol):
    """A store that can list something that represents every byte of each value."""

    async def observe_deep(self, namespace: str, signer: MarkSigner) -> Snapshot | None:
        """The same as `Store.observe`, with an `etag` or `fingerprint` of each entry that represents every byte of its value.
        None where only reading the entries one by one can tell that. Raises StoreError."""
        ...


@runtime_checkable
class LedgerKeeping(Protocol):
    """A store that can keep the ledger of a namespace next to its entries, so that another machine finds it."""

    keeps_ledger: bool
    """Whether it does so as it is configured (`ledger: store`). A `Snapshot` then brings the ledger as `ledger`, and a token
    represents it too."""
    ledger_chunk_bytes: int | None
    """Bytes of a ledger that one request carries, None for any number of them. Only for the estimate of what a plan costs."""

    async def read_ledger(self, namespace: str) -> bytes | None:
        """The ledger that was last left in this namespace, None when there is none. Raises StoreError; what is there but
        cannot be read whole is a PermanentError."""
        ...

    async def write_ledger(self, namespace: str, ledger: bytes) -> None:
        """Leave the ledger in this namespace, in place of an older one, where `observe` shows it only as `Snapshot.ledger`.
        In a store in which everything ends it is given the longest life there is. Raises StoreError."""
        ...

    async def remove_ledger(self, namespace: str) -> None:
        """Delete the ledger from this namespace; that there is none is as good. Raises StoreError."""
        ...


@runtime_checkable
class VersionHints(Protocol):
    """A store without versions, which makes its etags of what it sees; a listing shows less than a read."""

    def may_be_version(self, seen: str, known: str) -> bool:
        """Say whether the etag `seen` in a listing may belong to the version `known`. Pure. A listing may show a size, for
        example, where the version is size and digest."""
        ...

    def redacted_etag(self, etag: str) -> str:
        """As much of the etag of a version as a listing shows. Pure. Where etags are made of the content, the rest would tell
        someone who guesses at a sensitive value that the guess is right: of a sensitive entry no more than this is kept, and
        nothing of it is shown."""
        ...


@runtime_checkable
class NestedNamespaces(Protocol):
    """A store in which one namespace can be a part of another."""

    def nested_namespace(self, namespace: str, identity: Identity, others: Collection[str]) -> str | None:
        """Which of the `others`, namespaces of this store too, the entry belongs to, because that one is a part of
        `namespace`. Pure. Called for each entry, so look names up in `others` instead of looping over them: there can be
        thousands."""
        ...


@runtime_checkable
class NamespaceIds(Protocol):
    """A store whose namespaces have a name, and other names by which state files can lead to them too."""

    def is_namespace_id(self, namespace: str) -> bool:
        """True for what may be the id of a namespace, which its server chose, or the name of one of another account, unless the
        configuration of the store names it. Pure. With `authors.targets`, a state file may use it only if it is listed there
        without a wildcard: the id of a namespace matches wildcards that its name does not."""
        ...


@runtime_checkable
class QuotaReporting(Protocol):
    """A store that knows its quota."""

    def quota_left(self) -> int | None:
        """How many requests may still be made now, as far as it is known without asking; None where it is not."""
        ...


@runtime_checkable
class KeyListing(Protocol):
    """A store that can list keys of no namespace only apart. Without it, all keys are listed with the `key_format` `{key}`."""

    async def remote_keys(self) -> Sequence[str]:
        """All keys that the store holds, of whatever namespace, without kvsync's own. Raises StoreError."""
        ...


@runtime_checkable
class Watchable(Protocol):
    """A store that reports changes as they are made, so that the daemon need not wait for its schedule."""

    async def watch(self, namespaces: Collection[str], changed: Callable[[str], None]) -> None:
        """Call `changed` with the name of a namespace whenever another program may have changed something in it, until
        cancelled. Connections that end are made again, and what was missed meanwhile counts as changed. Writes of this
        connection need not be reported. Raises StoreError when it cannot go on; the daemon calls again later."""
        ...


EXTENSIONS: Final[tuple[type, ...]] = (
    PlaceResolving,
    DeepObservable,
    LedgerKeeping,
    VersionHints,
    NestedNamespaces,
    NamespaceIds,
    QuotaReporting,
    KeyListing,
    Watchable,
)


async def locate(store: Store, namespace: str, *, writing: bool = False) -> Place:
    """Where a namespace leads, as the remote itself says; as the configuration says, where it cannot. Raises StoreError."""
    if isinstance(store, PlaceResolving):
        return await store.locate(namespace, writing=writing)
    return store.place(namespace)


async def observe_deep(store: Store, namespace: str, signer: MarkSigner) -> Snapshot | None:
    """A listing that represents every byte, None where the store has none. Raises StoreError."""
    return await store.observe_deep(namespace, signer) if isinstance(store, DeepObservable) else None


def ledger_keeper(store: Store) -> LedgerKeeping | None:
    """The store, if it keeps the ledgers of its namespaces as it is configured."""
    return store if isinstance(store, LedgerKeeping) and store.keeps_ledger else None


def version_hints(store: Store) -> VersionHints:
    """The hints of the store; by default etags are compared, and shown, as they are. Ask once, not for each entry."""
    return store if isinstance(store, VersionHints) else _EXACT


class _ExactVersions:
    def may_be_version(self, seen: str, known: str) -> bool:
        return seen == known

    def redacted_etag(self, etag: str) -> str:
        return etag


_EXACT: Final = _ExactVersions()


def quota_left(store: Store) -> int | None:
    """How many requests may still be made now; None where that is not known."""
    return store.quota_left() if isinstance(store, QuotaReporting) else None
