"""Credentials of the API: a token, or the email address of a user with their global API key."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, Protocol

from kvsync.errors import AuthError
from kvsync.http.bearer import BearerToken
from kvsync.http.failures import server_message
from kvsync.http.model import Credentials, ErrorText, Request, Response
from kvsync.stores.base import StoreContext
from kvsync.stores.cloudflare_kv.api import INVALID_CREDENTIAL, error_codes

_TOKENS: Final = "My Profile > API Tokens"
_PERMISSION: Final = f'give the token the account permission "Workers KV Storage: Edit" ({_TOKENS}), and this account'
_KEY_PERMISSION: Final = "give the user a role in this account that includes Workers KV"


class ApiCredentials(Credentials, Protocol):
    """Credentials of the API. `verification` is the path, below the root, of a request that only valid ones may make."""

    verification: str

    def text(self) -> str:
        """What represents the user: requests with an equal text share a quota. Raises AuthError."""
        ...


class ApiToken(BearerToken):
    """API token, and the messages for its rejection."""

    verification = "/user/tokens/verify"

    def explain(self, call: Request, answer: Response) -> ErrorText:
        """Distinguish an invalid token from one without the permission."""
        said = server_message(call, answer) or "no reason given"
        if _is_invalid(answer):
            return ErrorText("credential", f"the API token is not valid ({said})", f"create a new one ({_TOKENS})")
        if answer.status == 405 or call.writes:
            return ErrorText("permission", f"the API token is not allowed to write here ({said})", _PERMISSION)
        return ErrorText(
            "permission", f"the API token is not valid, or is not allowed to do this here ({said})", _PERMISSION
        )


class GlobalApiKey:
    """Global API key of the user with an email address. `resolve` reads the key, again for each request, and raises AuthError
    if there is none."""

    verification = "/user"

    def __init__(self, label: str, email: str, resolve: Callable[[], str]) -> None:
        self._label, self._email, self._resolve = label, email, resolve

    def text(self) -> str:
        """Email address and key."""
        return f"{self._email} {self._key()}"

    async def sign(self, _call: Request, _host: str) -> Mapping[str, str]:
        """The headers for every request."""
        return {"X-Auth-Email": self._email, "X-Auth-Key": self._key()}

    async def renew(self, _refused: Mapping[str, str] | None = None) -> bool:
        """Whether there is a newer key: there is none, because each request reads it again."""
        return False

    def explain(self, call: Request, answer: Response) -> ErrorText:
        """Distinguish an invalid key from a user without the permission."""
        said = server_message(call, answer) or "no reason given"
        if _is_invalid(answer):
            what = f"email and api_key are not valid together ({said})"
            return ErrorText("credential", what, f"copy the global API key of this user again ({_TOKENS})")
        return ErrorText("permission", f"the user is not allowed to do this here ({said})", _KEY_PERMISSION)

    def _key(self) -> str:
        key = self._resolve().strip()
        if not (key.isascii() and key.isalnum()):
            raise AuthError(f"{self._label}: the global API key contains characters that are not valid; copy it again")
        return key


def credentials_of(options: Mapping[str, Any], context: StoreContext, label: str) -> ApiCredentials:
    """The credentials that the configuration has."""
    if options.get("token") is not None:
        return ApiToken(label, partial(context.resolve, options["token"]))
    return GlobalApiKey(label, options["email"], partial(context.resolve, options["api_key"]))


def _is_invalid(answer: Response) -> bool:
    return answer.status == 401 or not error_codes(answer).isdisjoint(INVALID_CREDENTIAL)
