"""Optional interfaces of a store, and what kvsync does with a store that lacks them.

A store has an extension if it defines all its members; nothing is registered. kvsync asks with `isinstance`, mostly through the
functions below, which have the default for all other stores. A `kvsync.stores.wrapper.StoreWrapper` has the extensions of the
store it wraps.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Final, Protocol, cast, runtime_checkable

from kvsync.model.entry import Actual, Identity
from kvsync.model.place import Place
from kvsync.planning.marks import MarkSigner
from kvsync.stores.base import Store

if TYPE_CHECKING:
    from kvsync.model.snapshot import Snapshot


@runtime_checkable
class PlaceResolving(Protocol):
    """A store whose remote has ids of its own, so that the store can prove where a namespace leads."""

    async def locate(self, namespace: str, *, writing: bool = False) -> Place:
        """Return the place of `namespace` according to the server's own ids, at most a minute old.

        With `writing`, immediately before writes, return the current place, and first create a namespace that is missing and
        may be created. The place of a namespace that does not exist yet is not `is_resolved`. Raises StoreError.
        """
        ...


@runtime_checkable
class TokenChecking(Protocol):
    """A store that can report for many namespaces in one call that nothing changed in them."""

    async def unchanged(self, tokens: Mapping[str, str]) -> Mapping[str, Place]:
        """Return those of these namespaces whose token is still current, so that `observe` would return None for it. Each has
        its place, as `locate` would return it. A namespace of which that is not known is left out. Raises StoreError."""
        ...


@runtime_checkable
class DeepObservable(Protocol):
    """A store with a listing that represents every byte of each value."""

    async def observe_deep(self, namespace: str, signer: MarkSigner) -> Snapshot | None:
        """List the same as `Store.observe`, with an `etag` or `fingerprint` for each entry that represents every byte of its
        value. Returns None if only reading the entries one by one can provide that. Raises StoreError."""
        ...


@runtime_checkable
class Scannable(Protocol):
    """A store without compare-and-set that can show many entries in few requests."""

    async def scan(
        self, namespace: str, signer: MarkSigner, absent: Collection[Identity], present: Collection[Identity]
    ) -> Mapping[Identity, Actual] | None:
        """Return what currently exists of many entries, without reading them one by one. The result may contain other entries
        too.

        For the `absent` entries, which should not exist, the result only has to show whether they exist. Each of the `present`
        entries has an `etag` or a `fingerprint` that represents its value, and its mark if the store keeps marks. Returns None
        if a scan takes no fewer requests than reading the entries, or if an entry may be missing from it. Raises StoreError.
        """
        ...


@runtime_checkable
class LedgerKeeping(Protocol):
    """A store that can keep the ledger of a namespace next to its entries, so that other machines find it."""

    keeps_ledger: bool
    """Whether the store is configured to keep the ledger (`ledger: store`). If so, each `Snapshot` contains it as `ledger`, and
    a token represents it too."""
    ledger_chunk_bytes: int | None
    """Maximum number of bytes of a ledger in one request; None for no limit. Used to estimate the cost of a plan."""

    async def read_ledger(self, namespace: str) -> bytes | None:
        """Return the ledger that was last written to this namespace; None if there is none. Raises StoreError; if the ledger
        cannot be read completely, that is a PermanentError."""
        ...

    async def write_ledger(self, namespace: str, ledger: bytes) -> None:
        """Write the ledger to this namespace, replacing an earlier one. `observe` shows it only as `Snapshot.ledger`. In a
        store in which everything expires, it gets the longest lifetime. Raises StoreError."""
        ...

    async def remove_ledger(self, namespace: str) -> None:
        """Delete the ledger from this namespace, if there is one. Raises StoreError."""
        ...


@runtime_checkable
class VersionHints(Protocol):
    """A store without versions, which derives etags from the content; a listing shows less of an etag than a read."""

    def may_be_version(self, seen: str, known: str) -> bool:
        """Return whether the etag `seen` in a listing may belong to the version `known`. Pure. For example, a listing may show
        only a size, while the version consists of size and digest."""
        ...

    def redacted_etag(self, etag: str) -> str:
        """Return the part of an etag that a listing shows. Pure. If etags are derived from the content, the rest could confirm
        a guess at a sensitive value. For sensitive entries, kvsync therefore keeps only this part, and never shows it."""
        ...


@runtime_checkable
class NestedNamespaces(Protocol):
    """A store in which one namespace can be a part of another."""

    def nested_namespace(self, namespace: str, identity: Identity, others: Collection[str]) -> str | None:
        """Return the one of `others` (namespaces of the same store) that is a part of `namespace` and contains the entry. Pure.
        Returns None if there is none. Called for each entry, so look names up in `others` instead of looping over them: there
        can be thousands."""
        ...


@runtime_checkable
class NamespaceIds(Protocol):
    """A store in which state files can name a namespace by its name or in other ways."""

    def is_namespace_id(self, namespace: str) -> bool:
        """Return True if this may be a namespace id of the server, or a namespace name of another account. Pure. Returns False
        for a namespace that the configuration of the store names. With `authors.targets`, a state file may use such an id only
        if it is listed there without a wildcard: an id can match wildcards that the name does not match."""
        ...


@runtime_checkable
class NamespaceDeleting(Protocol):
    """A store that can delete namespaces."""

    deletes_namespaces: bool
    """Whether the configuration of the store allows kvsync to delete namespaces (`delete_namespaces`)."""

    def why_namespace_stays(self, namespace: str) -> str | None:
        """Return why this namespace must not be deleted: kvsync could not create it again, or does not see all of its keys.
        None if nothing in the configuration prevents the delete. Pure."""
        ...

    async def delete_namespace(self, namespace: str, place: Place) -> str | None:
        """Delete the namespace if it still leads to `place` and is empty, except for the ledger that the store is configured to
        keep. Check that immediately before the delete. Returns the reason if the namespace stays, None if it was deleted.
        Raises StoreError."""
        ...


@runtime_checkable
class NamespaceRenaming(Protocol):
    """A store that can rename namespaces. A renamed namespace keeps its entries and its id."""

    def can_rename(self, namespace: str, name: str) -> bool:
        """Return whether the configuration of the store allows `namespace` to be renamed to `name` (`rename_namespaces`), and
        both are names, not ids. Pure."""
        ...

    async def rename_namespace(self, namespace: str, name: str, place: Place) -> str | None:
        """Rename the namespace if it still leads to `place` and no other namespace has the `name`. Check that immediately
        before the rename. Returns the reason if the namespace keeps its name, None if it was renamed. Raises StoreError."""
        ...


@runtime_checkable
class RestorePointMaking(Protocol):
    """A store that can save the contents of a namespace, so that an operator can restore them."""

    restore_point_requests: int
    """Number of requests that a restore point takes; 0 if the configuration of the store does not ask for restore points
    (`snapshot_before_apply`)."""

    async def begin_restore_point(self, namespace: str, run: str) -> str:
        """Begin to create the restore point of a namespace, before a run writes to it. Returns the name of the restore point.
        If it is called again for the same run, it continues. Raises StoreError."""
        ...

    async def complete_restore_point(self, namespace: str, name: str) -> bool:
        """Return whether the restore point is complete; kvsync calls this again until it is. The store limits how long a
        restore point is kept. Raises StoreError: a PermanentError if the restore point will never be complete."""
        ...


@runtime_checkable
class FilteredListing(Protocol):
    """A store whose listing can leave out entries that exist."""

    @property
    def filters_listing(self) -> bool:
        """Whether the store is configured so that its listing can leave out entries. If so, desired entries that are missing
        from a listing are read one by one. Pure."""
        ...


@runtime_checkable
class QuotaReporting(Protocol):
    """A store that knows how many requests its quota still allows."""

    def quota_left(self) -> int | None:
        """Return how many requests can still be made; None if that is not known without a request."""
        ...


@runtime_checkable
class KeyListing(Protocol):
    """A store that cannot list the keys of all namespaces with `observe`. Without this extension, all keys are listed with the
    `key_format` `{key}`."""

    async def remote_keys(self) -> Sequence[str]:
        """All keys in the store, of every namespace, without kvsync's own. A key that cannot be encoded as UTF-8 cannot be in a
        state file. Raises StoreError."""
        ...


@runtime_checkable
class Watchable(Protocol):
    """A store that reports changes as they are made, so that the daemon need not wait for its schedule."""

    async def watch(self, namespaces: Collection[str], changed: Callable[[str], None]) -> None:
        """Call `changed` with the name of a namespace whenever another program may have changed something in it. Runs until it
        is cancelled.

        The store opens closed connections again, and reports every namespace in which it may have missed a change. It need not
        report writes of this connection. Raises StoreError if it cannot continue; the daemon calls it again later.
        """
        ...


EXTENSIONS: Final[tuple[type, ...]] = (
    PlaceResolving,
    TokenChecking,
    DeepObservable,
    Scannable,
    LedgerKeeping,
    VersionHints,
    NestedNamespaces,
    NamespaceIds,
    NamespaceDeleting,
    NamespaceRenaming,
    RestorePointMaking,
    FilteredListing,
    QuotaReporting,
    KeyListing,
    Watchable,
)


MEMBERS: Final[Mapping[type, frozenset[str]]] = {
    extension: frozenset(name for name in {*vars(extension), *extension.__annotations__} if not name.startswith("_"))
    for extension in EXTENSIONS
}
"""The members of each extension."""


def has_extension(store: Store, extension: type) -> bool:
    """True if the store has the extension: the same as `isinstance`, which takes longer than a call to an embedded store."""
    return all(hasattr(store, name) for name in MEMBERS[extension])


async def locate(store: Store, namespace: str, *, writing: bool = False) -> Place:
    """The place of a namespace according to the remote; if the store cannot ask it, according to the configuration. Raises
    StoreError."""
    if has_extension(store, PlaceResolving):
        return await cast("PlaceResolving", store).locate(namespace, writing=writing)
    return store.place(namespace)


async def unchanged(store: Store, tokens: Mapping[str, str]) -> Mapping[str, Place]:
    """The namespaces whose tokens are current, with their places; none if the store cannot report that of many at once. Raises
    StoreError."""
    if tokens and has_extension(store, TokenChecking):
        return await cast("TokenChecking", store).unchanged(tokens)
    return {}


async def observe_deep(store: Store, namespace: str, signer: MarkSigner) -> Snapshot | None:
    """A listing that represents every byte, None if the store has none. Raises StoreError."""
    if has_extension(store, DeepObservable):
        return await cast("DeepObservable", store).observe_deep(namespace, signer)
    return None


async def scan(
    store: Store, namespace: str, signer: MarkSigner, absent: Collection[Identity], present: Collection[Identity]
) -> Mapping[Identity, Actual] | None:
    """What exists of many entries, None if the store cannot show that in few requests. Raises StoreError."""
    if has_extension(store, Scannable):
        return await cast("Scannable", store).scan(namespace, signer, absent, present)
    return None


def filters_listing(store: Store) -> bool:
    """Whether an entry that a listing lacks may exist all the same."""
    return has_extension(store, FilteredListing) and cast("FilteredListing", store).filters_listing


def restore_point_requests(store: Store) -> int:
    """How many requests a restore point takes; 0 if the store makes none."""
    return cast("RestorePointMaking", store).restore_point_requests if has_extension(store, RestorePointMaking) else 0


def as_ledger_keeping(store: Store) -> LedgerKeeping | None:
    """The store, if it is configured to keep the ledgers of its namespaces."""
    keeping = cast("LedgerKeeping", store) if has_extension(store, LedgerKeeping) else None
    return keeping if keeping is not None and keeping.keeps_ledger else None


def version_hints(store: Store) -> VersionHints:
    """The hints of the store; by default etags are compared, and shown, as they are. Call once, not for each entry."""
    return cast("VersionHints", store) if has_extension(store, VersionHints) else _EXACT


class _ExactVersions:
    def may_be_version(self, seen: str, known: str) -> bool:
        return seen == known

    def redacted_etag(self, etag: str) -> str:
        return etag


_EXACT: Final = _ExactVersions()


def quota_left(store: Store) -> int | None:
    """How many requests can still be made; None if unknown."""
    return cast("QuotaReporting", store).quota_left() if has_extension(store, QuotaReporting) else None
