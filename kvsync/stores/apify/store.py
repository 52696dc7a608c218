"""The store type `apify`: one named key-value store per namespace. The API has no versions, marks or lifetimes: kvsync
compares before and after each write, and keeps ownership and lifetimes in the ledger.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from kvsync.config.credentials import describe
from kvsync.config.model import StoreConfig
from kvsync.errors import PermanentError
from kvsync.model.canonical import fingerprint
from kvsync.model.capabilities import Capabilities, Lifetimes, Marks
from kvsync.model.entry import Actual, Content, Entry, Identity, Target
from kvsync.model.health import DoctorCheck
from kvsync.model.place import Place, origin_of
from kvsync.model.snapshot import Snapshot
from kvsync.planning.marks import MarkSigner
from kvsync.stores.apify.api import ENDPOINT, KEY, LEDGER_KEY, NAME, looks_like_id, root_of
from kvsync.stores.apify.content import JSON, as_listed, kept_type, may_be, sent_type, whole
from kvsync.stores.base import StoreContext, Write, WriteResult, WriteStatus
from kvsync.stores.ledger_place import LEDGER, LedgerPlace
from kvsync.stores.managed_namespaces import ManagedNamespaces, namespace_options
from kvsync.stores.remote_store import Connection
from kvsync.stores.single_calls import SingleCallStore
from kvsync.yaml.credential import credential
from kvsync.yaml.fields import Field, text

if TYPE_CHECKING:
    from kvsync.stores.apify.listing import ListingSize, SnapshotReader, View
    from kvsync.stores.apify.remote import Namespaces, Remote

_UNIQUE_LENGTH: Final = 15
"""Characters from which on an id is considered random; Apify's have 17."""

_USERNAME: Final = text(r"[A-Za-z0-9._-]+", "a username, or the id of a user")


class ApifyStore(ManagedNamespaces, SingleCallStore["Remote"]):
    """Entries in the named key-value stores of one account."""

    options = (
        Field(
            "token", credential(), required=True, help="API token with read and write access to the key-value stores."
        ),
        *namespace_options("key-value stores"),
        Field("username", _USERNAME, help="Owner of the key-value stores (the user of the token)."),
        LEDGER,
    )
    capabilities = Capabilities(
        type="apify",
        namespace="a named key-value store, by name or id",
        marks=Marks.LEDGER,
        compare_and_set=False,
        labels=False,
        tags=False,
        metadata=False,
        lifetimes=Lifetimes.EMULATED,
        max_key=256,
        key_pattern=KEY,
        namespace_pattern=NAME,
        page=1000,
        concurrency=32,
        values_in_listing=False,
        writes_per_second=66,  # of 200 calls a second: each write takes one, and two that look
    )

    divider = "."
    ledger_chunk_bytes: int | None = None

    def __init__(self, config: StoreConfig, context: StoreContext) -> None:
        super().__init__(config, context)
        self.keeps_ledger = config.options.get("ledger") is LedgerPlace.STORE
        self._sizes_seen: dict[str, ListingSize] = {}

    def normalise(self, content: Content) -> Content:
        """The content with the canonical content type, without one that only says text or bytes, and without tags and
        metadata."""
        value, kind, tags, metadata, _ = content
        if kind in (None, JSON) and not tags and metadata is None:
            return content
        return Content(value, kept_type(value, kind))

    def audit(self, namespace: str, entry: Entry) -> Sequence[str]:
        """The key of the ledger, and a content type that no header can hold."""
        problems = []
        if self._is_reserved(namespace, entry.identity):
            problems.append(f'"{LEDGER_KEY}" is reserved for the ledger of kvsync; use another key')
        kind = sent_type(entry.content)
        if not (kind.isascii() and kind.isprintable()):
            problems.append("the content_type contains characters that are not allowed in an HTTP header")
        return problems

    def may_be_version(self, seen: str, known: str) -> bool:
        """True if what a listing or a ZIP shows of a record is the same as in the known version."""
        return may_be(seen, known)

    def redacted_etag(self, etag: str) -> str:
        """The part of an etag that represents the size."""
        return as_listed(etag)

    def is_namespace_id(self, namespace: str) -> bool:
        """True for 17 letters and digits, as in an id, and for `user~name`, which may belong to another user."""
        return looks_like_id(namespace) or "~" in namespace

    def place(self, namespace: str) -> Place:
        """The key-value store by its name, of the configured user, or of the one that the token belongs to."""
        user, tilde, name = namespace.rpartition("~")
        if not tilde:
            user = self.config.options.get("username") or describe(self.config.options["token"])
        return self._place(namespace, self._endpoint(), ("user", user), ("store", name), is_resolved=False)

    async def locate(self, namespace: str, *, writing: bool = False) -> Place:
        """The key-value store by its id: all its names are one place, and another store with its name is another place. Ids of
        Apify are long and random, so they identify a store whatever the endpoint is called; short ones do not."""
        found = await self._client().namespaces.locate(namespace, writing=writing)
        if found is None:
            return self.place(namespace)
        endpoint = [self._endpoint()] if len(found.id) < _UNIQUE_LENGTH else []
        user = [("user", found.user)] if found.user else []
        return self._place(namespace, *endpoint, *user, ("store", found.id), detail=found.title)

    async def observe(self, namespace: str, signer: MarkSigner, token: str | None = None) -> Snapshot | None:
        """Everything in `namespace`, without values. A listing that breaks off or contradicts itself is incomplete."""
        viewer = await self._viewer(namespace)
        if viewer is None:
            self._sizes_seen.pop(namespace, None)
            return Snapshot(Target(self.config.name, namespace), {}, {})
        view = await viewer.listed()
        self._sizes_seen[namespace] = view.size
        stands_for = view.token()
        return None if stands_for is not None and stands_for == token else self._snapshot(namespace, view)

    async def observe_deep(self, namespace: str, signer: MarkSigner) -> Snapshot | None:
        """The same from a ZIP of all records, in one request; None if there is any doubt about it."""
        viewer = await self._viewer(namespace)
        view = await viewer.archived() if viewer is not None else None
        if view is not None:
            self._sizes_seen[namespace] = view.size
        return None if view is None else self._snapshot(namespace, view)

    async def scan(
        self, namespace: str, signer: MarkSigner, absent: Collection[Identity], present: Collection[Identity]
    ) -> Mapping[Identity, Actual] | None:
        """Whether records exist, from a listing, and what others hold, from a ZIP. None if these would mostly be about other
        records."""
        size = self._sizes_seen.get(namespace)
        viewer = await self._viewer(namespace)
        if viewer is None or size is None or not size.is_worth_scanning(len(absent), len(present)):
            return None
        views = await viewer.scanned(lists=bool(absent), unpacks=bool(present))
        if any(view is None or view.problem is not None for view in views):
            return None
        return {
            identity: actual
            for view in views
            if view is not None
            for identity, actual in self._snapshot(namespace, view).entries.items()
        }

    async def read_ledger(self, namespace: str) -> bytes | None:
        """The record that holds the ledger."""
        viewer = await self._viewer(namespace)
        return None if viewer is None else await viewer.ledger()

    async def write_ledger(self, namespace: str, ledger: bytes) -> None:
        """Write the record that holds the ledger."""
        from kvsync.stores.apify.records import put

        remote = self._client()
        store = await remote.namespaces.find_or_make(namespace)
        result = await put(remote, namespace, store, LEDGER_KEY, Content(ledger, JSON))
        if result.status is not WriteStatus.DONE:
            raise PermanentError(
                f"{remote.label}: writing the ledger to {namespace} failed: {result.error}; set ledger: local"
            )

    async def remove_ledger(self, namespace: str) -> None:
        """Delete the record that holds the ledger."""
        from kvsync.stores.apify.records import delete

        remote = self._client()
        store = await remote.namespaces.find(namespace)
        if store is not None:
            await delete(remote, namespace, store, LEDGER_KEY)

    def _why_fixed(self, namespace: str) -> str | None:
        return "it is named by its id or user" if self.is_namespace_id(namespace) else None

    async def _resolver(self) -> Namespaces:
        return self._client().namespaces

    async def _is_empty(self, namespace: str) -> bool:
        viewer = await self._viewer(namespace)
        return viewer is not None and await viewer.is_empty()

    async def _examine(self, remote: Remote) -> Sequence[DoctorCheck]:
        """Token, permissions and clock, distinguished."""
        from kvsync.stores.apify.doctor import Doctor

        return await Doctor(remote, self.config.options.get("username")).examine()

    async def _viewer(self, namespace: str) -> SnapshotReader | None:
        """The reader of a namespace as a whole; None if the namespace can still be created."""
        from kvsync.stores.apify.listing import SnapshotReader

        remote = self._client()
        store = await remote.namespaces.find(namespace)
        if store is None:
            return None
        return SnapshotReader(remote, namespace, store, self._keys.prefix(namespace), keeps_ledger=self.keeps_ledger)

    def _snapshot(self, namespace: str, view: View) -> Snapshot:
        """The entries of a view; keys of another format are left out."""
        entries = {}
        for key, etag in view.etags.items():
            identity = Identity(key) if self._keys.is_plain else self._keys.decode(namespace, key)
            if identity is not None:
                entries[identity] = Actual(identity, etag, size=view.sizes[key])
        problems = () if view.problem is None else (view.problem,)
        target = Target(self.config.name, namespace)
        return Snapshot(target, entries, {}, not problems, problems, view.token(), view.ledger)

    async def _read_one(self, namespace: str, identity: Identity, name: str) -> Actual | None:
        from kvsync.stores.apify.records import read

        store = await self._client().namespaces.find(namespace)
        held = await read(self._client(), namespace, store, name) if store is not None else None
        if held is None:
            return None
        content = held.content
        etag = whole(held.size, content.value, content.content_type)
        return Actual(identity, etag, fingerprint(content), content, len(content.value))

    async def _write_one(self, namespace: str, name: str, write: Write) -> WriteResult:
        from kvsync.stores.apify.records import delete, put

        remote = self._client()
        if write.content is not None:
            store = await remote.namespaces.find_or_make(namespace)
            return await put(remote, namespace, store, name, write.content, is_secret=write.is_sensitive)
        found = await remote.namespaces.find(namespace)
        return WriteResult(WriteStatus.DONE) if found is None else await delete(remote, namespace, found, name)

    def _checked(self, namespace: str, identity: Identity, content: Content | None = None) -> str:
        """The remote key of an entry, which must not be that of the ledger."""
        name = super()._checked(namespace, identity, content)
        if name == LEDGER_KEY:
            raise ValueError(f'"{LEDGER_KEY}" is reserved for the ledger of kvsync')
        return name

    def _is_reserved(self, namespace: str, identity: Identity) -> bool:
        try:
            return self.remote_key(namespace, identity) == LEDGER_KEY
        except ValueError:
            return False

    def _connect(self, connection: Connection) -> Remote:
        from kvsync.stores.apify.remote import Remote

        return Remote(connection)

    def _place(self, namespace: str, *parts: tuple[str, str], is_resolved: bool = True, detail: str = "") -> Place:
        """A place in the key-value store that `parts` name. A ledger that is kept there serves the whole store, whatever the
        key format is."""
        scope = self._keys.scope(namespace)
        return Place(
            self.config.type, parts, scope, is_resolved=is_resolved, detail=detail, takes_all=self.keeps_ledger
        )

    def _endpoint(self) -> tuple[str, str]:
        """The endpoint in one spelling, with its path if it has one: servers with the same API may share a host."""
        url = self.config.endpoint or ENDPOINT
        return "endpoint", origin_of(url) + root_of(urlsplit(url).path)
