"""Connection to the API: sends calls with the newest Sync-Token, lists, and reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from kvsync.config.model import StoreConfig
from kvsync.errors import BatchRefused, StoreError, TransientError
from kvsync.http.client import Client, ClientLimits, ClientOptions
from kvsync.http.failures import glimpse, server_message
from kvsync.http.model import Request, Response
from kvsync.http.paging import ListingLimit
from kvsync.model.entry import Identity
from kvsync.model.health import DoctorCheck, Traffic
from kvsync.stores.azure_appconfig.connection import connect
from kvsync.stores.azure_appconfig.doctor import Doctor
from kvsync.stores.azure_appconfig.entra import EntraToken
from kvsync.stores.azure_appconfig.items import Row, row_of
from kvsync.stores.azure_appconfig.listing import Listing, token_of
from kvsync.stores.azure_appconfig.pages import Page, PageCache
from kvsync.stores.azure_appconfig.requests import entry_target, items_of, keys_target, listing_target, next_target
from kvsync.stores.azure_appconfig.sync_tokens import SyncTokens
from kvsync.stores.azure_appconfig.tier import Rates
from kvsync.stores.base import StoreContext
from kvsync.stores.partial import ReadFailures
from kvsync.util.concurrency import gather_or_cancel

Slot = tuple[str, str | None]
"""A remote key and the label next to it."""


class Remote:
    """Connects on first use to `endpoint`, the address of the API. Raises AuthError and PermanentError for what the
    configuration leads to."""

    def __init__(self, config: StoreConfig, context: StoreContext, traffic: Traffic, rates: Rates, most: int) -> None:
        self.endpoint, self._credentials = connect(config, context)
        self._where = f"store {config.name}"
        self._client = Client(
            self._where,
            self.endpoint,
            context.clock,
            traffic,
            ClientOptions(
                limits=ClientLimits(config.timeout, most, rates.reads, rates.writes, answers=context.limits),
                credentials=self._credentials,
                error_mapper=_error_mapper,
                read_only=context.read_only,
                fence=context.fence,
            ),
        )
        self._clock, self._limits = context.clock, context.limits
        self._cache = PageCache(context.cache_dir, context.owner)
        self._tokens = SyncTokens()
        for token in self._cache.tokens(self._client.origin):
            self._tokens.put(*token)
        self._listing = Listing(self.send, self._cache, context.limits, context.clock)

    async def send(self, call: Request) -> Response:
        """Send a call; what was written before it is seen by it. Raises StoreError."""
        if header := self._tokens.header():
            call = replace(call, headers={**call.headers, "Sync-Token": header})
        answer = await self._client.send(call)
        self._tokens.learn(answer.headers.get("sync-token"))
        return answer

    async def pages(self, prefix: str, *, fresh: bool = False) -> tuple[list[Page], str]:
        """The pages of all entries whose key begins with `prefix`, and what represents their state. Raises StoreError."""
        first = listing_target(prefix)
        what = f"listing {prefix}*"
        pages = await self._listing.walk(self._scope(first), first, what, fresh=fresh)
        self._cache.keep_tokens(self._client.origin, self._tokens.rows())
        return pages, token_of(self._client.origin, first, pages)

    async def rows(self, prefix: str, pages: Sequence[Page]) -> list[Row]:
        """The entries on pages that `pages` gave. Raises StoreError."""
        scope = self._scope(listing_target(prefix))
        rows = self._listing.rows(scope, pages)
        if rows is None:  # the cache was lost between two looks
            rows = self._listing.rows(scope, (await self.pages(prefix, fresh=True))[0])
        return rows or []

    async def look_up(self, prefix: str, slots: Mapping[Slot, Identity], failures: ReadFailures) -> list[Row]:
        """These entries, with their values, in as few requests as it takes; absent ones are left out, and `failures` takes what
        cannot be read. Raises StoreError."""
        if len(slots) > 1 and len(slots) > (len(self._cache.chain(self._scope(listing_target(prefix)))) or 100):
            pages, _ = await self.pages(prefix, fresh=True)
            return [row for row in await self.rows(prefix, pages) if (row.key, row.label) in slots]
        found = await gather_or_cancel(failures.note(slots[slot], self._look_up(*slot)) for slot in slots)
        return [row for row in found if row is not None]

    async def keys(self) -> list[str]:
        """The names of all keys. Raises StoreError."""
        names: list[str] = []
        target: str | None = keys_target()
        seen: set[str] = set()
        limit = ListingLimit(f"{self._where}: listing keys", self._limits, self._clock)
        while target is not None:
            if target in seen:
                raise TransientError(f"{self._where}: listing keys failed: the pages form a loop")
            seen.add(target)
            answer = await self.send(Request("GET", target, "listing keys", is_json=True))
            try:
                found = [item["name"] for item in items_of(answer.data)]
                target = next_target(answer, answer.data)
            except (KeyError, TypeError, ValueError):
                raise TransientError(
                    f"{self._where}: listing keys failed: the response is not a list of keys; check the endpoint"
                ) from None
            limit.count(len(found), len(answer.body), is_last=target is None)
            names += found
        return names

    async def examine(self) -> list[DoctorCheck]:
        """What `doctor` says of this connection."""
        return await Doctor(self._client.send, self._credentials, self._clock).examine()

    async def aclose(self) -> None:
        """Release everything. Idempotent."""
        self._cache.keep_tokens(self._client.origin, self._tokens.rows())
        self._cache.close()
        await self._client.aclose()
        if isinstance(self._credentials, EntraToken):
            await self._credentials.aclose()

    async def _look_up(self, key: str, label: str | None) -> Row | None:
        call = Request("GET", entry_target(key, label), f"reading {key}", expects=(200, 404), is_json=True)
        answer = await self.send(call)
        if answer.status == 404 and (answer.problem() or not answer.body):
            return None
        try:
            return row_of(answer.data)
        except (KeyError, TypeError, AttributeError):
            what = f"the response is not a key-value ({glimpse(call, answer)}); check the endpoint"
            raise TransientError(f"{self._where}: reading {key} failed: {what}") from None

    def _scope(self, first: str) -> str:
        return f"{self._client.origin}{first}"


def _error_mapper(call: Request, answer: Response) -> StoreError | None:
    """A full store throttles as well, but waiting does not help it."""
    if answer.status == 429 and answer.problem().get("policy") == "Storage":
        return BatchRefused(f"the store is full ({server_message(call, answer)}); delete entries, or upgrade the tier")
    return None
