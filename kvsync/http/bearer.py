"""Bearer token authentication. The token is read again for each request, so a rotated token is used immediately."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

from kvsync.errors import AuthError
from kvsync.http.model import ErrorText, Request, Response


class BearerToken(ABC):
    """Bears the token. `resolve` reads it, and raises AuthError where there is none."""

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
        """The header that every request needs."""
        return {"Authorization": f"Bearer {self.text()}"}

    async def renew(self) -> bool:
        """There is no newer one than the one that was sent."""
        return False

    @abstractmethod
    def explain(self, call: Request, answer: Response) -> ErrorText:
        """Why a 401 or 403 came back."""
