"""Voximplant's API: its limits, and what its responses mean. A response with a member `error` is an error, whatever its status.

code                                         reading             writing
──────────────────────────────────────────   ─────────────────   ──────────────────────────────────────────
100, 135, 161, 454, 455, 456                 signed again once, then AuthError
104, 131, 137, 281, 282                      AuthError
162, 314, 340, 416                           TransientError      TransientError (turned away, nothing done)
484, 515 taken for a repetition              TransientError      LostAnswer (look, before it is sent again)
1, 2, 4                                      TransientError      LostAnswer
101, 134, 458, 477, 485, 492, 496, 497, 499  PermanentError      BatchRefused (this entry cannot be written)
341                                          there is no such key
any other                                    PermanentError      PermanentError
no JSON, no connection, a page               TransientError      LostAnswer
"""

from __future__ import annotations

import re
from typing import Final

from kvsync.errors import AuthError, BatchRefused, LostAnswer, PermanentError, StoreError, TransientError
from kvsync.http.failures import NOT_JSON, excerpt, explained, raw_message
from kvsync.http.model import Request, Response, StaleCredentialError
from kvsync.http.remedies import TRY_LATER, remedy
from kvsync.http.retry_after import retry_after
from kvsync.stores.voximplant.account import Account
from kvsync.util.clock import Clock

ENDPOINT: Final = "https://api.voximplant.com"
"""Where the API is, unless the configuration says otherwise."""

LONGEST: Final = 7_776_000
"""Seconds that an entry lives at most: 90 days."""

MOST_KEY: Final = 200
"""Characters of a key."""

MOST_VALUE: Final = 2000
"""Characters of a value."""

KEY_PATTERN: Final = r"[a-zA-Z0-9а-яА-ЯёЁ_\-:;.#+]+"

PAGE: Final = 50
"""Entries that one call lists at most."""

_NOT_FOUND: Final = 341
_STALE: Final = frozenset({100, 135, 161, 454, 455, 456})
_ACCOUNT: Final = frozenset({104, 131, 137, 281, 282})
_TURNED_AWAY: Final = frozenset({162, 314, 340, 416})
_REPEATED: Final = frozenset({484, 515})
_UNDECIDED: Final = frozenset({1, 2, 4})
_THIS_ENTRY: Final = frozenset({101, 134, 458, 477, 485, 492, 496, 497, 499})

_HINTS: Final = {
    5: "pay the outstanding bill of the account",
    127: "top up the balance of the account",
    131: "activate the account",
    281: "verify the account",
    282: "verify the account",
    104: "give the service account the role Owner, Admin or Developer",
    100: "check that the key is not revoked, and its role (Owner, Admin or Developer)",
    455: "synchronize this machine's clock with NTP",
    456: "synchronize this machine's clock with NTP",
} | dict.fromkeys((107, 116, 546, 558), "correct application_id, or application")

_PAUSE: Final = {"turned away": 1.0, "repeated": 10.0}
"""Seconds to wait if the service does not say."""

_SECONDS: Final = re.compile(r"(\d{1,4})\s*s(?:ec|$|\b)", re.IGNORECASE)
_WRONG_PLACE: Final = frozenset({301, 302, 303, 307, 308, 404, 405})


class ErrorMapper:
    """Turns the API's responses to one store into errors, and lets the account learn from a refusal."""

    def __init__(self, label: str, account: Account, clock: Clock) -> None:
        self._label, self._account, self._clock = label, account, clock

    def __call__(self, call: Request, answer: Response) -> StoreError | None:
        """The error that a response is; None for a result, and for a key that does not exist."""
        if not _is_object(answer):
            return self._page(call, answer)
        error = answer.problem().get("error")
        if error is None:
            return None if answer.status == 200 else self._page(call, answer)
        code = error.get("code") if isinstance(error, dict) else None
        if not isinstance(code, int):  # every error of the API has one, so a proxy may have sent this
            return self._refusal(call, answer, 0) if answer.status == 200 else self._page(call, answer)
        return None if code == _NOT_FOUND else self._refusal(call, answer, code)

    def _page(self, call: Request, answer: Response) -> StoreError:
        """The error for a response that another server sent in place of the API."""
        what = f"{self._label}: {call.what} failed: {excerpt(call, answer)}"
        if answer.status in _WRONG_PLACE:
            return PermanentError(f"{what}; the API was not found there; correct the endpoint")
        wait = retry_after(answer.headers, self._clock.now())
        if answer.status in (429, 503):
            return TransientError(f"{what}; {remedy(answer.status, wait)}", wait)
        message = f"{what}; {remedy(answer.status, wait)}" if answer.problem() else f"{what}: {NOT_JSON}"
        return LostAnswer(message, wait) if call.writes else TransientError(message, wait)

    def _refusal(self, call: Request, answer: Response, code: int) -> StoreError:
        message = f"{explained(self._label, call, answer, (code,))}; {_hint(code)}"
        if code in _STALE:
            self._account.handle_refusal(answer)
            return StaleCredentialError(message)
        if code in _ACCOUNT:
            return AuthError(message)
        if code in _TURNED_AWAY:
            return TransientError(message, self._wait(answer, "turned away"))
        if code in _REPEATED or code in _UNDECIDED:
            wait = self._wait(answer, "repeated") if code in _REPEATED else None
            return LostAnswer(message, wait) if call.writes else TransientError(message, wait)
        return BatchRefused(message) if call.writes and code in _THIS_ENTRY else PermanentError(message)

    def _wait(self, answer: Response, why: str) -> float:
        wait = retry_after(answer.headers, self._clock.now())
        if wait is not None:
            return wait
        found = _SECONDS.search(raw_message(answer))
        return float(found[1]) if found else _PAUSE[why]


def _hint(code: int) -> str:
    """What to do about an error of the API."""
    if code in _TURNED_AWAY | _REPEATED | _UNDECIDED:
        return TRY_LATER
    return _HINTS.get(code, "correct the entry" if code in _THIS_ENTRY else "check the options of the store")


def _is_object(answer: Response) -> bool:
    return bool(answer.problem()) or answer.body.strip() == b"{}"
