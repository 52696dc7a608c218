"""The store type `apify`: one named key-value store per namespace. The API has no versions, marks or lifetimes: kvsync
compares before and after each write, and keeps ownership and lifetimes in the ledger.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from kvsync.config.model import StoreConfig
from kvsync.errors import PermanentError
from kvsync.model.canonical import fingerprint
from kvsync.model.capabilities import Capabilities, Lifetimes, Marks
from kvsync.model.entry import Actual, Content, Entry, Identity, Snapshot, Target
from kvsync.model.health import DoctorCheck
from kvsync.model.key_format import KeyFormat
from kvsync.model.place import Place
from kvsync.planning.audit import UNUSABLE_KEYS
from kvsync.planning.marks import MarkSigner
from kvsync.stores.apify.contents import JSON, kept_type, sent_type
from kvsync.stores.apify.place import looks_like_id, offline_place, place_of
from kvsync.stores.apify.requests import KEY, LEDGER_KEY
from kvsync.stores.apify.versions import as_listed, may_be, whole
from kvsync.stores.base import StoreContext, Write, WriteResult, WriteStatus
from kvsync.stores.ledger_place import LEDGER, LedgerPlace
from kvsync.stores.limits import check_batch
from kvsync.stores.partial import ReadFailures
from kvsync.stores.remote_store import RemoteStore
from kvsync.util.concurrency import gather_or_cancel
from kvsync.yaml.credential import credential
from kvsync.yaml.fields import Field, boolean, text

if TYPE_CHECKING:
    from kvsync.stores.apify.namespaces import KeyValueStore
    from kvsync.stores.apify.remote import Remote
    from kvsync.stores.apify.snapshots import SnapshotReader, View

_USERNAME: Final = text(r"[A-Za-z0-9._-]+", "a username, or the id of a user")


class ApifyStore(RemoteStore["Remote"]):
    """Entries in the named key-value stores of one account."""

    options = (
        Field(
            "token", credential(), required=True, help="API token with read and write access to the key-value stores."
        ),
        Field("create_namespaces", boolean(), default=False, help="Create key-value stores that do not exist."),
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
        page=1000,
        concurrency=32,
        values_in_listing=False,
        writes_per_second=66,  # of 200 calls a second: each write takes one, and two that look
    )

    ledger_chunk_bytes: int | None = None

    def __init__(self, config: StoreConfig, context: StoreContext) -> None:
        super().__init__(config, context)
        self._keys = KeyFormat(config.key_format or "{key}", divider=".")
        self.keeps_ledger = config.options.get("ledger") is LedgerPlace.STORE

    def normalise(self, content: Content) -> Content:
        """With the content type in one spelling, and without one that only says text or bytes; no tags and no metadata."""
        value, kind, tags, metadata = content
        if kind in (None, JSON) and not tags and metadata is None:
            return content
        return Content(value, kept_type(value, kind))

    def remote_key(self, namespace: str, identity: Identity) -> str:
        """The key by the configured format; by default the key itself."""
        if self._keys.is_plain and identity.label is None and identity.key not in UNUSABLE_KEYS:
            return identity.key
        return self._keys.encode(namespace, identity)

    def audit(self, namespace: str, entry: Entry) -> Sequence[str]:
        """A key that kvsync needs itself, and a content type that no header can hold."""
        problems = []
        if self._is_reserved(namespace, entry.identity):
            problems.append(f'"{LEDGER_KEY}" is reserved for the ledger of kvsync; use another key')
        kind = sent_type(entry.content)
        if not (kind.isascii() and kind.isprintable()):
            problems.append("the content_type contains characters that are not allowed in an HTTP header")
        return problems

    def may_be_version(self, seen: str, known: str) -> bool:
        """True when what a listing or a ZIP tells of a record is the same as of the version that is known."""
        return may_be(seen, known)

    def redacted_etag(self, etag: str) -> str:
        """The part of an etag that represents the size."""
        return as_listed(etag)

    def is_namespace_id(self, namespace: str) -> bool:
        """True for 17 letters and digits, as an id has, and for `user~name`, which may be of another user."""
        return looks_like_id(namespace) or "~" in namespace

    def place(self, namespace: str) -> Place:
        """The key-value store by its name, of the user that the configuration names, or of the token's own."""
        return offline_place(self.config, namespace, self._keys.scope(namespace))

    async def locate(self, namespace: str, *, writing: bool = False) -> Place:
        """The key-value store by its id: two names of it are one place, and another store of the same name is another place."""
        found = await self._client().namespaces.locate(namespace, writing=writing)
        if found is None:
            return self.place(namespace)
        return place_of(self.config, found, self._keys.scope(namespace))

    async def observe(self, namespace: str, signer: MarkSigner, token: str | None = None) -> Snapshot | None:
        """Everything in `namespace`, without values. A listing that breaks off, or leads astray, is reported as incomplete."""
        viewer = await self._viewer(namespace)
        if viewer is None:
            return Snapshot(Target(self.config.name, namespace), {}, {})
        view = await viewer.listed()
        stands_for = view.token()
        return None if stands_for is not None and stands_for == token else self._snapshot(namespace, view)

    async def observe_deep(self, namespace: str, signer: MarkSigner) -> Snapshot | None:
        """The same from a ZIP of all records, in one request; None when there is anything doubtful about it."""
        viewer = await self._viewer(namespace)
        view = await viewer.archived() if viewer is not None else None
        return None if view is None else self._snapshot(namespace, view)

    async def read(self, namespace: str, identities: Sequence[Identity]) -> Mapping[Identity, Actual]:
        """These entries with their values, a call each. What no key can be is not there."""
        remote = self._client()
        named = {identity: name for identity in identities if (name := self._name(namespace, identity)) is not None}
        store = await remote.namespaces.find(namespace) if named else None
        if store is None:
            return {}
        failures = ReadFailures()
        reads = (failures.note(pair[0], self._one(remote, namespace, store, *pair)) for pair in named.items())
        found = await gather_or_cancel(reads)
        return failures.check({actual.identity: actual for actual in found if actual is not None})

    async def write(self, namespace: str, writes: Sequence[Write]) -> Sequence[WriteResult]:
        """One call for one write."""
        from kvsync.stores.apify.records import delete, put

        check_batch(f"store {self.config.name}/{namespace}", writes, self.capabilities)
        (write,) = writes
        try:
            name = self._checked(namespace, write.identity, write.content)
        except ValueError as problem:
            return [WriteResult(WriteStatus.REJECTED, error=str(problem))]
        remote = self._client()
        if write.content is not None:
            store = await remote.namespaces.find_or_make(namespace)
            return [await put(remote, namespace, store, name, write.content, is_secret=write.is_sensitive)]
        found = await remote.namespaces.find(namespace)
        return [WriteResult(WriteStatus.DONE) if found is None else await delete(remote, namespace, found, name)]

    async def namespaces(self) -> Sequence[str]:
        """The names of the account's named stores."""
        return await self._client().namespaces.names()

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
                f"{remote.where}: writing the ledger to {namespace} failed: {result.error}; set ledger: local"
            )

    async def remove_ledger(self, namespace: str) -> None:
        """Delete the record that holds the ledger."""
        from kvsync.stores.apify.records import delete

        remote = self._client()
        store = await remote.namespaces.find(namespace)
        if store is not None:
            await delete(remote, namespace, store, LEDGER_KEY)

    async def _examine(self, remote: Remote) -> Sequence[DoctorCheck]:
        """Token, permissions and clock, distinguished."""
        from kvsync.stores.apify.doctor import Doctor

        return await Doctor(remote, self.config.options.get("username")).examine()

    async def _viewer(self, namespace: str) -> SnapshotReader | None:
        """Looks at a namespace as a whole; None for one that is still to be made."""
        from kvsync.stores.apify.snapshots import SnapshotReader

        remote = self._client()
        store = await remote.namespaces.find(namespace)
        if store is None:
            return None
        return SnapshotReader(remote, namespace, store, self._keys.prefix(namespace), keeps_ledger=self.keeps_ledger)

    def _snapshot(self, namespace: str, view: View) -> Snapshot:
        """What was seen; keys of another format are left out."""
        entries = {}
        for key, etag in view.etags.items():
            identity = Identity(key) if self._keys.is_plain else self._keys.decode(namespace, key)
            if identity is not None:
                entries[identity] = Actual(identity, etag, size=view.sizes[key])
        problems = () if view.problem is None else (view.problem,)
        target = Target(self.config.name, namespace)
        return Snapshot(target, entries, {}, not problems, problems, view.token(), view.ledger)

    async def _one(
        self, remote: Remote, namespace: str, store: KeyValueStore, identity: Identity, name: str
    ) -> Actual | None:
        from kvsync.stores.apify.records import read

        held = await read(remote, namespace, store, name)
        if held is None:
            return None
        content = held.content
        etag = whole(held.size, content.value, content.content_type)
        return Actual(identity, etag, fingerprint(content), content, len(content.value))

    def _checked(self, namespace: str, identity: Identity, content: Content | None = None) -> str:
        """The same, without the key that kvsync needs itself."""
        name = super()._checked(namespace, identity, content)
        if name == LEDGER_KEY:
            raise ValueError(f'"{LEDGER_KEY}" is reserved for the ledger of kvsync')
        return name

    def _is_reserved(self, namespace: str, identity: Identity) -> bool:
        try:
            return self.remote_key(namespace, identity) == LEDGER_KEY
        except ValueError:
            return False

    def _connect(self, most: int) -> Remote:
        from kvsync.stores.apify.remote import Remote

        return Remote(self.config, self.context, self.traffic, most)
