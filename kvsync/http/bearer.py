"""Bearer token authentication. The token is read again for each request, so a rotated token is used immediately."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

from kvsync.errors import AuthError
from kvsync.http.model import ErrorText, Request, Response


class BearerToken(ABC):
    """Adds a token to every request. `resolve` reads it, and raises AuthError if there is none."""

    def __init__(self, label: str, resolve: Callable[[], str]) -> None:
        self._label, self._resolve = label, resolve

    def text(self) -> str:
        """The token. Raises AuthError."""
        text = self._resolve().strip()
        if not text.isascii() or not text.isprintable() or " " in text:
            raise AuthError(
                f"{self._label}: the token contains characters that are not valid in a token; copy it again"
            )
        return text

    async def sign(self, _call: Request, _host: str) -> Mapping[str, str]:
        """The header for every request."""
        return {"Authorization": f"Bearer {self.text()}"}

    async def renew(self) -> bool:
        """Whether there is a newer token: there is none, because each request reads it again."""
        return False

    @abstractmethod
    def explain(self, call: Request, answer: Response) -> ErrorText:
        """Explain a 401 or 403."""
