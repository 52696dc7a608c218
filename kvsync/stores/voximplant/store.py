"""The store type `voximplant`: a namespace is a key prefix in one application. It has no versions and no marks, and every
entry expires within 90 days.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from kvsync.config.model import StoreConfig
from kvsync.errors import TransientError
from kvsync.http.moments import moment_from
from kvsync.model.canonical import fingerprint
from kvsync.model.capabilities import Capabilities, Marks, SizeUnit
from kvsync.model.entry import Actual, Content, Identity, Snapshot, Target
from kvsync.model.health import DoctorCheck
from kvsync.model.key_format import KeyFormat
from kvsync.model.place import Place
from kvsync.planning.marks import MarkSigner
from kvsync.stores.base import StoreContext, Write, WriteResult, WriteStatus
from kvsync.stores.ledger_place import LEDGER, LedgerPlace
from kvsync.stores.limits import check_batch
from kvsync.stores.partial import ReadFailures
from kvsync.stores.remote_store import RemoteStore
from kvsync.stores.voximplant.chunks import LONGEST_KEY, RESERVED, USUAL
from kvsync.stores.voximplant.limits import KEY_PATTERN, LONGEST, MOST_KEY, MOST_VALUE, PAGE
from kvsync.stores.voximplant.listing import Item, Listed, everything
from kvsync.stores.voximplant.place import Application, offline_place, place_of
from kvsync.yaml.credential import credential
from kvsync.yaml.fields import Field, integer, number, text

if TYPE_CHECKING:
    from kvsync.stores.voximplant.remote import Remote, Storage
    from kvsync.stores.voximplant.remote_ledger import RemoteLedger
    from kvsync.stores.voximplant.writing import Writer

KEY_FORMAT: Final = "{namespace}:{key}"
"""How identities become remote keys where the configuration does not say."""

_RATE: Final = 4.0
_CALLS_A_CHANGE: Final = 3
"""A look before it, the write itself, and a look after it."""


class VoximplantStore(RemoteStore["Remote"]):
    """Entries in the key-value storage of one application."""

    options = (
        Field(
            "credentials",
            credential(),
            required=True,
            help="Key of a service account: the JSON, or the path of the file.",
        ),
        Field("application_id", integer(1), help="Id of the application."),
        Field("application", text(), help="Name of the application, instead of its id."),
        Field(
            "requests_per_second",
            number(0.01, 100_000),
            default=_RATE,
            help="Maximum number of requests per second, over all stores with this account.",
        ),
        LEDGER,
    )
    capabilities = Capabilities(
        type="voximplant",
        namespace="a key prefix in an application",
        marks=Marks.LEDGER,
        compare_and_set=False,
        labels=False,
        content_type=False,
        tags=False,
        metadata=False,
        binary=False,
        max_ttl=LONGEST,
        always_expires=True,
        max_key=MOST_KEY,
        key_unit=SizeUnit.CHARACTERS,
        key_pattern=KEY_PATTERN,
        max_value=MOST_VALUE,
        value_unit=SizeUnit.CHARACTERS,
        batch=1,
        read_batch=1000,
        read_page=1,
        page=PAGE,
        concurrency=2,
        writes_per_second=_RATE / _CALLS_A_CHANGE,
    )
    ledger_chunk_bytes: int | None = USUAL

    def __init__(self, config: StoreConfig, context: StoreContext) -> None:
        super().__init__(config, context)
        if (config.options.get("application_id") is None) is (config.options.get("application") is None):
            raise ValueError("set either application_id or application")
        self._keys = KeyFormat(config.key_format or KEY_FORMAT, divider=":")
        if self._first_level("n") is None:
            raise ValueError(
                f'key_format "{config.key_format}": this store lists by what stands before the first colon of a key;'
                f' begin with one, as "{KEY_FORMAT}" does'
            )
        self._rate: float = config.options.get("requests_per_second") or _RATE
        self.capabilities = replace(type(self).capabilities, writes_per_second=self._rate / _CALLS_A_CHANGE)
        self.keeps_ledger = config.options.get("ledger") is LedgerPlace.STORE
        self._writer: Writer | None = None
        self._located: dict[str, Application] = {}
        self._shelves: dict[str, RemoteLedger] = {}
        self._pages: dict[str, int] = {}

    def normalise(self, content: Content) -> Content:
        """The value alone."""
        return Content(content.value)

    def remote_key(self, namespace: str, identity: Identity) -> str:
        """The key by the configured format; by default the namespace, a colon, and the key."""
        name = self._keys.encode(namespace, identity)
        if RESERVED in name:
            raise ValueError(f'"{RESERVED}" is reserved for the ledger of kvsync; use another name')
        if self._first_level(namespace) is None:
            raise ValueError("the namespace must not begin with a colon")
        if self.keeps_ledger and (size := len(self._keys.prefix(namespace)) + LONGEST_KEY) > MOST_KEY:
            raise ValueError(
                f"the namespace is too long: the keys of its ledger would have {size} characters of {MOST_KEY}"
            )
        return name

    def nested_namespace(self, namespace: str, identity: Identity, others: Collection[str]) -> str | None:
        """Of `web` and `web:de`, both managed, keys that begin with `web:de:` belong to the second alone."""
        return self._keys.nested_namespace(namespace, identity, others)

    def place(self, namespace: str) -> Place:
        """The application as it is configured, and what the keys begin with; the credentials are not read."""
        return offline_place(self.config, self._keys.scope(namespace))

    async def locate(self, namespace: str, *, writing: bool = False) -> Place:
        """The application by its id. A configured name is looked up at most once a minute, and for each pass that writes; a
        configured id costs no call. All calls about the namespace go there from then on."""
        finder = self._client().applications
        application = await (finder.find(0) if writing else finder.find())
        self._lead(namespace, application)
        return place_of(self.config, application, self._keys.scope(namespace))

    async def observe(self, namespace: str, signer: MarkSigner, token: str | None = None) -> Snapshot | None:
        """Everything in `namespace`, with values. A listing that cannot be had whole is reported as incomplete."""
        storage = await self._storage(namespace)
        listed = await self._list(namespace, storage)
        has_ledger = self.keeps_ledger and listed.problem is None
        ledger, ends = await self._shelf(namespace, storage).latest() if has_ledger else (None, None)
        now = self.context.clock.now()
        actuals = (self._actual(namespace, item) for item in listed.items.values())
        entries = {one.identity: one for one in actuals if one is not None and not _has_ended(one, now)}
        problems = () if listed.problem is None else (listed.problem,)
        target = Target(self.config.name, namespace)
        return Snapshot(target, entries, {}, not problems, problems, ledger=ledger, ledger_expires_at=ends)

    async def read(self, namespace: str, identities: Sequence[Identity]) -> Mapping[Identity, Actual]:
        """These entries: one by one, or page by page where that takes fewer calls. What no key can be is not there."""
        named = {name: identity for identity in identities if (name := self._name(namespace, identity)) is not None}
        storage, failures = await self._storage(namespace), ReadFailures()
        items: Mapping[str, Item] = {}
        if len(named) > self._pages.get(namespace, PAGE):
            listed = await self._list(namespace, storage)
            items = listed.items if listed.problem is None else {}
        if not items:
            found = [await failures.note(identity, storage.item(name)) for name, identity in named.items()]
            items = {item["key"]: item for item in found if item is not None}
        actuals = (self._actual(namespace, items[name]) for name in named if name in items)
        return failures.check({one.identity: one for one in actuals if one is not None})

    async def write(self, namespace: str, writes: Sequence[Write]) -> Sequence[WriteResult]:
        """One call."""
        check_batch(f"store {self.config.name}/{namespace}", writes, self.capabilities)
        return [await self._write(namespace, write) for write in writes]

    async def namespaces(self) -> Sequence[str]:
        """What the keys begin with, as far as the key format tells."""
        names = {self._keys.namespace_of(key) for key in await self.remote_keys()}
        return sorted(name for name in names if name is not None)

    async def remote_keys(self) -> Sequence[str]:
        """The keys of the application."""
        storage = await self._client().storage()
        async with storage.quiet:
            listed = await everything(storage.pages("GetKeyValueKeys", ""), PAGE)
        if listed.problem is not None:
            raise TransientError(f"store {self.config.name}: listing the keys failed: {listed.problem}")
        return [key for key in listed.items if RESERVED not in key]

    async def read_ledger(self, namespace: str) -> bytes | None:
        """The root first, and of the pieces what is not known yet: a piece never changes."""
        return await self._shelf(namespace, await self._storage(namespace)).read()

    async def write_ledger(self, namespace: str, ledger: bytes) -> None:
        """What is new of it, then the root; what is not needed any more goes last."""
        await self._shelf(namespace, await self._storage(namespace)).write(ledger)

    async def remove_ledger(self, namespace: str) -> None:
        """The root first: without it the pieces mean nothing."""
        await self._shelf(namespace, await self._storage(namespace)).remove()

    async def _examine(self, remote: Remote) -> Sequence[DoctorCheck]:
        """Key file, token, clock, application and permissions, distinguished."""
        from kvsync.stores.voximplant.doctor import examine

        return await examine(remote)

    async def aclose(self) -> None:
        """Close the connections."""
        self._writer = None
        self._located.clear()
        self._shelves.clear()
        await super().aclose()

    def _lead(self, namespace: str, application: Application) -> None:
        """Let calls about a namespace go to this application from now on; nothing that is known of another one counts."""
        if self._located.get(namespace) != application:
            self._shelves.pop(namespace, None)
            self._pages.pop(namespace, None)
        self._located[namespace] = application

    async def _storage(self, namespace: str) -> Storage:
        """Where `locate` said last that the namespace is. Raises StoreError."""
        from kvsync.stores.voximplant.remote import Storage

        remote = self._client()
        if namespace not in self._located:
            self._lead(namespace, await remote.applications.find())
        return Storage(remote, self._located[namespace])

    async def _list(self, namespace: str, storage: Storage) -> Listed:
        """All that begins as the keys of the namespace do. Which keys a pattern brings is not sure: a few more than are asked
        for."""
        pattern = self._first_level(namespace) or ""
        async with storage.quiet:
            listed = await everything(storage.pages("GetKeyValueItems", pattern), PAGE)
        self._pages[namespace] = len(listed.items) // (PAGE - 1) + 1
        if self.keeps_ledger and listed.problem is None:
            self._shelf(namespace, storage).take_in(listed.items)
        return listed

    async def _write(self, namespace: str, write: Write) -> WriteResult:
        from kvsync.stores.voximplant.writing import lifetime_of

        try:
            name = self._checked(namespace, write.identity, write.content)
            lifetime = lifetime_of(write, self.context.clock.now()) if write.content is not None else {}
        except ValueError as problem:
            return WriteResult(WriteStatus.REJECTED, error=str(problem))
        storage = await self._storage(namespace)
        if write.content is None:
            await self._writing().delete(storage, name)
        else:
            value = write.content.value.decode()
            await self._writing().put(storage, name, value, lifetime, is_secret=write.is_sensitive)
        return WriteResult(WriteStatus.DONE)

    def _first_level(self, namespace: str) -> str | None:
        """What stands before the first colon of all keys of a namespace, None where that is not the same for all."""
        first, colon, _ = self._keys.prefix(namespace).partition(":")
        return first if first and colon else None

    def _actual(self, namespace: str, item: Item) -> Actual | None:
        """An item as an entry, None for one of another namespace or format, and for kvsync's own."""
        identity = None if RESERVED in item["key"] else self._keys.decode(namespace, item["key"])
        if identity is None:
            return None
        value = item.get("value")
        content = Content(value.encode("utf-8", "surrogatepass") if isinstance(value, str) else b"")
        expires_at = moment_from(item.get("expires_at"))
        return Actual(identity, None, fingerprint(content), content, len(content.value), expires_at)

    def _shelf(self, namespace: str, storage: Storage) -> RemoteLedger:
        """The ledger of a namespace, with what is known of it for as long as the namespace leads to that storage."""
        if namespace in self._shelves and self._located.get(namespace) == storage.application:
            return self._shelves[namespace]
        from kvsync.stores.voximplant.remote_ledger import RemoteLedger

        prefix, writer = self._keys.prefix(namespace), self._writing()
        shelf = RemoteLedger(storage, writer, prefix, lambda: self._list(namespace, storage))
        if self._located.get(namespace) == storage.application:
            self._shelves[namespace] = shelf
        return shelf

    def _writing(self) -> Writer:
        if self._writer is None:
            from kvsync.stores.voximplant.writing import Writer

            self._writer = Writer()
        return self._writer

    def _connect(self, most: int) -> Remote:
        from kvsync.stores.voximplant.remote import Remote

        return Remote(self.config, self.context, self.traffic, self._rate, most)


def _has_ended(actual: Actual, now: float) -> bool:
    """True for what has come to its end while the pages were listed."""
    return actual.expires_at is not None and actual.expires_at <= now
