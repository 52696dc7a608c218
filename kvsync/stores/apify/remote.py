"""Connection to the API: one client, one redirect follower, and the resolved namespaces."""

from __future__ import annotations

from urllib.parse import urlsplit

from kvsync.config.model import StoreConfig
from kvsync.errors import PermanentError
from kvsync.http.client import Client, ClientLimits, ClientOptions
from kvsync.http.model import BodySink, Request, Response
from kvsync.http.paging import ListingLimit
from kvsync.model.health import Traffic
from kvsync.stores.apify.answers import ErrorMapper, StoreGoneError
from kvsync.stores.apify.listing import Listing, Page, listing, page_of
from kvsync.stores.apify.namespaces import KeyValueStore, Namespaces
from kvsync.stores.apify.redirects import RedirectFollower
from kvsync.stores.apify.requests import ENDPOINT, Targets
from kvsync.stores.apify.token import ApiToken
from kvsync.stores.base import StoreContext


class Remote:
    """Connects on first use."""

    def __init__(self, config: StoreConfig, context: StoreContext, traffic: Traffic, most: int) -> None:
        endpoint, options = config.endpoint or ENDPOINT, config.options
        parts = urlsplit(endpoint)
        self.where, self.clock, self._limits = f"store {config.name}", context.clock, context.limits
        self.origin = f"{parts.scheme}://{parts.netloc}"
        self.targets = Targets(parts.path)
        token, limits = (
            ApiToken(self.where, lambda: context.resolve(options["token"])),
            ClientLimits(config.timeout, most, answers=context.limits),
        )
        self._client = Client(
            self.where,
            endpoint,
            context.clock,
            traffic,
            ClientOptions(
                limits=limits,
                credentials=token,
                error_mapper=ErrorMapper(self.where, token),
                read_only=context.read_only,
                fence=context.fence,
            ),
        )
        self.elsewhere = RedirectFollower(
            self.where,
            context.clock,
            traffic,
            limits,
            allow_insecure=config.allow_insecure,
        )
        self.namespaces = Namespaces(
            self.where,
            self.send,
            self.targets,
            context.clock,
            username=options.get("username"),
            creates=bool(options.get("create_namespaces")),
        )

    async def send(self, call: Request) -> Response:
        """Send a call. Raises StoreError."""
        return await self._client.send(call)

    async def ask(self, namespace: str, call: Request) -> Response:
        """Send a call about a store that is known by this name. Raises StoreError."""
        try:
            return await self._client.send(call)
        except StoreGoneError as error:
            raise self.namespaces.gone(namespace, error) from None

    async def list(self, namespace: str, store: KeyValueStore, prefix: str) -> Listing:
        """The keys that begin with `prefix`, with their sizes. Raises StoreError."""
        what = f"listing {namespace}"

        async def ask(start: str | None) -> Page:
            call = Request("GET", self.targets.keys(store.id, prefix, start), what, is_json=True, limiter=store.others)
            answer = await self.ask(namespace, call)
            try:
                return page_of(answer.data)._replace(size=len(answer.body))
            except ValueError as problem:
                raise PermanentError(
                    f"{self.where}: {what} failed: the response is {problem}; check the endpoint"
                ) from None

        return await listing(ask, ListingLimit(f"{self.where}: {what}", self._limits, self.clock))

    async def download(self, namespace: str, store: KeyValueStore, prefix: str, into: BodySink) -> None:
        """All records whose keys begin with `prefix`, as a ZIP. Raises StoreError, which says nothing of the store itself: a
        look-alike may not have this call."""
        target = self.targets.records(store.id, prefix)
        await self.send(Request("GET", target, f"fetching all of {namespace}", limiter=store.others, sink=into))

    async def aclose(self) -> None:
        """Close the connections. Idempotent."""
        await self._client.aclose()
        await self.elsewhere.aclose()
