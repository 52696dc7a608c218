"""Interprets API responses where Apify deviates from common HTTP semantics.

answer                                    error
───────────────────────────────────────   ──────────────────────────────────────────────────────────
4xx that names the token                  AuthError
402                                       PermanentError: nothing is answered until someone pays
404 without an error of the API           TransientError: something in front of it answers
404 that names the store                  StoreGoneError, wherever a record that is not there would be an answer
404 where no record is asked for          StoreGoneError
429                                       TransientError, without a word on how long to wait
"""

from __future__ import annotations

import re
from typing import Final

from kvsync.errors import AuthError, PermanentError, StoreError, TransientError
from kvsync.http.failures import glimpse, said, server_message
from kvsync.http.model import Request, Response
from kvsync.stores.apify.token import NOT_VALID, ApiToken, error_type

_STORE: Final = re.compile(r"\bstore\b", re.IGNORECASE)
_NOT_FOUND: Final = re.compile(r"\bnot found\b", re.IGNORECASE)


class StoreGoneError(PermanentError):
    """The store that was asked for does not exist, or not any longer."""


class ErrorMapper:
    """Judges the answers to one connection's calls."""

    def __init__(self, where: str, token: ApiToken) -> None:
        self._where, self._token = where, token

    def __call__(self, call: Request, answer: Response) -> StoreError | None:
        """The error that this answer is, None to judge it as usual."""
        status = answer.status
        if not 400 <= status < 500:
            return None
        if error_type(answer) in NOT_VALID:
            why = self._token.explain(call, answer)
            return AuthError(f"{self._where}: {call.what} was refused: {why.detail}; {why.hint}")
        if status == 402:
            hint = "raise the usage limit or add credit in the Console, under Billing"
            return PermanentError(f"{self._said(call, answer)}; {hint}")
        if status == 404 and not error_type(answer) and not call.writes:
            what = f"the response is not from this API ({glimpse(call, answer)}); check the endpoint"
            return TransientError(f"{self._where}: {call.what} failed: {what}")
        if status == 404 and (status not in call.expects or _names_store(said(answer))):
            return StoreGoneError(self._said(call, answer))
        return None

    def _said(self, call: Request, answer: Response) -> str:
        return f"{self._where}: {call.what} failed: {server_message(call, answer) or f'status {answer.status}'}"


def _names_store(message: str) -> bool:
    """True for `Store was not found`, and the like."""
    store = _STORE.search(message)
    return store is not None and _NOT_FOUND.search(message, store.end()) is not None
