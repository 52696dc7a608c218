"""Bearer token authentication. The token is read again for each request, so a rotated token is used immediately."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

from kvsync.errors import AuthError
from kvsync.http.model import Answer, Call, ErrorText


class BearerToken(ABC):
    """Bears the token. `resolve` reads it, and raises AuthError where there is none."""

    def __init__(self, where: str, resolve: Callable[[], str]) -> None:
        self._where, self._resolve = where, resolve

    def text(self) -> str:
        """The token. Raises AuthError."""
        text = self._resolve().strip()
        if not text.isascii() or not text.isprintable() or " " in text:
            raise AuthError(
                f"{self._where}: the token contains characters that are not valid in a token; copy it again"
            )
        return text

    async def sign(self, _call: Call, _host: str) -> Mapping[str, str]:
        """The header that every request needs."""
        return {"Authorization": f"Bearer {self.text()}"}

    async def renew(self) -> bool:
        """There is no newer one than the one that was sent."""
        return False

    @abstractmethod
    def explain(self, call: Call, answer: Answer) -> ErrorText:
        """Why a 401 or 403 came back."""
