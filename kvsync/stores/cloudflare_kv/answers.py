"""Interprets API responses where Cloudflare deviates from common HTTP semantics.

answer                                    reading            writing
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
from typing import Final

from kvsync.errors import AuthError, BatchRefused, LostAnswer, PermanentError, StoreError, TransientError
from kvsync.http.failures import glimpse, server_message
from kvsync.http.model import Request, Response
from kvsync.http.retry_after import retry_after
from kvsync.stores.cloudflare_kv.token import ApiToken, error_codes, is_envelope
from kvsync.stores.partial import EntryUnreadable
from kvsync.util.clock import Clock

NO_NAMESPACE: Final = frozenset({10011, 10013})
TITLE_TAKEN: Final = 10014
NO_TEXT: Final = 10029

_CREDENTIAL: Final = frozenset({1000, 6003, 6111, 9103, 9106, 9107, 9109, 10000})
_NO_ROUTE: Final = frozenset({7000, 7003})
_THROTTLED: Final = 971
_REFUSALS: Final = frozenset({400, 413, 414})
_IS_VALUE: Final = re.compile(r"/(?:values|metadata)/[^/]+$")
"""Calls about one entry."""

_SMALL: Final = 4096
"""Bytes; a failure is never longer, so that no page of a listing is decoded twice."""


def _foreign(call: Request, answer: Response) -> str:
    return f"the response is not from this API ({glimpse(call, answer)}); check the endpoint"


class NamespaceGoneError(PermanentError):
    """The namespace that was asked for does not exist, or not any longer."""


class ErrorMapper:
    """Judges the answers to one store's calls."""

    def __init__(self, where: str, token: ApiToken, clock: Clock) -> None:
        self._where, self._token, self._clock = where, token, clock

    def __call__(self, call: Request, answer: Response) -> StoreError | None:
        """The error that this answer is, None to judge it as usual."""
        status = answer.status
        if status == 200:
            return self._beneath(call, answer) if call.is_json and len(answer.body) < _SMALL else None
        if not is_envelope(answer):
            return self._page(call, answer)
        codes = error_codes(answer)
        if status in (400, 405) and codes & _CREDENTIAL:
            return self._auth(call, answer)
        if status in (400, 404) and codes & NO_NAMESPACE:
            return NamespaceGoneError(self._said(call, answer))
        if codes & _NO_ROUTE:
            return PermanentError(f"{self._said(call, answer)}; correct account_id, or the endpoint")
        if status in call.expects:
            return None
        return BatchRefused(self._said(call, answer)) if call.writes and status in _REFUSALS else None

    def _page(self, call: Request, answer: Response) -> StoreError | None:
        """An answer that is not from the API: the edge before it answers in HTML."""
        if answer.status == 403:
            what = f"{call.what} failed: something in front of the API refused it ({glimpse(call, answer)})"
            is_alone = not call.writes and _IS_VALUE.search(call.target) is not None
            return (EntryUnreadable if is_alone else TransientError)(f"{self._where}: {what}", self._wait(answer))
        if answer.status == 404:
            return (
                None if call.writes else TransientError(f"{self._where}: {call.what} failed: {_foreign(call, answer)}")
            )
        if answer.status in _REFUSALS and answer.status != 400 and call.writes:
            return BatchRefused(f"{self._where}: {call.what} failed: status {answer.status}, too large")
        return None

    def _beneath(self, call: Request, answer: Response) -> StoreError | None:
        """A failure that calls itself 200."""
        if answer.problem().get("success") is not False:
            return None
        codes, message = error_codes(answer), self._said(call, answer)
        if _THROTTLED in codes:
            return TransientError(message, self._wait(answer))
        if codes & _CREDENTIAL:
            return self._auth(call, answer)
        if codes & NO_NAMESPACE:
            return NamespaceGoneError(message)
        return LostAnswer(message) if call.writes else TransientError(message)

    def _auth(self, call: Request, answer: Response) -> AuthError:
        why = self._token.explain(call, answer)
        return AuthError(f"{self._where}: {call.what} was refused: {why.detail}; {why.hint}")

    def _said(self, call: Request, answer: Response) -> str:
        said = server_message(call, answer, error_codes(answer)) or f"status {answer.status}"
        return f"{self._where}: {call.what} failed: {said}"

    def _wait(self, answer: Response) -> float | None:
        return retry_after(answer.headers, self._clock.now())
