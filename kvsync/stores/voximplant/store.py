"""The store type `voximplant`: a namespace is a key prefix in one application. It has no versions and no marks, and every
entry expires within 90 days.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from kvsync.config.credentials import describe
from kvsync.config.model import StoreConfig
from kvsync.errors import PermanentError, TransientError
from kvsync.http.moments import moment_from
from kvsync.model.canonical import fingerprint
from kvsync.model.capabilities import Capabilities, Marks, SizeUnit
from kvsync.model.entry import Actual, Content, Identity, Target
from kvsync.model.health import DoctorCheck
from kvsync.model.place import Place, origin_of
from kvsync.model.snapshot import Snapshot
from kvsync.planning.marks import MarkSigner
from kvsync.stores.base import StoreContext, Write, WriteResult, WriteStatus
from kvsync.stores.chunked_ledger import LONGEST_KEY, RESERVED
from kvsync.stores.ledger_place import LEDGER, LedgerPlace
from kvsync.stores.option_rules import OneOf
from kvsync.stores.remote_store import Connection, PrefixNamespaces
from kvsync.stores.single_calls import SingleCallStore
from kvsync.stores.voximplant.api import ENDPOINT, KEY_PATTERN, LONGEST, MOST_KEY, MOST_VALUE, PAGE
from kvsync.stores.voximplant.listing import Item, everything
from kvsync.yaml.credential import credential
from kvsync.yaml.fields import Field, integer, number, text

if TYPE_CHECKING:
    from kvsync.stores.voximplant.remote import Remote
    from kvsync.stores.voximplant.storage import NamespaceKeys

_RATE: Final = 4.0
_CALLS_A_CHANGE: Final = 3
"""A read before it, the write itself, and a read after it."""

_COLON_FIRST: Final = "the namespace must not begin with a colon"

_USUAL_CHUNK: Final = 1500
"""Characters of a chunk of a ledger, on average."""


class VoximplantStore(PrefixNamespaces, SingleCallStore["Remote"]):
    """Entries in the key-value storage of one application."""

    options = (
        Field("credentials", credential(), help="Key of a service account: the JSON, or the path of the file."),
        Field("account_id", integer(1), help="Id of the account, with `api_key`."),
        Field("api_key", credential(), help="API key of the account, instead of a service account."),
        Field("child_account_id", integer(1), help="Id of the child account that the application belongs to."),
        Field("application_id", integer(1), help="Id of the application."),
        Field("application", text(), help="Name of the application, instead of its id."),
        Field(
            "requests_per_second",
            number(0.01, 100_000),
            default=_RATE,
            help="Maximum number of requests per second, across all stores with this account.",
        ),
        LEDGER,
    )
    option_rules = (
        OneOf((("application_id",), ("application",))),
        OneOf((("credentials",), ("account_id", "api_key"))),
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
    key_format = "{namespace}:{key}"
    divider = ":"
    ledger_chunk_bytes: int | None = _USUAL_CHUNK

    def __init__(self, config: StoreConfig, context: StoreContext) -> None:
        super().__init__(config, context)
        if self._first_level("n") is None:
            raise ValueError(
                f'key_format "{config.key_format}": this store lists keys by the part before the first colon;'
                f' begin the format with such a part, as in "{self.key_format}"'
            )
        self._rate: float = config.options.get("requests_per_second") or _RATE
        self.capabilities = replace(type(self).capabilities, writes_per_second=self._rate / _CALLS_A_CHANGE)
        self.keeps_ledger = config.options.get("ledger") is LedgerPlace.STORE
        self._located: dict[str, NamespaceKeys] = {}

    def remote_key(self, namespace: str, identity: Identity) -> str:
        """The key by the configured format, which no key of a ledger must be."""
        name = super().remote_key(namespace, identity)
        if RESERVED in name:
            raise ValueError(f'"{RESERVED}" is reserved for the ledger of kvsync; use another name')
        if self._first_level(namespace) is None:
            raise ValueError(_COLON_FIRST)
        if self.keeps_ledger and (size := len(self._keys.prefix(namespace)) + LONGEST_KEY) > MOST_KEY:
            raise ValueError(
                f"the namespace is too long: the keys of its ledger would have {size} characters; the limit is "
                f"{MOST_KEY}; shorten it, or set ledger: local"
            )
        return name

    def place(self, namespace: str) -> Place:
        """The application as it is configured, in its account; credentials are not read."""
        id_, name = self.config.options.get("application_id"), self.config.options.get("application")
        application = ("application", str(id_)) if id_ is not None else ("application name", str(name))
        return replace(self._place(namespace, *_account_parts(self.config.options), application), is_resolved=False)

    async def locate(self, namespace: str, *, writing: bool = False) -> Place:
        """The application by its id. A configured name is looked up at most once a minute, and before each pass that writes; a
        configured id needs no call. All calls about the namespace go to that application until it is located again. Raises
        PermanentError for a namespace that the service cannot list."""
        from kvsync.stores.voximplant.storage import NamespaceKeys, Storage

        pattern = self._first_level(namespace)
        if pattern is None:
            raise PermanentError(f"{self._where(namespace)}: {_COLON_FIRST}; choose another name")
        finder = self._client().applications
        application = await (finder.find(0) if writing else finder.find())
        known = self._located.get(namespace)
        if known is None or known.storage.application != application:
            storage, prefix = Storage(self._client(), application), self._keys.prefix(namespace)
            self._located[namespace] = NamespaceKeys(storage, pattern, prefix, keeps_ledger=self.keeps_ledger)
        account = ("account", application.owner)
        return replace(self._place(namespace, account, ("application", application.id)), detail=application.name)

    async def observe(self, namespace: str, signer: MarkSigner, token: str | None = None) -> Snapshot | None:
        """Everything in `namespace`, with values. A listing that cannot be read whole is incomplete."""
        located = await self._find(namespace)
        listed = await located.list()
        has_ledger = self.keeps_ledger and listed.problem is None
        ledger, ends = await located.ledger.latest() if has_ledger else (None, None)
        now = self.context.clock.now()
        actuals = (self._actual(namespace, item) for item in listed.items.values())
        entries = {one.identity: one for one in actuals if one is not None and not _has_expired(one, now)}
        problems = () if listed.problem is None else (listed.problem,)
        target = Target(self.config.name, namespace)
        return Snapshot(target, entries, {}, not problems, problems, ledger=ledger, ledger_expires_at=ends)

    async def scan(
        self, namespace: str, signer: MarkSigner, absent: Collection[Identity], present: Collection[Identity]
    ) -> Mapping[Identity, Actual] | None:
        """The listing, which has the values, if that takes fewer calls than reading the entries."""
        located = await self._find(namespace)
        if len(absent) + len(present) <= located.pages:
            return None
        listed = await located.list()
        if listed.problem is not None:
            return None
        actuals = (self._actual(namespace, item) for item in listed.items.values())
        return {one.identity: one for one in actuals if one is not None}

    async def read(self, namespace: str, identities: Sequence[Identity]) -> Mapping[Identity, Actual]:
        """These entries: one by one, or by listing the namespace if that takes fewer calls."""
        named = self._named(namespace, identities)
        located = await self._find(namespace)
        listed = await located.list() if len(named) > located.pages else None
        if listed is None or listed.problem is not None or not listed.items:
            return await super().read(namespace, identities)
        actuals = (self._actual(namespace, listed.items[name]) for name in named.values() if name in listed.items)
        return {one.identity: one for one in actuals if one is not None}

    async def namespaces(self) -> Sequence[str]:
        """The namespaces of all keys, as far as the key format tells them and the service can list them."""
        names = self._keys.namespaces_of(await self.remote_keys())
        return [name for name in names if self._first_level(name) is not None]

    async def remote_keys(self) -> Sequence[str]:
        """The keys of the application."""
        from kvsync.stores.voximplant.storage import Storage

        remote = self._client()
        storage = Storage(remote, await remote.applications.find())
        async with remote.quiet:
            listed = await everything(storage.pages("GetKeyValueKeys", ""), PAGE)
        if listed.problem is not None:
            raise TransientError(f"store {self.config.name}: listing the keys failed: {listed.problem}")
        return [key for key in listed.items if RESERVED not in key]

    async def read_ledger(self, namespace: str) -> bytes | None:
        """The root, and those of its chunks that are not known yet."""
        return await (await self._find(namespace)).ledger.read()

    async def write_ledger(self, namespace: str, ledger: bytes) -> None:
        """Its new chunks, then the root; unneeded chunks are deleted last."""
        await (await self._find(namespace)).ledger.write(ledger)

    async def aclose(self) -> None:
        """Close the connections. Idempotent."""
        self._located.clear()
        await super().aclose()

    async def remove_ledger(self, namespace: str) -> None:
        """The root first: without it the chunks mean nothing."""
        await (await self._find(namespace)).ledger.remove()

    async def _examine(self, remote: Remote) -> Sequence[DoctorCheck]:
        from kvsync.stores.voximplant.doctor import examine

        return await examine(remote)

    def _connect(self, connection: Connection) -> Remote:
        from kvsync.stores.voximplant.remote import Remote

        return Remote(connection, self._rate)

    async def _read_one(self, namespace: str, identity: Identity, name: str) -> Actual | None:
        item = await (await self._find(namespace)).storage.item(name)
        return None if item is None else self._actual(namespace, item)

    async def _write_one(self, namespace: str, name: str, write: Write) -> WriteResult:
        from kvsync.stores.voximplant.storage import lifetime_of

        storage = (await self._find(namespace)).storage
        if write.content is None:
            await storage.delete(name)
            return WriteResult(WriteStatus.DONE)
        lifetime = lifetime_of(write, self.context.clock.now())
        if lifetime is None:
            return WriteResult(WriteStatus.REJECTED, error="it expires before it can be written")
        await storage.put(name, write.content.value.decode(), lifetime, is_secret=write.is_sensitive)
        return WriteResult(WriteStatus.DONE)

    async def _find(self, namespace: str) -> NamespaceKeys:
        """Where `locate` found the namespace last. Raises StoreError."""
        if namespace not in self._located:
            await self.locate(namespace)
        return self._located[namespace]

    def _place(self, namespace: str, *parts: tuple[str, str]) -> Place:
        """A place at the endpoint, in one spelling, with its path if it has one: each service numbers accounts and applications
        from one, and several may share a host."""
        url = self.config.endpoint or ENDPOINT
        endpoint = ("endpoint", origin_of(url) + urlsplit(url).path.rstrip("/"))
        return Place(self.config.type, (endpoint, *parts), self._keys.scope(namespace))

    def _first_level(self, namespace: str) -> str | None:
        """The part of all keys of a namespace before the first colon, None if it is not the same for all."""
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


def _account_parts(options: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What is known offline of the account that the application belongs to."""
    owner = options.get("child_account_id") or options.get("account_id")
    return [("account", str(owner))] if owner else [("credentials", describe(options["credentials"]))]


def _has_expired(actual: Actual, now: float) -> bool:
    """True for an entry that expired while the pages were listed."""
    return actual.expires_at is not None and actual.expires_at <= now
