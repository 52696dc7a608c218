"""Finds the account that the configuration names."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from kvsync.errors import AuthError, PermanentError

_MOST_SHOWN: Final = 10
"""Names in a message."""

_BY_ID: Final = "set account_id to the id of the account instead of account"


class AccountFinder:
    """Finds the id of an account by its name, once: the id stays the same when the account is renamed. `list_accounts` gives
    the names of all accounts by id, and raises StoreError."""

    def __init__(self, label: str, name: str, list_accounts: Callable[[], Awaitable[Mapping[str, str]]]) -> None:
        self._label, self._name, self._list_accounts = label, name, list_accounts
        self._id: str | None = None
        self._looking = asyncio.Lock()

    async def find(self) -> str:
        """The id of the account. Raises PermanentError for a name that no account has, or several, and StoreError."""
        async with self._looking:
            if self._id is None:
                self._id = self._named(await self._listed())
            return self._id

    async def _listed(self) -> Mapping[str, str]:
        try:
            return await self._list_accounts()
        except AuthError as error:
            raise AuthError(f"{error}; if the credential may not list accounts, {_BY_ID}") from None

    def _named(self, accounts: Mapping[str, str]) -> str:
        found = sorted(id_ for id_, name in accounts.items() if name == self._name)
        if len(found) == 1:
            return found[0].lower()
        if found:
            several = f'several accounts are named "{self._name}" ({", ".join(found)})'
            raise PermanentError(f"{self._label}: {several}; {_BY_ID}")
        message = f'{self._label}: there is no account "{self._name}" among those of the credential'
        raise PermanentError(f"{message} ({_shown(sorted(accounts.values()))}); correct account, or {_BY_ID}")


def _shown(names: list[str]) -> str:
    if not names:
        return "it can list none"
    more = f" and {len(names) - _MOST_SHOWN} more" if len(names) > _MOST_SHOWN else ""
    return ", ".join(f'"{name}"' for name in names[:_MOST_SHOWN]) + more
