"""Base class of stores with a remote API: they connect on first use."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Generic, Protocol, TypeVar

from kvsync.config.model import StoreConfig
from kvsync.errors import StoreError
from kvsync.model.canonical import FINGERPRINT_SIZE
from kvsync.model.entry import Content, Entry, Identity, Mark
from kvsync.model.health import DoctorCheck, Traffic
from kvsync.model.key_format import KeyFormat
from kvsync.planning.marks import SEAL_SIZE
from kvsync.stores.base import Store, StoreContext
from kvsync.stores.limits import check_entry
from kvsync.stores.option_rules import OptionRule, check_rules
from kvsync.util.clock import Clock

if TYPE_CHECKING:
    from kvsync.http.client import Client
    from kvsync.http.client_options import ClientLimits, ClientOptions
    from kvsync.http.paging import ListingLimit


class ApiClient(Protocol):
    """The remote side of a store."""

    async def aclose(self) -> None:
        """Close everything that is open. Idempotent."""


@dataclass(frozen=True, slots=True)
class Connection:
    """What the remote side of a store needs to call its API, with at most `concurrency` calls at a time."""

    config: StoreConfig
    context: StoreContext
    traffic: Traffic
    concurrency: int

    @property
    def label(self) -> str:
        """Names the store in messages."""
        return f"store {self.config.name}"

    @property
    def clock(self) -> Clock:
        """The clock of the store."""
        return self.context.clock

    def client(
        self, endpoint: str, options: ClientOptions, limits: ClientLimits | None = None, label: str | None = None
    ) -> Client:
        """A client of the API at `endpoint`, with the fence and the read-only mode of this store. `options` and `limits` come
        first where they have a route of their own, or another timeout and concurrency; `label` names the endpoint in messages
        instead of the store."""
        from kvsync.http.client import Client
        from kvsync.http.route import USUAL
        from kvsync.stores.route import route_of

        config, context = self.config, self.context
        limits = limits or replace(options.limits, timeout=config.timeout, concurrency=self.concurrency)
        limits = replace(limits, answers=context.limits)
        route = route_of(config, context) if options.route == USUAL else options.route
        guarded = replace(options, limits=limits, read_only=context.read_only, fence=context.fence, route=route)
        guarded = replace(guarded, allocator=context.allocator)
        return Client(label or self.label, endpoint, context.clock, self.traffic, guarded)

    def listing_limit(self, what: str, most_pages: int | None = None) -> ListingLimit:
        """The bounds on one listing; `what` names it."""
        from kvsync.http.paging import ListingLimit

        return ListingLimit(f"{self.label}: {what}", self.context.limits, self.clock, most_pages)


class PrefixNamespaces:
    """Mixin for a `RemoteStore` whose namespaces are prefixes of its keys, so that one can be a part of another."""

    _keys: KeyFormat

    def nested_namespace(self, namespace: str, identity: Identity, others: Collection[str]) -> str | None:
        """Of `app` and `app/sub`, both managed, keys that begin with `app/sub/` belong to the second alone."""
        return self._keys.nested_namespace(namespace, identity, others)


_Remote = TypeVar("_Remote", bound=ApiClient)


class RemoteStore(Store, Generic[_Remote]):
    """A store whose remote side is a `_Remote`, which lives from the first call until `aclose`. `key_format` is used if the
    configuration has none; `divider` usually separates label and key."""

    key_format: ClassVar[str] = "{key}"
    divider: ClassVar[str] = "/"
    option_rules: ClassVar[tuple[OptionRule, ...]] = ()
    """Rules for options that exclude or need each other."""

    def __init__(self, config: StoreConfig, context: StoreContext) -> None:
        super().__init__(config, context)
        template, has_labels = config.key_format or self.key_format, self.capabilities.labels
        self._keys = KeyFormat(template, native_labels=has_labels, divider=self.divider)
        self._remote: _Remote | None = None
        check_rules(self.option_rules, config.options, {"endpoint": config.endpoint, "ca_file": config.ca_file})

    @abstractmethod
    def _connect(self, connection: Connection) -> _Remote:
        """The remote side. Import what it needs here, because offline commands should not pay for it. Raises StoreError for a
        credential that cannot be read."""

    @abstractmethod
    async def _examine(self, remote: _Remote) -> Sequence[DoctorCheck]:
        """What `check` returns. Raises StoreError for a credential that cannot be used."""

    def normalise(self, content: Content) -> Content:
        """The content without what the capabilities say that the store cannot hold."""
        value, content_type, tags, metadata, description = content
        can = self.capabilities
        return Content(
            value,
            content_type if can.content_type else None,
            tags if can.tags else (),
            metadata if can.metadata else None,
            description if can.descriptions else None,
        )

    def remote_key(self, namespace: str, identity: Identity) -> str:
        """The key by the configured format."""
        return self._keys.encode(namespace, identity)

    async def check(self) -> Sequence[DoctorCheck]:
        """What the store's own doctor finds."""
        try:
            return await self._examine(self._client())
        except StoreError as error:
            return [DoctorCheck.of_error("credential", error)]

    async def aclose(self) -> None:
        """Close the connections. Idempotent."""
        remote, self._remote = self._remote, None
        if remote is not None:
            await remote.aclose()

    def _client(self) -> _Remote:
        if self._remote is None:
            self._remote = self._connect(self._connection())
        return self._remote

    def _connection(self) -> Connection:
        most = self.config.concurrency or self.capabilities.concurrency
        return Connection(self.config, self.context, self.traffic, most)

    def _checked(self, namespace: str, identity: Identity, content: Content | None = None) -> str:
        """The remote key of an entry. Raises ValueError, with the reason, if the store cannot hold the entry."""
        name = self.remote_key(namespace, identity)
        check_entry(name, content, self.capabilities)
        return name

    def _name(self, namespace: str, identity: Identity) -> str | None:
        """The remote key of an entry, None if the store cannot hold the entry."""
        try:
            return self._checked(namespace, identity)
        except ValueError:
            return None

    def _named(self, namespace: str, identities: Iterable[Identity]) -> dict[Identity, str]:
        """The remote keys of entries, without those that the store cannot hold."""
        names = ((identity, self._name(namespace, identity)) for identity in identities)
        return {identity: name for identity, name in names if name is not None}

    def _where(self, namespace: str) -> str:
        """Names a namespace of this store in messages."""
        return f"store {self.config.name}/{namespace}"

    def _mark_for(self, entry: Entry) -> Mark:
        """A mark as long as the one that `entry` will be written with, for checks of sizes."""
        flags = (entry.ttl, entry.sensitive, entry.protected)
        return Mark(self.context.owner, bytes(FINGERPRINT_SIZE), *flags, seal=bytes(SEAL_SIZE))
