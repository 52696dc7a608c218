"""Accounts: how calls are authenticated, and in the name of which account."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol

from kvsync.config.model import Credential
from kvsync.errors import AuthError
from kvsync.http.model import Credentials, ErrorText, Request, Response
from kvsync.stores.base import StoreContext
from kvsync.stores.voximplant.service_account import ServiceAccount
from kvsync.util.clock import Clock

_HOW: Final = "copy the API key again (Settings > API keys)"


class Account(Credentials, Protocol):
    """An account and its credentials. `kind` says what they are, for people."""

    kind: str

    def id(self) -> str:
        """The number of the account. Raises AuthError."""
        ...

    def parameters(self) -> Mapping[str, str]:
        """The parameters that authenticate a call; empty if a header does. Raises AuthError."""
        ...

    def learn(self, refusal: Response) -> None:
        """Learn from a call that was refused."""
        ...


@dataclass(frozen=True, slots=True)
class ApiKey:
    """The API key of an account, which is sent as a parameter in the body of each call. `resolve` reads it, and raises
    AuthError if there is none."""

    label: str
    account: str
    resolve: Callable[[], str]
    kind = "API key"

    def id(self) -> str:
        """The account that the configuration names."""
        return self.account

    def parameters(self) -> Mapping[str, str]:
        """Account and key."""
        key = self.resolve().strip()
        if not key.isascii() or not key.isprintable() or " " in key:
            raise AuthError(f"{self.label}: the API key contains characters that are not valid in a key; {_HOW}")
        return {"account_id": self.account, "api_key": key}

    def learn(self, refusal: Response) -> None:
        """Nothing is learned: a key does not depend on a clock."""

    async def sign(self, _call: Request, _host: str) -> Mapping[str, str]:
        """No header."""
        return {}

    async def renew(self) -> bool:
        """Whether there is a newer key: there is none, because each call reads it again."""
        return False

    def explain(self, _call: Request, answer: Response) -> ErrorText:
        """Explain why the service rejects the key."""
        return ErrorText("credential", f"status {answer.status}", _HOW)


def account_of(label: str, options: Mapping[str, Any], context: StoreContext, clock: Clock) -> Account:
    """The account that the configuration signs in with."""
    credentials: Credential | None = options.get("credentials")
    if credentials is not None:
        return ServiceAccount(label, context.resolve, credentials, clock)
    return ApiKey(label, str(options["account_id"]), partial(context.resolve, options["api_key"]))
