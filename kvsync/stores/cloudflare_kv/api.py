"""Cloudflare's API: paths, and what its responses mean where they deviate from common HTTP semantics.

response                                  reading            writing
───────────────────────────────────────   ────────────────   ────────────────
200 with success: false                   by its code        by its code
403, no envelope (a page of the edge)     TransientError     TransientError
404, no envelope (a page of a proxy)      TransientError     LostAnswer
400, 405 about the credential             AuthError          AuthError
404 no such namespace, no such account    PermanentError     PermanentError
400, 413, 414 otherwise                   PermanentError     BatchRefused
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final
from urllib.parse import quote

from kvsync.errors import BatchRefused, LostAnswer, PermanentError, StoreError, TransientError
from kvsync.http.failures import excerpt, explained, refused
from kvsync.http.model import Credentials, Request, Response
from kvsync.http.remedies import CHECK_PATH, remedy
from kvsync.http.retry_after import retry_after
from kvsync.planning.audit import UNUSABLE_KEYS
from kvsync.stores.namespaces import NamespaceGone
from kvsync.stores.partial import EntryUnreadable
from kvsync.util.clock import Clock

ENDPOINT: Final = "https://api.cloudflare.com/client/v4"

PAGE: Final = 1000
"""Entries that one call lists."""

NAMESPACES_A_PAGE: Final = 100

ACCOUNTS_A_PAGE: Final = 50


class Jurisdiction(StrEnum):
    """Where a namespace keeps its data."""

    EU = "eu"
    FEDRAMP = "fedramp"
    US = "us"


NO_NAMESPACE: Final = frozenset({10011, 10013})
TITLE_TAKEN: Final = 10014
NO_TEXT: Final = 10029

INVALID_CREDENTIAL: Final = frozenset({1000, 6003, 6103, 6111, 9103, 9106, 9107})
_CREDENTIAL: Final = INVALID_CREDENTIAL | {9109, 10000}
_NO_ROUTE: Final = frozenset({7000, 7003})
_THROTTLED: Final = 971
_REFUSALS: Final = frozenset({400, 413, 414})
_IS_VALUE: Final = re.compile(r"/(?:values|metadata)/[^/]+$")
"""Path of a request about one entry."""

_SMALL: Final = 4096
"""Bytes; failures are never longer, so pages of a listing are not decoded twice."""


def accounts_target(root: str, page: int) -> str:
    """The request for one page of the accounts that the credential leads to."""
    return f"{root}/accounts?page={page}&per_page={ACCOUNTS_A_PAGE}"


class Targets:
    """Builds the targets of requests about one account. `root` is the path of the API, such as `/client/v4`."""

    def __init__(self, root: str, account: str) -> None:
        self._namespaces = f"{root}/accounts/{quote(account, safe='')}/storage/kv/namespaces"

    def namespaces(self, page: int | None = None) -> str:
        """All namespaces, or one page of them."""
        query = "" if page is None else f"?page={page}&per_page={NAMESPACES_A_PAGE}&order=title"
        return self._namespaces + query

    def namespace(self, id_: str) -> str:
        """One namespace."""
        return self._of(id_)

    def keys(self, namespace: str, prefix: str = "", cursor: str = "") -> str:
        """The names that begin with `prefix`, from `cursor` on."""
        query = f"limit={PAGE}"
        query += f"&prefix={quote(prefix, safe='')}" if prefix else ""
        query += f"&cursor={quote(cursor, safe='')}" if cursor else ""
        return f"{self._of(namespace)}/keys?{query}"

    def bulk(self, namespace: str, verb: str = "") -> str:
        """Many entries: to write, or with the verbs `get` and `delete`."""
        return f"{self._of(namespace)}/bulk" + (f"/{verb}" if verb else "")

    def one(self, namespace: str, part: str, name: str) -> str:
        """`values` or `metadata` of one entry. Raises ValueError for a name that would change the path."""
        if name in UNUSABLE_KEYS:
            raise ValueError(f'the key "{name}" cannot be part of a URL')
        return f"{self._of(namespace)}/{part}/{quote(name, safe='')}"

    def _of(self, namespace: str) -> str:
        return f"{self._namespaces}/{quote(namespace, safe='')}"


def error_codes(answer: Response) -> set[int]:
    """The error codes in a response of the API."""
    errors = answer.problem().get("errors")
    found = [error.get("code") for error in errors if isinstance(error, dict)] if isinstance(errors, list) else []
    return {code for code in found if isinstance(code, int)}


class ErrorMapper:
    """Turns the API's responses to one store into errors."""

    def __init__(self, label: str, credentials: Credentials, clock: Clock) -> None:
        self._label, self._credentials, self._clock = label, credentials, clock

    def __call__(self, call: Request, answer: Response) -> StoreError | None:
        """The error that a response is; None to treat it as HTTP says."""
        status = answer.status
        if status == 200:
            return self._success(call, answer) if call.is_json and len(answer.body) < _SMALL else None
        if not isinstance(answer.problem().get("errors"), list):
            return self._page(call, answer)
        codes = error_codes(answer)
        if status in (400, 405) and codes & _CREDENTIAL:
            return refused(self._label, call, answer, self._credentials)
        message = explained(self._label, call, answer, codes)
        if status in (400, 404) and codes & NO_NAMESPACE:
            return NamespaceGone(message)
        if codes & _NO_ROUTE:
            return PermanentError(f"{message}; correct the account, or the endpoint")
        if status in call.expects:
            return None
        return BatchRefused(message) if call.writes and status in _REFUSALS else None

    def _page(self, call: Request, answer: Response) -> StoreError | None:
        """A response that is not from the API: the edge in front of it answers in HTML."""
        status, failed = answer.status, f"{self._label}: {call.what} failed"
        if status == 403:
            message = f"{failed}: something in front of the API refused it ({excerpt(call, answer)}); {CHECK_PATH}"
            is_alone = not call.writes and _IS_VALUE.search(call.target) is not None
            return (EntryUnreadable if is_alone else TransientError)(message, self._wait(answer))
        if status == 404 and not call.writes:
            shown = excerpt(call, answer)
            return TransientError(f"{failed}: the response is not from this API ({shown}); check the endpoint")
        if status in (413, 414) and call.writes:
            return BatchRefused(f"{failed}: {excerpt(call, answer)}; {remedy(413)}")
        return None

    def _success(self, call: Request, answer: Response) -> StoreError | None:
        """A failure that is reported with status 200."""
        if answer.problem().get("success") is not False:
            return None
        codes = error_codes(answer)
        message = explained(self._label, call, answer, codes)
        if _THROTTLED in codes:
            return TransientError(message, self._wait(answer))
        if codes & _CREDENTIAL:
            return refused(self._label, call, answer, self._credentials)
        if codes & NO_NAMESPACE:
            return NamespaceGone(message)
        return LostAnswer(message) if call.writes else TransientError(message)

    def _wait(self, answer: Response) -> float | None:
        return retry_after(answer.headers, self._clock.now())
