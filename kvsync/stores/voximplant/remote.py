"""Connection to the API, with calls serialized per account, and the application that the configuration names.

An application that is configured by its name is looked up repeatedly: it can be renamed, deleted, or replaced by another one
with its name.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode, urlsplit

from kvsync.errors import AuthError, PermanentError, TransientError
from kvsync.http.client_options import ClientOptions
from kvsync.http.failures import excerpt
from kvsync.http.model import Request, Response, StaleCredentialError
from kvsync.http.rate_limits import SharedLimiters, TokenBucket
from kvsync.stores.remote_store import Connection
from kvsync.stores.voximplant.account import AccountRequest, account_of
from kvsync.stores.voximplant.api import ENDPOINT, ErrorMapper
from kvsync.util.clock import Clock

LOOKUP_SECONDS: Final = 60.0
"""Seconds for which the id behind a name is used before the name is looked up again."""

_MOST_PAGES: Final = 50

_BY_ID: Final = "use application_id with its number instead of application"

_FORM: Final = {"Content-Type": "application/x-www-form-urlencoded"}
_ANY_STATUS: Final = range(100, 600)
"""The body says whether a call succeeded."""

_limiters = SharedLimiters[TokenBucket]()
"""By endpoint, account, rate and clock."""


class Remote:
    """Connects on first use. Raises AuthError for a key file that cannot be read.

    `quiet` is held while pages are listed, and while something is changed: a deletion would move other entries to offsets that
    the listing has passed. `renews` is True once a write of an equal value was seen to renew its lifetime.
    """

    def __init__(self, connection: Connection, rate: float) -> None:
        config, clock = connection.config, connection.clock
        endpoint = config.endpoint or ENDPOINT
        self.label, self.clock, self.connection = connection.label, clock, connection
        self.account = account = account_of(self.label, config.options, connection.context, clock)
        child = config.options.get("child_account_id")
        self._child: Mapping[str, int] = {} if child is None else {"child_account_id": child}
        self.applications = ApplicationFinder(self.label, config.options, account.id, clock, self._list_applications)
        self._target = f"{urlsplit(endpoint).path.rstrip('/')}/platform_api"
        counted = f"voximplant {endpoint} {account.id()}"
        sharing = endpoint, account.id(), rate, id(clock)
        limiter = _limiters.get(sharing, lambda: TokenBucket(rate, clock))
        mapper = ErrorMapper(self.label, account, clock)
        self._client = connection.client(
            endpoint, ClientOptions(credentials=account, error_mapper=mapper, shared_limiter=limiter, account=counted)
        )
        self.quiet = asyncio.Lock()
        self.renews = False

    async def send(
        self,
        account: str,
        parameters: Mapping[str, str | int],
        what: str,
        *,
        reads: bool,
        is_secret: bool = False,
    ) -> Response:
        """Send one call in the name of an account. `parameters` hold the method as `cmd`, as the service's own clients send it:
        the URL says nothing about a call. Raises StoreError."""
        body = urlencode({**parameters, **self._child, **self.account.parameters()}).encode()
        call = AccountRequest(
            "POST", self._target, what, _FORM, body, _ANY_STATUS, reads=reads, is_secret=is_secret, account=account
        )
        return await self._client.send(call)

    async def aclose(self) -> None:
        """Close the connections. Idempotent."""
        await self._client.aclose()

    async def _list_applications(self, account: str, what: str, parameters: Mapping[str, str | int]) -> Response:
        return await self.send(account, {"cmd": "GetApplications", **parameters}, what, reads=True)


@dataclass(frozen=True, slots=True)
class Application:
    """One application, by the service's own numbers. `account` is the one of the credentials, `child` the account below it that
    the application belongs to, empty if it is the same. `name` is for people, empty if unknown."""

    account: str
    id: str
    name: str = field(default="", compare=False)
    child: str = ""

    @property
    def owner(self) -> str:
        """The account that the application belongs to."""
        return self.child or self.account

    def __str__(self) -> str:
        return f"application {self.id} of account {self.owner}"


ListPage = Callable[[str, str, Mapping[str, str | int]], Awaitable[Response]]
"""Sends `GetApplications`: (account, what it is for, parameters)."""


class _Found(NamedTuple):
    """An application, and the moment at which it was requested (monotonic seconds)."""

    application: Application
    asked_at: float


class ApplicationFinder:
    """Finds the configured application of a store. `account` reads the account from the credentials, and raises AuthError."""

    def __init__(
        self, where: str, options: Mapping[str, Any], account: Callable[[], str], clock: Clock, list_page: ListPage
    ) -> None:
        self._where, self._account, self._clock, self._list_page = where, account, clock, list_page
        self._id: int | None = options.get("application_id")
        self._name: str = options.get("application") or ""
        self._child = str(options.get("child_account_id") or "")
        self._found: _Found | None = None
        self._looking = asyncio.Lock()

    async def find(self, max_age: float = LOOKUP_SECONDS) -> Application:
        """The application, as of at most `max_age` seconds ago; 0: as of now. Raises StoreError."""
        if self._id is not None:
            return Application(self._account(), str(self._id), child=self._child)
        called_at = self._clock.monotonic()
        async with self._looking:
            if not self._is_fresh(called_at, max_age):
                self._found = None
                asked_at = self._clock.monotonic()
                self._found = _Found(await self._by_name(self._account()), asked_at)
            assert self._found is not None
            return self._found.application

    def _is_fresh(self, called_at: float, max_age: float) -> bool:
        """True if the result belongs to the account of the present credentials, and was requested recently, or by another call
        since this one began."""
        found = self._found
        if found is None or found.application.account != self._account():
            return False
        return called_at - found.asked_at < max_age

    async def _by_name(self, account: str) -> Application:
        named = [one for one in await self._listed(account) if _is_named(one, self._name)]
        found = {str(one["application_id"]): str(one["application_name"]) for one in named}
        if len(found) > 1:
            ids = ", ".join(sorted(found))
            raise PermanentError(f'{self._where}: several applications are named "{self._name}" ({ids}); {_BY_ID}')
        for id_, name in found.items():
            return Application(account, id_, name, self._child)
        raise PermanentError(f'{self._where}: there is no application "{self._name}"; correct application')

    async def _listed(self, account: str) -> list[Any]:
        """The applications that the service finds by the name, which can be a part of theirs. Raises StoreError."""
        what, listed = f"looking for the application {self._name}", list[Any]()
        for _ in range(_MOST_PAGES):
            more = {"offset": len(listed)} if listed else {}
            try:
                answer = await self._list_page(account, what, {"application_name": self._name, **more})
            except StaleCredentialError:
                raise
            except AuthError as error:
                raise AuthError(
                    f"{error}; if the service account is not allowed to list applications, {_BY_ID}"
                ) from None
            page, total = _page(answer)
            if page is None:
                wrong = f"the response is not a list of applications ({excerpt(Request('POST', '', what), answer)})"
                raise TransientError(f"{self._where}: {what} failed: {wrong}; check the endpoint")
            listed += page
            if not page or total is None or len(listed) >= total:
                return listed
        raise PermanentError(f'{self._where}: too many applications have "{self._name}" in their names; {_BY_ID}')


def _page(answer: Response) -> tuple[list[Any] | None, int | None]:
    """A page (None: the response is not a page), and the number of all applications, if the response has it."""
    data = answer.problem()
    found = data.get("result") if data.get("error") is None else []
    total = data.get("total_count")
    return found if isinstance(found, list) else None, total if isinstance(total, int) else None


def _is_named(application: Any, name: str) -> bool:
    """True for an application with this name: its short one, or the full one that the service derives from it."""
    if not isinstance(application, dict) or not isinstance(application.get("application_id"), int):
        return False
    full = application.get("application_name")
    return isinstance(full, str) and name in (full, full.partition(".")[0])
