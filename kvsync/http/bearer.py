"""Bearer token authentication. The token is read again for each request, so a rotated token is used immediately."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

from kvsync.errors import AuthError
from kvsync.http.model import ErrorText, Request, Response


def checked_secret(text: str, invalid: str) -> str:
    """A secret as it goes into a request, without the white space around it. Raises AuthError, with the message `invalid`, for
    one with characters that no token has."""
    secret = text.strip()
    if not secret.isascii() or not secret.isprintable() or " " in secret:
        raise AuthError(invalid)
    return secret


class BearerToken(ABC):
    """Adds a token to every request. `resolve` reads it, and raises AuthError if there is none."""

    def __init__(self, label: str, resolve: Callable[[], str]) -> None:
        self._label, self._resolve = label, resolve

    def text(self) -> str:
        """The token. Raises AuthError."""
        invalid = f"{self._label}: the token contains characters that are not valid in a token; copy it again"
        return checked_secret(self._resolve(), invalid)

    async def sign(self, _call: Request, _host: str) -> Mapping[str, str]:
        """The header for every request."""
        return {"Authorization": f"Bearer {self.text()}"}

    async def renew(self, _refused: Mapping[str, str] | None = None) -> bool:
        """Whether there is a newer token: there is none, because each request reads it again."""
        return False

    @abstractmethod
    def explain(self, call: Request, answer: Response) -> ErrorText:
        """Explain a 401 or 403."""
