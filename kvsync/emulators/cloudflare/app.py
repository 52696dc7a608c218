"""The emulated account: authentication, rate limits, and routing."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from kvsync.emulators.cloudflare import bulk, routes, values
from kvsync.emulators.cloudflare.auth import Authenticator
from kvsync.emulators.cloudflare.contents import Contents, View
from kvsync.emulators.cloudflare.envelope import EDGE, Refused, failed, page, refused
from kvsync.emulators.cloudflare.limits import Budget, KeyWriteLimit, Plan, throttled
from kvsync.emulators.cloudflare.listing import OPERATION as LIST
from kvsync.emulators.cloudflare.listing import Listing
from kvsync.emulators.cloudflare.member import Member
from kvsync.emulators.cloudflare.namespaces import Namespaces
from kvsync.emulators.cloudflare.routes import Place
from kvsync.emulators.cloudflare.settings import SWITCHES, Settings
from kvsync.emulators.cloudflare.writing import Writer
from kvsync.emulators.model import Address, Answer, Emulator, Parts, Request

# Well known on purpose: what listens on loopback and stores test data has nothing to hide, and a restart keeps them.
_ACCOUNT: Final = "6b7673796e6300000000000000000000"
_TOKEN: Final = "kvsync-emulator-token"  # noqa: S105
_EMAIL: Final = "emulator@example.com"
_KEY: Final = "6b7673796e632d656d756c61746f722d6b657"
_MEMBER: Final = Member(_ACCOUNT, "6b7673796e6374000000000000000001", _EMAIL)

_OPERATIONS: Final = {
    f"GET {routes.KEYS}": LIST,
    f"PUT {routes.BULK}": bulk.PUT,
    f"DELETE {routes.BULK}": bulk.REMOVE,
    f"POST {routes.BULK_DELETE}": bulk.REMOVE,
    f"POST {routes.BULK_GET}": bulk.GET,
    f"GET {routes.METADATA}": values.GET,
    f"GET {routes.VALUE}": values.GET,
    f"PUT {routes.VALUE}": values.PUT,
    f"DELETE {routes.VALUE}": values.REMOVE,
}
"""What happens inside a namespace, by the name that errors call it."""


class CloudflareKV(Emulator):
    """Stands in for the KV part of the API, for one account."""

    switches = SWITCHES
    fails_under_200 = True

    def __init__(self, parts: Parts) -> None:
        options, self._clock = parts.options, parts.clock
        settings = Settings.read(options.switches)
        self._settings = settings
        self._token = options.token or _TOKEN
        self._authenticator = Authenticator(self._token, f"{self._token}-reader", _EMAIL, _KEY, options.anonymous)
        self._budget, self._plan = Budget(settings.requests, settings.period), Plan(free=settings.free)
        self._pace = KeyWriteLimit(kept=settings.key_pace)
        self._namespaces = Namespaces(parts.storage, url_encoding=settings.url_encoding)
        self._listing = Listing(settings.gaps)
        self._writer = Writer(parts.clock, parts.random, self._pace, self._plan, settings)

    def url(self, address: Address) -> str:
        """With the version of the API."""
        return address.origin + routes.ROOT

    def env(self, address: Address) -> dict[str, str]:
        """Account, tokens (one of them may only read) and base URLs, as wrangler and as the SDK call it."""
        return {
            "CLOUDFLARE_API_TOKEN": self._token,
            "CLOUDFLARE_ACCOUNT_ID": _ACCOUNT,
            "CLOUDFLARE_API_BASE_URL": self.url(address),
            "CLOUDFLARE_BASE_URL": self.url(address),
            "CLOUDFLARE_READER_API_TOKEN": f"{self._token}-reader",
            "CLOUDFLARE_EMULATOR_EMAIL": _EMAIL,
            "CLOUDFLARE_EMULATOR_API_KEY": _KEY,
        }

    def route(self, request: Request) -> str:
        """The path as the API's documentation has it, below `/client/v4`; `other` for paths that lead nowhere."""
        place = routes.locate(request.path)
        return place.route if place else "other"

    def writes(self, request: Request) -> bool:
        """All but GET, and but getting in bulk."""
        return super().writes(request) and self.route(request) != routes.BULK_GET

    def reset(self) -> None:
        """Forget namespaces, what they hold, and what was spent."""
        self._namespaces.clear()
        for limit in (self._budget, self._plan, self._pace):
            limit.reset()

    def failure(self, request: Request, status: int) -> Answer:
        """JSON from the API, a page from the edge, and with 200 a refusal that only its body shows."""
        if status == 429:
            answer = throttled(self._settings.retry_after).answer
        elif status in EDGE:
            answer = page(status)
        elif status == 401:
            answer = failed(status, (10000, "Authentication error"))
        elif status == 200:
            answer = failed(status, (971, "Please wait and consider throttling your request speed"))
        else:
            answer = failed(status, (10001, "service temporarily unavailable" if status >= 500 else "bad request"))
        return self._with_common_headers(answer)

    def write_concurrently(self, request: Request) -> None:
        """Another writer changes the key, or one of the keys, that a write is about."""
        try:
            place = self._place(request)
            operation = _OPERATIONS.get(f"{request.method} {place.route}")
            if operation is not None:
                _, contents = self._namespaces.find(routes.namespace_id(place.namespace), operation)
                self._writer.write_concurrently(operation, contents, place, request)
        except Refused:
            return  # what cannot be written is not written by others either

    def answer(self, request: Request) -> Answer:
        """As the service answers."""
        try:
            return self._with_common_headers(self._answer(request))
        except Refused as refusal:
            return self._with_common_headers(refusal.answer)

    def _answer(self, request: Request) -> Answer:
        self._authenticator.check(request, writes=self.writes(request))
        self._budget.spend(self._clock.now())
        place = self._place(request)
        if about := _MEMBER.about(place.route):
            return about
        if place.route == routes.NAMESPACES:
            actions = {"GET": self._namespaces.list, "POST": self._namespaces.create}
            return actions[request.method](request)
        id_ = routes.namespace_id(place.namespace)
        if place.route == routes.NAMESPACE:
            return self._namespace(id_, request)
        operation = _OPERATIONS[f"{request.method} {place.route}"]
        namespace, contents = self._namespaces.find(id_, operation)
        if namespace.supports_url_encoding:
            place = replace(place, key=routes.key_name(place.key))
        if self.writes(request):
            return self._writer.write(operation, id_, contents, place, request)
        return self._read(operation, id_, contents, place, request)

    def _place(self, request: Request) -> Place:
        """Where the request goes. Raises Refused for paths, accounts and methods that there are not."""
        place = routes.locate(request.path)
        if place is None:
            raise routes.no_route(404, request.path)
        if request.method not in routes.METHODS[place.route]:
            raise refused(405, 7001, f"{request.method} not supported for requested URI.")
        if place.account and place.account != _ACCOUNT:
            if routes.is_account(place.account):
                raise refused(403, 10000, "Authentication error")
            raise routes.no_route(400, request.path)
        return place

    def _namespace(self, id_: str, request: Request) -> Answer:
        if request.method == "PUT":
            return self._namespaces.rename(id_, request)
        return self._namespaces.remove(id_) if request.method == "DELETE" else self._namespaces.get(id_)

    def _read(self, operation: str, id_: str, contents: Contents, place: Place, request: Request) -> Answer:
        now = self._clock.now()
        view = contents.view(now, request.stale)
        if operation == LIST:
            self._plan.spend("list", 1, now)
            return self._listing.page(id_, contents, view, request)
        if operation == bulk.GET:
            wanted = bulk.read_wanted(request.body)
            self._plan.spend("read", len(wanted["keys"]), now)
            return bulk.get(contents, wanted, view)
        self._plan.spend("read", 1, now)
        read: Callable[[Contents, str, View], Answer]
        read = values.get_metadata if place.route == routes.METADATA else values.get
        return read(contents, place.key, view)

    def _with_common_headers(self, answer: Answer) -> Answer:
        """With what every answer carries."""
        ray = {"CF-RAY": f"{secrets.token_hex(8)}-AMS"}
        return replace(answer, headers={**ray, **self._budget.headers(self._clock.now()), **answer.headers})
