"""Apify's API: paths, the token, rate limits, and what its responses mean where they deviate from common HTTP semantics.

response                                  error
───────────────────────────────────────   ──────────────────────────────────────────────────────────
4xx that names the token                  AuthError
402                                       PermanentError: nothing is answered until someone pays
404 without an error of the API           TransientError: something in front of it answers
404 that names the store                  NamespaceGone, even where a missing record is a valid response
404 where no record is asked for          NamespaceGone
429                                       TransientError, without a word on how long to wait
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from kvsync.errors import PermanentError, StoreError, TransientError
from kvsync.http.bearer import BearerToken
from kvsync.http.failures import excerpt, explained, raw_message, refused, server_message
from kvsync.http.model import ErrorText, Request, Response
from kvsync.http.rate_limits import TokenBucket
from kvsync.planning.audit import UNUSABLE_KEYS
from kvsync.stores.namespaces import NamespaceGone
from kvsync.util.clock import Clock

ENDPOINT: Final = "https://api.apify.com"
"""Where the API is, unless the configuration says otherwise."""

PAGE: Final = 1000
"""Keys, or stores, that one call lists."""

KEY: Final = r"[a-zA-Z0-9!\-_.'()]+"
"""The characters of a key."""

NAME: Final = r"(?:[A-Za-z0-9._-]{1,64}~)?[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"
"""A name of a store, or its id, perhaps after that of its owner."""

LEDGER_KEY: Final = "kvsync.ledger.json"
"""The record of the ledger. No entry may have its key, wherever the ledger is kept."""

_VERSION: Final = "/v2"

RECORDS, OTHERS = 200, 60
"""Requests per second that the API accepts for one store, unless its responses say otherwise."""

_SHARE: Final = 0.9
_BURST: Final = 0.1
"""Seconds' worth of requests that can be sent at once: with this and the share, no second has more than the API accepts."""

_MOST: Final = 100_000
"""Requests per second; a larger number must count something else."""

_DIGITS: Final = len(str(_MOST))

_INVALID_TOKEN: Final = frozenset({"token-not-valid", "invalid-token", "token-not-provided", "user-or-token-not-found"})
"""What the API has called an invalid token over time."""

_PAGE: Final = "Console > Settings > API & Integrations"

_ID: Final = re.compile(r"[A-Za-z0-9]{17}")
_STORE: Final = re.compile(r"\bstore\b", re.IGNORECASE)
_NOT_FOUND: Final = re.compile(r"\bnot found\b", re.IGNORECASE)


class Targets:
    """Builds request targets. `root` is the path before `/v2`, usually empty."""

    def __init__(self, root: str) -> None:
        base = root_of(root) + _VERSION
        self._stores = f"{base}/key-value-stores"
        self.me = f"{base}/users/me"
        self.limits = f"{self.me}/limits"

    def stores(self, offset: int) -> str:
        """The named stores, beginning with number `offset`."""
        return f"{self._stores}?offset={offset}&limit={PAGE}"

    def make(self, name: str) -> str:
        """Create a store with this name unless it exists."""
        return f"{self._stores}?name={quote(name, safe='')}"

    def store(self, id_: str) -> str:
        """One store, by id, `~name` or `username~name`. Raises ValueError for an id that would change the path."""
        if id_ in UNUSABLE_KEYS:
            raise ValueError(f'the store "{id_}" cannot be part of a URL')
        return f"{self._stores}/{quote(id_, safe='~')}"

    def keys(self, id_: str, prefix: str = "", start: str = "") -> str:
        """Keys that begin with `prefix`, after `start`."""
        query = f"limit={PAGE}"
        query += f"&prefix={quote(prefix, safe='')}" if prefix else ""
        query += f"&exclusiveStartKey={quote(start, safe='')}" if start else ""
        return f"{self.store(id_)}/keys?{query}"

    def records(self, id_: str, prefix: str = "") -> str:
        """All records whose keys begin with `prefix`, as a ZIP."""
        return f"{self.store(id_)}/records" + (f"?prefix={quote(prefix, safe='')}" if prefix else "")

    def record(self, id_: str, key: str, *, raw: bool = False) -> str:
        """One record; `raw` requests its bytes unchanged, which matters for HTML. Raises ValueError for a key that would change
        the path: `..` would name the whole store."""
        if key in UNUSABLE_KEYS:
            raise ValueError(f'the key "{key}" cannot be part of a URL')
        return f"{self.store(id_)}/records/{quote(key, safe='')}" + ("?attachment=1" if raw else "")


def looks_like_id(name: str) -> bool:
    """True for a name that may be the id of a key-value store."""
    return _ID.fullmatch(name) is not None


def root_of(path: str) -> str:
    """The path of an endpoint without the API's version, which it may end with."""
    return path.rstrip("/").removesuffix(_VERSION)


class Rate:
    """The rate limit of one kind of requests to one store."""

    def __init__(self, most: int, clock: Clock) -> None:
        self.most = most
        self._bucket = TokenBucket(most * _SHARE, clock, _BURST)

    async def take(self) -> None:
        """Wait for a turn."""
        await self._bucket.take()

    def observe(self, headers: Mapping[str, str]) -> None:
        """Adapt to a header `X-RateLimit-Limit`."""
        reported = headers.get("x-ratelimit-limit", "")
        is_number = reported.isascii() and reported.isdecimal() and len(reported) <= _DIGITS
        if not (is_number and 0 < int(reported) <= _MOST) or int(reported) == self.most:
            return
        self.most = int(reported)
        self._bucket.change(self.most * _SHARE)


class ApiToken(BearerToken):
    """API token, and the messages for its rejection."""

    def explain(self, call: Request, answer: Response) -> ErrorText:
        """Distinguish an invalid token from one without the permission."""
        message = server_message(call, answer) or "no reason given"
        if answer.status == 401 or error_type(answer) in _INVALID_TOKEN:
            return ErrorText("credential", f"the API token is not valid ({message})", f"copy it again ({_PAGE})")
        verb = "write" if call.writes else "do this"
        hint = f"give the token read and write permission for this key-value store ({_PAGE})"
        return ErrorText("permission", f"the API token is not allowed to {verb} here ({message})", hint)


def error_type(answer: Response) -> str:
    """The API's name of an error; empty for a body of another form."""
    error = answer.problem().get("error")
    found = error.get("type") if isinstance(error, dict) else None
    return found if isinstance(found, str) else ""


class ErrorMapper:
    """Turns the API's responses to one store into errors."""

    def __init__(self, label: str, token: ApiToken) -> None:
        self._label, self._token = label, token

    def __call__(self, call: Request, answer: Response) -> StoreError | None:
        """The error that a response is; None to treat it as HTTP says."""
        status = answer.status
        if not 400 <= status < 500:
            return None
        if error_type(answer) in _INVALID_TOKEN:
            return refused(self._label, call, answer, self._token)
        message = explained(self._label, call, answer)
        if status == 402:
            return PermanentError(f"{message}; raise the usage limit or add credit in the Console, under Billing")
        if status == 404 and not error_type(answer) and not (call.writes and status in call.expects):
            what = f"the response is not from this API ({excerpt(call, answer)}); check the endpoint"
            return TransientError(f"{self._label}: {call.what} failed: {what}")
        if status == 404 and (status not in call.expects or _names_store(raw_message(answer))):
            return NamespaceGone(message)
        return None


def _names_store(message: str) -> bool:
    """True for `Store was not found`, and the like."""
    store = _STORE.search(message)
    return store is not None and _NOT_FOUND.search(message, store.end()) is not None
