"""Connection to the API of Azure App Configuration: lists and reads entries. Its `client` sends writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

from kvsync.errors import BatchRefused, StoreError
from kvsync.http.client_options import ClientLimits, ClientOptions
from kvsync.http.entra import EntraToken
from kvsync.http.failures import server_message, understood
from kvsync.http.model import Request, Response
from kvsync.http.paging import ListingPage, walk
from kvsync.model.entry import Identity
from kvsync.model.health import DoctorCheck
from kvsync.stores.azure_appconfig.api import Rates, Slot, items_of, next_target, unsupported
from kvsync.stores.azure_appconfig.auth import connect
from kvsync.stores.azure_appconfig.descriptions import Descriptions
from kvsync.stores.azure_appconfig.doctor import Doctor
from kvsync.stores.azure_appconfig.items import NO_NULLS, Nulls, Row, nulls_of, row_of
from kvsync.stores.azure_appconfig.listing import Listing, Page, PageCache, token_of
from kvsync.stores.azure_appconfig.resources import ListingFilter, Resource
from kvsync.stores.azure_appconfig.snapshots import DEFAULT_RETENTION, RestorePoints
from kvsync.stores.azure_appconfig.sync_tokens import SyncTokens
from kvsync.stores.base import Write
from kvsync.stores.partial import ReadFailures
from kvsync.stores.remote_store import Connection
from kvsync.util.concurrency import gather_or_cancel


class PreservedParts(NamedTuple):
    """Parts of an entry that a write must leave as they are: values and tags that are null, which are read as empty, and the
    description."""

    nulls: Nulls = NO_NULLS
    description: str | None = None


class Remote:
    """Connects on first use to `endpoint`: the configured address of the API, unless another one is given. Raises AuthError and
    PermanentError for what the configuration leads to."""

    def __init__(self, connection: Connection, rates: Rates, resource: Resource, endpoint: str | None = None) -> None:
        context, options = connection.context, connection.config.options
        self._connection, self._label = connection, connection.label
        configured, self._credentials = connect(connection.config, context)
        self.endpoint = endpoint or configured
        limits = ClientLimits(reads_per_second=rates.reads, writes_per_second=rates.writes)
        self._tokens = SyncTokens()
        self.client = connection.client(
            self.endpoint,
            ClientOptions(limits, self._credentials, partial(_error_mapper, resource), session=self._tokens),
        )
        self._cache = PageCache(context.cache_dir, context.owner)
        for token in self._cache.tokens(self.client.origin):
            self._tokens.put(*token)
        self._listing = Listing(connection, self.client.send, self._cache, resource)
        self._resource = resource
        self.descriptions = Descriptions()
        retention = options.get("snapshot_retention") or DEFAULT_RETENTION
        self.restore_points = RestorePoints(self.client.send, self._label, context.owner, resource.version, retention)

    async def pages(self, wanted: ListingFilter, *, fresh: bool = False) -> tuple[list[Page], str]:
        """The pages of a listing, and a token for their state. Raises StoreError."""
        first = self._resource.listing(wanted)
        what = f"listing {wanted.prefix}*"
        pages = await self._listing.walk(self._scope(first), first, what, fresh=fresh)
        self._cache.keep_tokens(self.client.origin, self._tokens.rows())
        return pages, token_of(self.client.origin, first, pages)

    async def rows(self, wanted: ListingFilter, pages: Sequence[Page]) -> list[Row]:
        """The entries on pages from `pages`. Raises StoreError."""
        scope = self._scope(self._resource.listing(wanted))
        rows = self._listing.rows(scope, pages)
        if rows is None:  # the cache was lost between two looks
            rows = self._listing.rows(scope, (await self.pages(wanted, fresh=True))[0])
        self.descriptions.update(rows or (), None if wanted.tags else wanted.prefix)
        return rows or []

    async def look_up(self, prefix: str, slots: Mapping[Slot, Identity], failures: ReadFailures) -> list[Row]:
        """Entries with their values, whatever tags they have, in as few requests as possible; missing ones are left out, and
        `failures` collects what cannot be read. Raises StoreError."""
        wanted = ListingFilter(prefix)
        scope = self._scope(self._resource.listing(wanted))
        if len(slots) > 1 and len(slots) > (len(self._cache.chain(scope)) or 100):
            pages, _ = await self.pages(wanted, fresh=True)
            return [row for row in await self.rows(wanted, pages) if (row.key, row.label) in slots]
        found = await gather_or_cancel(failures.note(slots[slot], self._look_up(*slot)) for slot in slots)
        return [row for row in found if row is not None]

    async def keys(self) -> list[str]:
        """The names of all keys. Raises StoreError."""
        what = "listing keys"

        async def fetch(target: str) -> ListingPage[list[str], str]:
            answer = await self.client.send(Request("GET", target, what, is_json=True))
            with understood(self._label, what, "a list of keys", answer):
                found = [str(item["name"]) for item in items_of(answer.data)]
                following = next_target(answer, answer.data)
                return ListingPage(found, len(found), len(answer.body), following, begins_with=next(iter(found), None))

        limit = self._connection.listing_limit(what)
        return [name async for page in walk(self._resource.names(), fetch, limit) for name in page.content]

    async def examine(self) -> list[DoctorCheck]:
        """The checks of `doctor` on this connection."""
        return await Doctor(self.client.send, self._credentials, self._connection.clock, self._resource).examine()

    async def aclose(self) -> None:
        """Release everything. Idempotent."""
        self._cache.keep_tokens(self.client.origin, self._tokens.rows())
        self._cache.close()
        await self.client.aclose()
        if isinstance(self._credentials, EntraToken):
            await self._credentials.aclose()

    async def preserved_parts(self, prefix: str, slot: Slot, write: Write) -> PreservedParts:
        """What a write must leave as it is: read only if that is not known. Raises StoreError."""
        if write.content is None or write.etag is None:
            return PreservedParts()
        known = self.descriptions.of(prefix, slot, write.etag) if self._resource.has_descriptions else ""
        is_filled = write.content.value and all(text for _, text in write.content.tags)
        if is_filled and (known is not None or write.content.description is not None):
            return PreservedParts(description=known)
        found = await self._item(*slot)
        return PreservedParts() if found is None else PreservedParts(found[1], found[0].description)

    async def _look_up(self, key: str, label: str | None) -> Row | None:
        found = await self._item(key, label)
        if found is None:
            return None
        self.descriptions.update([found[0]])
        return found[0]

    async def _item(self, key: str, label: str | None) -> tuple[Row, Nulls] | None:
        """An entry, and what is null in it; None if there is none."""
        target = self._resource.target(key, label)
        call = Request("GET", target, f"reading {key}", expects=(200, 404), is_json=True)
        answer = await self.client.send(call)
        if answer.status == 404 and (answer.problem() or not answer.body):
            return None
        with understood(self._label, call.what, self._resource.kind, answer):
            found = self._resource.read(answer.data)
            return row_of(found), nulls_of(found)

    def _scope(self, first: str) -> str:
        return f"{self.client.origin}{first}"


def _error_mapper(resource: Resource, call: Request, answer: Response) -> StoreError | None:
    """Errors that the configuration can mend, and a full store: it throttles as well, but waiting does not help."""
    if answer.status == 429 and answer.problem().get("policy") == "Storage":
        return BatchRefused(f"the store is full ({server_message(call, answer)}); delete entries, or upgrade the tier")
    return unsupported(resource, call, answer)
