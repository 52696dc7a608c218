"""The store type `cloudflare-kv`: one Workers KV namespace per namespace. It has no versions: kvsync compares right before
each write, and the next pass verifies it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from kvsync.config.model import StoreConfig
from kvsync.errors import StoreError, TransientError
from kvsync.model.canonical import fingerprint
from kvsync.model.capabilities import Capabilities
from kvsync.model.entry import Actual, Content, Entry, Identity, Target
from kvsync.model.health import DoctorCheck
from kvsync.model.place import Place
from kvsync.model.snapshot import Snapshot
from kvsync.planning.marks import MarkSigner
from kvsync.stores.base import StoreContext, Write, WriteResult, WriteStatus
from kvsync.stores.cloudflare_kv.api import Jurisdiction
from kvsync.stores.cloudflare_kv.listing import Listing
from kvsync.stores.cloudflare_kv.metadata import MOST_BYTES, check_size, metadata_for, normal, parts_of
from kvsync.stores.limits import check_batch
from kvsync.stores.managed_namespaces import ManagedNamespaces, namespace_options
from kvsync.stores.option_rules import OneOf, Requires
from kvsync.stores.partial import ReadFailures, ended_early
from kvsync.stores.remote_store import Connection, RemoteStore
from kvsync.yaml.credential import credential
from kvsync.yaml.fields import Field, choice, integer, map_of, path, text

if TYPE_CHECKING:
    from kvsync.stores.cloudflare_kv.remote import Namespaces, Remote
    from kvsync.stores.cloudflare_kv.values import Named, StoredValue

_NAMESPACE_ID: Final = re.compile(r"[0-9a-fA-F]{32}")
_ID: Final = text(r"[A-Za-z0-9_-]+", "an id of letters and digits, such as 0f2ac74b498b48028cb68387c421e279")
_MOST_A_CALL: Final = 10_000
_READ: Final = 1000


def _wrangler_ids(file: str, content: bytes, options: Mapping[str, Any]) -> Mapping[str, Any]:
    """The ids that the configuration has, and those of the bindings in a file of wrangler. Raises ValueError."""
    from kvsync.stores.cloudflare_kv.wrangler import namespace_ids

    bound = namespace_ids(content, file, options.get("wrangler_environment"))
    return {"namespace_ids": bound | dict(options.get("namespace_ids") or {})}


class _Batch:
    """The parts of one call: the pairs to put as JSON, with their writes, the deletes, and the results that are known."""

    def __init__(self) -> None:
        self.pairs: list[bytes] = []
        self.puts: list[Named] = []
        self.deletes: list[Named] = []
        self.results: dict[Identity, WriteResult] = {}

    def close(self, named: Sequence[Named], results: Sequence[WriteResult]) -> None:
        """Add the results of these writes."""
        self.results.update((write.identity, result) for (_, write), result in zip(named, results, strict=True))


class CloudflareKvStore(ManagedNamespaces, RemoteStore["Remote"]):
    """Entries in the KV namespaces of one account."""

    options = (
        Field("account_id", _ID, help="Id of the account with the namespaces."),
        Field("account", text(), help="Name of the account, instead of its id."),
        Field("token", credential(), help='API token with "Workers KV Storage: Edit".'),
        Field(
            "email",
            text(r"[!-~]+@[!-~]+", "an email address"),
            help="Email address of the user that `api_key` belongs to.",
        ),
        Field("api_key", credential(), help="Global API key of the user, instead of a token."),
        *namespace_options("namespaces"),
        Field(
            "jurisdiction",
            choice(Jurisdiction),
            help="Jurisdiction for the data of namespaces that kvsync creates.",
        ),
        Field("namespace_ids", map_of(_ID), default={}, help="Ids of namespaces, by their names in the state files."),
        Field(
            "wrangler_file",
            path(),
            help="`wrangler.toml` or `wrangler.jsonc` whose KV bindings are also names of namespaces.",
            included=_wrangler_ids,
        ),
        Field("wrangler_environment", text(), help="Environment in that file (the top level of the file)."),
        Field(
            "batch_size", integer(1, _MOST_A_CALL), default=1000, help="Maximum number of entries per write request."
        ),
    )
    option_rules = (
        OneOf((("account_id",), ("account",))),
        Requires("wrangler_environment", "wrangler_file"),
        OneOf((("token",), ("email", "api_key"))),
    )
    capabilities = Capabilities(
        type="cloudflare-kv",
        namespace="a KV namespace, by title or id",
        compare_and_set=False,
        labels=False,
        implied_types=False,
        min_ttl=60,
        max_key=512,
        max_value=25 * 1024 * 1024,
        max_metadata=MOST_BYTES,
        batch=1000,
        max_batch_bytes=50_000_000,
        read_batch=_READ,
        read_page=100,
        page=1000,
        concurrency=8,
        values_in_listing=False,
        settle=60,
        writes_per_second=4,
    )

    def __init__(self, config: StoreConfig, context: StoreContext) -> None:
        super().__init__(config, context)
        batch = config.options.get("batch_size") or self.capabilities.batch
        self.capabilities = replace(type(self).capabilities, batch=batch, read_batch=max(batch, _READ))
        self._binary: dict[str, set[str]] = {}

    def normalise(self, content: Content) -> Content:
        """The content without an empty content type, and with metadata as JSON stores write it."""
        if content.content_type is None and content.metadata is None:
            return content
        metadata = None if content.metadata is None else normal(json.loads(content.metadata))
        return content._replace(content_type=content.content_type or None, metadata=metadata)

    def audit(self, namespace: str, entry: Entry) -> Sequence[str]:
        """Metadata that is too long together with kvsync's mark, or that has no room for it."""
        content = entry.content
        mark = self._mark_for(entry)
        if content.metadata is not None and len(content.metadata.encode(errors="replace")) > MOST_BYTES:
            return ()  # which the capabilities tell
        try:
            check_size(content, mark, metadata_for(content, mark))
        except ValueError as problem:
            return (str(problem),)
        return ()

    def is_namespace_id(self, namespace: str) -> bool:
        """True for 32 hexadecimal digits, unless they are a name in `namespace_ids`."""
        return _NAMESPACE_ID.fullmatch(namespace) is not None and namespace not in self._namespace_ids

    def place(self, namespace: str) -> Place:
        """Account and namespace id; the title if the configuration has no id for it."""
        options, id_ = self.config.options, self._namespace_ids.get(namespace)
        known: str | None = options.get("account_id")
        account = ("account", known.lower()) if known is not None else ("account name", options["account"])
        return self._place(namespace, account, ("title", namespace) if id_ is None else ("namespace", id_.lower()), "")

    async def locate(self, namespace: str, *, writing: bool = False) -> Place:
        """Account and id of the namespace that has the name now: a title may be given to another one."""
        remote = self._client()
        account = ("account", await remote.open())
        found = await remote.namespaces.locate(namespace, writing=writing)
        if found is None:
            return self._place(namespace, account, ("title", namespace), "")
        return self._place(namespace, account, ("namespace", found.id), found.title)

    async def observe(self, namespace: str, signer: MarkSigner, token: str | None = None) -> Snapshot | None:
        """Everything in `namespace`, without values. A listing that ends early is incomplete."""
        remote, target = await self._opened(), Target(self.config.name, namespace)
        listing, has_begun = Listing(signer), False
        found = await remote.namespaces.find(namespace)
        if found is None:
            return self._snapshot(target, listing, None)
        try:
            async for items in remote.pages(namespace, found.id, self._keys.prefix(namespace)):
                listing.add(items)
                has_begun = True
        except TransientError as error:
            if not has_begun:
                raise
            return self._snapshot(target, listing, error)
        return None if listing.token() == token else self._snapshot(target, listing, None)

    async def scan(
        self, namespace: str, signer: MarkSigner, absent: Collection[Identity], present: Collection[Identity]
    ) -> Mapping[Identity, Actual] | None:
        """The listing of their common prefix, if its pages are at most half of the calls that would read them."""
        from kvsync.stores.cloudflare_kv.values import MOST, common_start

        names = list(self._named(namespace, (*absent, *present)).values())
        pages_left = len(names) // MOST // 2
        found = await self._client().namespaces.find(namespace) if pages_left else None
        if found is None:
            return None
        listing = Listing(signer)
        async with aclosing(self._client().pages(namespace, found.id, common_start(names))) as pages:
            async for items in pages:
                if not pages_left:
                    return None
                listing.add(items)
                pages_left -= 1
        return self._snapshot(Target(self.config.name, namespace), listing, None).entries

    async def read(self, namespace: str, identities: Sequence[Identity]) -> Mapping[Identity, Actual]:
        """These entries with their values. Names that no key can have are left out."""
        from kvsync.stores.cloudflare_kv.values import Reader

        remote = await self._opened()
        named = {name: identity for identity, name in self._named(namespace, identities).items()}
        found = await remote.namespaces.find(namespace) if named else None
        if found is None:
            return {}
        failures = ReadFailures()
        reader = Reader(remote, namespace, found.id, self._binary.setdefault(namespace, set()), failures)
        values = await reader.read(named)
        return failures.check({named[name]: _actual(named[name], held) for name, held in values.items()})

    async def write(self, namespace: str, writes: Sequence[Write]) -> Sequence[WriteResult]:
        """One call for puts, and one for deletes."""
        from kvsync.stores.cloudflare_kv.values import put_call, results_of

        check_batch(self._where(namespace), writes, self.capabilities)
        batch = self._prepared(namespace, writes)
        if batch.puts or batch.deletes:
            remote = await self._opened()
            id_ = (await remote.namespaces.find_or_make(namespace)).id
            if puts := batch.puts:
                call = put_call(remote, namespace, id_, batch.pairs, puts)
                answer = await remote.namespaces.ask(namespace, call)
                batch.close(puts, results_of(remote.label, call, answer, puts))
            if batch.deletes:
                batch.close(batch.deletes, await self._delete(remote, namespace, id_, batch))
        return [batch.results[write.identity] for write in writes]

    def _why_fixed(self, namespace: str) -> str | None:
        is_by_id = namespace in self._namespace_ids or self.is_namespace_id(namespace)
        return "it is configured by its id" if is_by_id else None

    async def _resolver(self) -> Namespaces:
        return (await self._opened()).namespaces

    async def _is_empty(self, namespace: str) -> bool:
        remote = await self._opened()
        found = await remote.namespaces.find(namespace)
        return found is not None and await remote.is_empty(namespace, found.id)

    async def _examine(self, remote: Remote) -> Sequence[DoctorCheck]:
        """Token, account, permissions, namespaces, clock and quota, distinguished."""
        from kvsync.stores.cloudflare_kv.doctor import Doctor

        return await Doctor(remote, self._namespace_ids).examine()

    def quota_left(self) -> int | None:
        """The requests that are left of the five-minute quota of the token's user."""
        return self._remote.quota.known_left if self._remote is not None else None

    @property
    def _namespace_ids(self) -> Mapping[str, str]:
        return self.config.options.get("namespace_ids") or {}

    def _place(self, namespace: str, account: tuple[str, str], container: tuple[str, str], title: str) -> Place:
        """A place. Ids of namespaces are random, so endpoint and credential do not matter."""
        parts = (account, container)
        return Place(self.config.type, parts, self._keys.scope(namespace), is_resolved=bool(title), detail=title)

    def _snapshot(self, target: Target, listing: Listing, error: TransientError | None) -> Snapshot:
        """The listed entries, up to the error that ended the listing. If other programs have written entries, whose values a
        listing does not represent, there is no token."""
        namespace = target.namespace
        entries = listing.entries(None if self._keys.is_plain else lambda name: self._keys.decode(namespace, name))
        self._binary.setdefault(namespace, set()).update(entries.binary)
        if error is None:
            return Snapshot(target, entries, entries.settled, token=listing.token() if entries.is_told else None)
        problems = (ended_early(len(listing), error),)
        return Snapshot(target, entries, entries.settled, complete=False, problems=problems)

    def _prepared(self, namespace: str, writes: Sequence[Write]) -> _Batch:
        """The parts of a call; entries that the store cannot hold have their results."""
        from kvsync.stores.cloudflare_kv.values import pair_for

        batch, now = _Batch(), self.context.clock.now()
        for write in writes:
            try:
                name = self._checked(namespace, write.identity, write.content)
                if write.content is not None:
                    batch.pairs.append(pair_for(name, write, now))
                (batch.puts if write.content is not None else batch.deletes).append((name, write))
            except ValueError as problem:
                batch.results[write.identity] = WriteResult(WriteStatus.REJECTED, error=str(problem))
        return batch

    async def _delete(self, remote: Remote, namespace: str, id_: str, batch: _Batch) -> list[WriteResult]:
        """Send the deletes of a call. If that fails after puts, their results are unknown: the puts are done, which an error of
        the call as a whole would hide. Raises StoreError."""
        from kvsync.stores.cloudflare_kv.values import delete_call, results_of, unknown

        try:
            call = delete_call(remote, namespace, id_, batch.deletes)
            return results_of(remote.label, call, await remote.namespaces.ask(namespace, call), batch.deletes)
        except StoreError as error:
            if not batch.puts:
                raise
            return [unknown(error)] * len(batch.deletes)

    async def _opened(self) -> Remote:
        """The remote side, once the account is known. Raises StoreError."""
        remote = self._client()
        await remote.open()
        return remote

    def _connect(self, connection: Connection) -> Remote:
        from kvsync.stores.cloudflare_kv.remote import Remote

        return Remote(connection)


def _actual(identity: Identity, held: StoredValue) -> Actual:
    parts = parts_of(held.metadata)
    content = Content(held.value, parts.content_type, parts.tags, parts.metadata)
    expires_at = held.expiration
    return Actual(
        identity,
        fingerprint=fingerprint(content),
        content=content,
        size=len(held.value),
        expires_at=expires_at,
        mark=parts.mark,
    )
