"""Sealing of sensitive fingerprints with a key, so that nobody can guess the values.

Every state directory has a key. With owner keys, all machines of the owner derive the same key from them for each place and
seal the ledger with it, so that each can compare what another one wrote.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Final

from kvsync.model.entry import NOT_HELD, Mark, sealed
from kvsync.util.values import dataclass

_NAME: Final = b"kvsync ledger seal"
_NAME_DIGITS: Final = 12
_DERIVED: Final = b"kvsync ledger seal of place "


@dataclass(frozen=True)
class SealingKeys:
    """The keys that seal the ledger of one place. `own` returns the key of the state directory, which is read only when it is
    needed. `shared` are the keys derived from the owner keys: the first one seals, all of them can be compared with."""

    own: Callable[[], bytes]
    shared: tuple[bytes, ...] = ()

    @property
    def current(self) -> bytes:
        """The key that seals."""
        return self.shared[0] if self.shared else self.own()

    @cached_property
    def current_name(self) -> str:
        """The name of the key that seals."""
        return name_of(self.current)

    def key(self, name: str) -> bytes:
        """The key with this name; if it is not available here, a placeholder that matches nothing."""
        if name in self._shared:
            return self._shared[name]
        return self.own() if name == self.own_name else NOT_HELD + name.encode("utf-8", "surrogatepass")

    def sealed(self, mark: Mark) -> Mark:
        """The mark in the form in which a ledger may keep it: that of a sensitive entry with a sealed fingerprint."""
        if not mark.sensitive or mark.key is not None:
            return mark
        return replace(mark, fingerprint=sealed(mark.fingerprint, self.current), key=self.current)

    def is_for_all(self, name: str | None) -> bool:
        """True if every machine of the owner can compare fingerprints that are sealed with the key of this name."""
        return bool(self.shared) and name == self.current_name

    def is_held(self, name: str | None) -> bool:
        """True if fingerprints that are sealed with the key of this name can be compared here."""
        return name in self._shared or name == self.own_name

    @cached_property
    def own_name(self) -> str:
        """The name of the state directory's key."""
        return name_of(self.own())

    @cached_property
    def _shared(self) -> dict[str, bytes]:
        return {name_of(key): key for key in self.shared}


def sealing_keys(own: Callable[[], bytes], owner_keys: Sequence[bytes], place: str) -> SealingKeys:
    """The keys for the place with this key."""
    message = _DERIVED + place.encode("utf-8", "surrogatepass")
    return SealingKeys(own, tuple(hmac.digest(key, message, "sha256") for key in owner_keys))


def name_of(key: bytes) -> str:
    """The name of a key in ledgers, which reveals nothing about the key."""
    if key.startswith(NOT_HELD):
        return key[len(NOT_HELD) :].decode("utf-8", "surrogatepass")
    return hmac.digest(key, _NAME, "sha256").hex()[:_NAME_DIGITS]
