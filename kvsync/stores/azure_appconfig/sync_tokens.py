"""Sync-Tokens of Azure App Configuration: a read that carries them sees everything that was written before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

_DIGITS: Final = 19
"""Digits of a number that fits into 64 bits."""


class SyncTokens:
    """The newest token of each replica set, as session headers of a client."""

    def __init__(self) -> None:
        self._tokens: dict[str, tuple[str, int]] = {}

    def headers(self) -> Mapping[str, str]:
        """The header of the next request; none without tokens."""
        text = ",".join(f"{name}={value}" for name, (value, _) in self._tokens.items())
        return {"Sync-Token": text} if text else {}

    def observe(self, headers: Mapping[str, str]) -> None:
        """Add the tokens of a response: `id=value;sn=number`, separated by commas. Malformed ones are ignored."""
        for part in headers.get("sync-token", "").split(","):
            token, _, number = part.partition(";")
            name, equals, value = token.strip().partition("=")
            digits = number.strip().removeprefix("sn=")
            if name and equals and digits.isdecimal() and len(digits) <= _DIGITS:
                self.put(name, value, int(digits))

    def put(self, name: str, value: str, number: int) -> None:
        """Add one token, unless a newer one is known."""
        known = self._tokens.get(name)
        if known is None or number > known[1]:
            self._tokens[name] = (value, number)

    def rows(self) -> Iterable[tuple[str, str, int]]:
        """All tokens, for the cache."""
        return [(name, value, number) for name, (value, number) in self._tokens.items()]
