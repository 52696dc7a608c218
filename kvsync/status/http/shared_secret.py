"""Shared secret of HTTP clients, read again for each check and compared in constant time."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Final

from kvsync.config.credentials import describe
from kvsync.config.model import Credential
from kvsync.errors import AuthError
from kvsync.util.escaping import to_bytes

SHORTEST: Final = 8
"""Characters of a token or secret; a shorter one can be guessed."""


class Secret:
    """A secret that can be replaced while the daemon runs; `what` is the field that refers to it."""

    def __init__(self, credential: Credential, resolve: Callable[[Credential], str], what: str) -> None:
        self._credential, self._resolve, self._what = credential, resolve, what

    def text(self) -> str:
        """The secret. Raises AuthError when it cannot be read, or is too short to be one."""
        try:
            secret = self._resolve(self._credential)
        except AuthError as error:
            raise AuthError(f"{self._what}: {error}") from None
        if len(secret) < SHORTEST:
            place = f"{self._credential.origin}: " if self._credential.origin else ""
            short = f"{place}{describe(self._credential)} has fewer than {SHORTEST} characters; use 32 random ones"
            raise AuthError(f"{self._what}: {short}")
        return secret

    def matches(self, shown: str) -> bool:
        """True if the text is the secret. Raises AuthError if the secret cannot be read."""
        return hmac.compare_digest(to_bytes(shown), self.text().encode())
