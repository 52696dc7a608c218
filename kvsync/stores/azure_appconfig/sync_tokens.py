"""Sync-Token headers, which let reads see our own writes on any replica."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

_DIGITS: Final = 19
"""Of a number that fits into 64 bits."""


class SyncTokens:
    """The newest token of each replica set."""

    def __init__(self) -> None:
        self._tokens: dict[str, tuple[str, int]] = {}

    def learn(self, header: str | None) -> None:
        """Take in what an answer carries: `id=value;sn=number`, several divided by commas. What is malformed is ignored."""
        for part in (header or "").split(","):
            token, _, number = part.partition(";")
            name, equals, value = token.strip().partition("=")
            digits = number.strip().removeprefix("sn=")
            if name and equals and digits.isdecimal() and len(digits) <= _DIGITS:
                self.put(name, value, int(digits))

    def put(self, name: str, value: str, number: int) -> None:
        """Take in one token, unless a newer one is known."""
        known = self._tokens.get(name)
        if known is None or number > known[1]:
            self._tokens[name] = (value, number)

    def header(self) -> str:
        """What a request carries; empty when nothing is known."""
        return ",".join(f"{name}={value}" for name, (value, _) in self._tokens.items())

    def rows(self) -> Iterable[tuple[str, str, int]]:
        """All tokens, to be kept."""
        return [(name, value, number) for name, (value, number) in self._tokens.items()]
