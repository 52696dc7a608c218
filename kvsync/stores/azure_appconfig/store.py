"""The store type `azure-appconfig`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from kvsync.config.credentials import describe
from kvsync.config.model import StoreConfig
from kvsync.model.canonical import is_flag_type
from kvsync.model.capabilities import Capabilities, Lifetimes
from kvsync.model.entry import Actual, Content, Entry, Identity, Target
from kvsync.model.feature_flags import FLAG_TYPE
from kvsync.model.health import DoctorCheck
from kvsync.model.place import Place, origin_of
from kvsync.model.snapshot import Snapshot
from kvsync.planning.marks import MarkSigner
from kvsync.stores.azure_appconfig.api import (
    KEY_PATTERN,
    MOST_BYTES,
    RATES,
    SNAPSHOT_REQUESTS,
    call_for,
    result_of,
    size_of,
    tag_problems,
    text_problems,
)
from kvsync.stores.azure_appconfig.flag_resources import normal_flag
from kvsync.stores.azure_appconfig.items import Entries, Row, tags_for, to_actual
from kvsync.stores.azure_appconfig.options import OPTIONS, check_options
from kvsync.stores.azure_appconfig.replicas import Replicas
from kvsync.stores.azure_appconfig.resources import FLAGS, ApiVersion, FeatureFlags, ListingFilter, key_values
from kvsync.stores.azure_appconfig.well_known import FLAG_PREFIX, flag_resource_problems, well_known_problems
from kvsync.stores.base import StoreContext, Write, WriteResult, WriteStatus
from kvsync.stores.limits import check_batch, check_entry
from kvsync.stores.partial import ReadFailures
from kvsync.stores.remote_store import Connection, PrefixNamespaces, RemoteStore

if TYPE_CHECKING:
    from kvsync.stores.azure_appconfig.remote import Remote


class AzureAppConfigStore(PrefixNamespaces, RemoteStore["Remote"]):
    """Entries in one App Configuration store; a namespace is a prefix of keys."""

    options = OPTIONS
    capabilities = Capabilities(
        type="azure-appconfig",
        namespace="a key prefix",
        metadata=False,
        descriptions=True,
        binary=False,
        lifetimes=Lifetimes.EMULATED,
        key_pattern=KEY_PATTERN,
        max_entry=MOST_BYTES,
        batch=1,
        read_batch=10_000,
        page=100,
        concurrency=64,
        flag_prefix=FLAG_PREFIX,
    )

    key_format = "{namespace}:{key}"

    def __init__(self, config: StoreConfig, context: StoreContext) -> None:
        options = config.options
        self._has_flags_only = options.get("feature_flags") is FeatureFlags.RESOURCES
        super().__init__(_with_format(config) if self._has_flags_only else config, context)
        check_options(config)
        self._rates = RATES[options.get("tier")]
        version = options.get("api_version") or ApiVersion.DESCRIPTIONS
        self._resource = FLAGS if self._has_flags_only else key_values(version)
        self.capabilities = replace(
            type(self).capabilities,
            writes_per_second=self._rates.writes,
            descriptions=self._resource.has_descriptions,
            flag_prefix="" if self._has_flags_only else FLAG_PREFIX,
        )
        self._remotes: dict[str, Remote] = {}
        self._located: dict[str, Remote] = {}
        self._read_from: dict[str, Remote] = {}
        self.restore_point_requests = SNAPSHOT_REQUESTS if config.options.get("snapshot_before_apply") else 0
        self._common_tags: Mapping[str, str] = config.options.get("tags") or {}
        self._replicas = Replicas(config.options.get("endpoints") or (), self._replica, context.clock)

    def normalise(self, content: Content) -> Content:
        """The content without metadata and without an empty content type, and with the tags that every entry has. A flag is as
        its resource returns it."""
        if self._has_flags_only and is_flag_type(content.content_type):
            with suppress(ValueError, RecursionError):
                content = content._replace(value=normal_flag(content.value), content_type=FLAG_TYPE)
        description = content.description if self.capabilities.descriptions else None
        if self._common_tags:
            content = content._replace(tags=tuple(sorted({**self._common_tags, **dict(content.tags)}.items())))
        return content._replace(content_type=content.content_type or None, metadata=None, description=description)

    @property
    def filters_listing(self) -> bool:
        """Whether entries without the configured tags are left out of listings."""
        return bool(self._common_tags)

    def audit(self, namespace: str, entry: Entry) -> Sequence[str]:
        """Labels, tags and content types that the service refuses, and entries that kvsync's mark makes too large."""
        key, label = self._slot(namespace, entry.identity)
        found = list(text_problems(label, entry.content))
        found += tag_problems(dict(entry.content.tags), self._common_tags)
        check = flag_resource_problems if self._has_flags_only else well_known_problems
        found += check(key, entry.content.content_type, entry.content.value)
        size = size_of(key, label, entry.content, entry.content.tags)
        marked = size_of(key, label, entry.content, self._tags(namespace, key, entry).items())
        if size <= MOST_BYTES < marked:
            found.append(_too_large(marked))
        return found

    def place(self, namespace: str) -> Place:
        """The host of the store. With a connection string, which names it, it is not known offline."""
        credential = self.config.options.get("connection_string")
        if credential is None:
            return self._place(namespace, self.config.endpoint or "")
        found = self._place(namespace, "")
        source = ("connection string", describe(credential))
        return replace(found, parts=(source, *found.parts[1:]), is_resolved=False)

    async def locate(self, namespace: str, *, writing: bool = False) -> Place:
        """The host that connection string or configuration name now. Calls for `namespace` go there until it is located again,
        even if the connection string changes in the meantime."""
        from kvsync.stores.azure_appconfig.auth import account_of

        self._located[namespace] = self._current()
        self._read_from.pop(namespace, None)
        return self._place(namespace, account_of(self.config, self.context))

    async def observe(self, namespace: str, signer: MarkSigner, token: str | None = None) -> Snapshot | None:
        """Everything in `namespace`, with all labels; unchanged pages are not transferred again. Listed by a replica, which may
        lag behind, it is not complete."""
        wanted = ListingFilter(self._keys.prefix(namespace), tuple(self._common_tags.items()))
        primary = self._remote_of(namespace)
        remote, (pages, state) = await self._replicas.first(primary, lambda one: one.pages(wanted))
        self._read_from[namespace] = remote
        if token == state:
            return None
        rows = self._identified(namespace, await remote.rows(wanted, pages))
        entries = Entries(rows, lambda key: self._home(namespace, key), signer)
        found = Snapshot(Target(self.config.name, namespace), entries, entries.settled, token=state)
        return (
            found if remote is primary else replace(found, complete=False, problems=(_from_replica(remote.endpoint),))
        )

    async def read(self, namespace: str, identities: Sequence[Identity]) -> Mapping[Identity, Actual]:
        """These entries with their values: one by one, or page by page if that takes fewer requests."""
        slots, failures = {self._slot(namespace, identity): identity for identity in identities}, ReadFailures()
        remote = self._read_from.get(namespace) or self._remote_of(namespace)
        rows = await remote.look_up(self._keys.prefix(namespace), slots, failures)
        found = self._identified(namespace, rows)
        return failures.check({one: to_actual(one, row, self._home(namespace, row.key)) for one, row in found.items()})

    async def write(self, namespace: str, writes: Sequence[Write]) -> Sequence[WriteResult]:
        """One conditional request to the primary, which is read from then on."""
        self._read_from.pop(namespace, None)
        check_batch(self._where(namespace), writes, self.capabilities)
        (write,) = writes
        try:
            slot = key, label = self._slot(namespace, write.identity)
            tags = self._checked_tags(key, label, write, self._home(namespace, key))
        except ValueError as problem:
            return [WriteResult(WriteStatus.REJECTED, error=str(problem))]
        remote = self._remote_of(namespace)
        kept = await remote.preserved_parts(self._keys.prefix(namespace), slot, write)
        if write.content is not None and write.content.description is None and kept.description is not None:
            write = replace(write, content=write.content._replace(description=kept.description))
        call = call_for(self._resource, write, slot, tags, kept.nulls)
        answer = await remote.client.send(call)
        result = result_of(f"store {self.config.name}", self._resource, write, call, answer, slot)
        if result.status is WriteStatus.DONE:
            remote.descriptions.note(slot, result.etag, write.content and write.content.description)
        return [result]

    async def begin_restore_point(self, namespace: str, run: str) -> str:
        """Create a snapshot of all keys of the namespace, with all labels."""
        points = self._remote_of(namespace).restore_points
        return await points.begin(namespace, self._keys.prefix(namespace), run)

    async def complete_restore_point(self, namespace: str, name: str) -> bool:
        """Archive the snapshot once it is complete."""
        return await self._remote_of(namespace).restore_points.complete(name)

    async def namespaces(self) -> Sequence[str]:
        """The namespaces of all keys, as far as the key format tells them."""
        return self._keys.namespaces_of(await self._client().keys())

    async def aclose(self) -> None:
        """Close the connections. Idempotent."""
        remotes, self._remotes, self._located, self._read_from = self._remotes, {}, {}, {}
        await self._replicas.aclose()
        former = [remote for remote in remotes.values() if remote is not self._remote]
        await super().aclose()
        for remote in former:
            await remote.aclose()

    async def _examine(self, remote: Remote) -> Sequence[DoctorCheck]:
        """Endpoint, credential, clock and permissions, distinguished; of replicas, whether they can be read."""
        found = await remote.examine()
        for replica in self._replicas.remotes(remote):
            failed = [one for one in await replica.examine() if not one.ok and one.check != "writing"]
            name = f"replica {replica.endpoint}"
            found += [replace(one, check=name) for one in failed] or [DoctorCheck(name, True, "permitted")]
        return found

    def _identified(self, namespace: str, rows: Sequence[Row]) -> dict[Identity, Row]:
        """The rows of this key format, by identity."""
        own = [row for row in rows if row.label is None or not self._keys.holds_label]
        named = ((self._keys.decode(namespace, row.key, row.label), row) for row in own)
        return {identity: row for identity, row in named if identity is not None}

    def _home(self, namespace: str, key: str) -> str | None:
        """The namespace that the mark of an entry must name; None if the key tells it."""
        return None if self._keys.namespace_of(key) == namespace else namespace

    def _checked_tags(self, key: str, label: str | None, write: Write, home: str | None) -> Mapping[str, str]:
        """All tags to write, with the mark; it names `home`, unless that is None. Raises ValueError for an entry that the
        service would refuse."""
        check_entry(key, write.content, self.capabilities)
        if write.content is None:
            return {}
        found = list(text_problems(label, write.content))
        if self._has_flags_only:
            found += flag_resource_problems(key, write.content.content_type, write.content.value)
        tags = tags_for(write.content, write.mark, write.expires_at, home)
        if (size := size_of(key, label, write.content, tags.items())) > MOST_BYTES:
            found.append(_too_large(size))
        if found:
            raise ValueError("; ".join(found))
        return tags

    def _tags(self, namespace: str, key: str, entry: Entry) -> Mapping[str, str]:
        ends = entry.expires_at if entry.ttl is None else 0
        return tags_for(entry.content, self._mark_for(entry), ends, self._home(namespace, key))

    def _slot(self, namespace: str, identity: Identity) -> tuple[str, str | None]:
        label = None if self._keys.holds_label else identity.label
        return self._keys.encode(namespace, identity), label

    def _place(self, namespace: str, endpoint: str) -> Place:
        """A place is a host, with or without encryption. If keys do not contain the namespace, marks do."""
        scope = self._keys.scope(namespace)
        if not self._keys.holds_namespace:
            scope = scope._replace(namespace=namespace)
        host = origin_of(endpoint).partition("://")[2]
        parts = (("host", host), *((("resources", "feature flags"),) if self._has_flags_only else ()))
        return Place(self.config.type, parts, scope)

    def _current(self) -> Remote:
        """The connection to the present host. Earlier ones stay open for the passes that began with them."""
        from kvsync.stores.azure_appconfig.auth import endpoint_of

        endpoint = endpoint_of(self.config, self.context)
        if self._remote is None or self._remote.endpoint != endpoint:
            self._remote = self._remotes.get(endpoint)
        remote = self._client()
        self._remotes[remote.endpoint] = remote
        return remote

    def _remote_of(self, namespace: str) -> Remote:
        """The connection to the host where `namespace` was located last."""
        return self._located.get(namespace) or self._client()

    def _connect(self, connection: Connection) -> Remote:
        from kvsync.stores.azure_appconfig.remote import Remote

        return Remote(connection, self._rates, self._resource)

    def _replica(self, endpoint: str) -> Remote:
        from kvsync.stores.azure_appconfig.remote import Remote

        return Remote(self._connection(), self._rates, self._resource, endpoint)


def _with_format(config: StoreConfig) -> StoreConfig:
    """The configuration with the key format of flags, whose names cannot hold a colon."""
    return config if config.key_format else replace(config, key_format="{key}")


def _from_replica(endpoint: str) -> str:
    return f"the replica {endpoint} was read, which may lag behind, because the primary does not respond"


def _too_large(size: int) -> str:
    return f"with kvsync's mark, the whole entry has {size:,} bytes; azure-appconfig allows at most {MOST_BYTES:,}"
