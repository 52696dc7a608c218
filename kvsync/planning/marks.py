"""Ownership marks: how kvsync signs an entry, and what a mark proves.

A seal binds a mark to the place, key and label it was written for. With owner keys it is an HMAC-SHA256 that only holders of
a key can make. Without, it is a plain SHA-256: a copy does not verify, but anyone could compute one.
"""

from __future__ import annotations

import binascii
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable
from dataclasses import replace
from enum import StrEnum
from functools import cached_property
from hashlib import sha256
from typing import Any, Final

from kvsync.model.entry import Actual, Entry, Identity, Mark
from kvsync.model.place import Place
from kvsync.util.values import dataclass

SEAL_SIZE: Final = 16
"""Bytes of a seal."""

SEAL_CHARACTERS: Final = 22
"""Characters of a seal as text."""

_FILLED, _FILLED_CHARACTERS = b"\0\0", 24
"""Padding that makes the length of a seal a multiple of three, so that many seals can be encoded as one text; and the length of
each with it."""

_TTL_DIGITS: Final = 12
"""More than any store allows, and small enough for the state directory."""

_PLAIN: Final = f"{None}:0:"
"""TTL and flags of a mark that has neither, in the form in which they are sealed."""


def seal_to_text(seal: bytes) -> str:
    """Return a seal in the form in which text stores keep it: URL-safe Base64 without padding."""
    return urlsafe_b64encode(seal).decode().rstrip("=")


def seal_from_text(text: object) -> bytes | None:
    """Return the seal in a text that was found next to an entry. Returns None if there is no text, as in marks of earlier
    versions, and empty bytes, which are never valid, if the text is not a seal."""
    if text is None:
        return None
    try:
        return urlsafe_b64decode(f"{text}==") if isinstance(text, str) and len(text) == SEAL_CHARACTERS else b""
    except (binascii.Error, ValueError):
        return b""


def ttl_from(found: Any) -> int | None:
    """The lifetime in seconds that was found next to an entry, as a number or as text. None for a value that kvsync never
    writes."""
    if isinstance(found, str):
        return int(found) if len(found) <= _TTL_DIGITS and found.isdecimal() else None
    is_whole = isinstance(found, int) and not isinstance(found, bool) and 0 <= found < 10**_TTL_DIGITS
    return int(found) if is_whole else None


class Proof(StrEnum):
    """What a mark of our owner proves.

    `valid`: kvsync wrote it for this place, key and label. `renewable`: the same, but with an older owner key. `weak`: it has
    no seal (an earlier version wrote it), or one that anyone could make although there is an owner key. `none`: it was made for
    another place, key or label, or changed since: a copy or a forgery.
    """

    VALID = "valid"
    RENEWABLE = "renewable"
    WEAK = "weak"
    NONE = "none"


@dataclass(frozen=True)
class MarkSigner:
    """Signs and verifies the marks of one owner at one place. The first of the `keys` signs, and all of them verify. Without
    keys, seals are plain digests."""

    owner: str
    place: Place
    keys: tuple[bytes, ...] = ()

    def __repr__(self) -> str:
        return f"MarkSigner({self.owner!r}, {self.place.key}, {len(self.keys)} keys)"

    def mark_of(self, entry: Entry) -> Mark:
        """Return the signed mark to write with an entry."""
        seal = self._seal(entry.identity, entry, self.keys[0] if self.keys else None)
        return Mark(self.owner, entry.fingerprint, entry.ttl, entry.sensitive, entry.protected, seal=seal)

    def signed(self, identity: Identity, mark: Mark) -> Mark:
        """Return the mark with the seal for this place and identity."""
        return replace(mark, seal=self._seal(identity, mark, self.keys[0] if self.keys else None))

    def proof(self, identity: Identity, mark: Mark) -> Proof:
        """Return what a mark that was found at `identity` proves. Marks of other owners prove nothing."""
        if mark.owner != self.owner:
            return Proof.NONE
        if mark.seal is None:
            return Proof.WEAK
        for number, key in enumerate(self.keys):
            if hmac.compare_digest(mark.seal, self._seal(identity, mark, key)):
                return Proof.RENEWABLE if number else Proof.VALID
        if hmac.compare_digest(mark.seal, self._seal(identity, mark, None)):
            return Proof.WEAK if self.keys else Proof.VALID
        return Proof.NONE

    def seals(self, identity: Identity, fingerprint: bytes, seal: bytes) -> bool:
        """Return True if `seal` belongs to a current mark without TTL and flags, as almost all marks are. Faster than building
        the mark first."""
        return seal == self._sealed(identity, _PLAIN, fingerprint, self.keys[0] if self.keys else None)

    def sealed(
        self, identities: Iterable[Identity], fingerprints: Iterable[bytes], seals: Iterable[bytes]
    ) -> list[bool]:
        """Return what `seals` returns for each of many entries, in order. Takes less than half the time of separate calls."""
        expected = self._plain_seals(identities, fingerprints)
        return [seal == wanted for seal, wanted in zip(seals, expected, strict=True)]

    def plain_seal_texts(self, identities: Iterable[Identity], fingerprints: Iterable[bytes]) -> list[str]:
        """Return the seals of marks without TTL and flags for many entries, in order and in the form of `seal_to_text`. Takes
        less than half the time of separate calls."""
        seals = [seal + _FILLED for seal in self._plain_seals(identities, fingerprints)]
        text = urlsafe_b64encode(b"".join(seals)).decode()
        return [text[start : start + SEAL_CHARACTERS] for start in range(0, len(text), _FILLED_CHARACTERS)]

    def claims(self, entry: Actual) -> bool:
        """Return True if the entry has a mark of our owner that was made for it, as far as kvsync can verify that."""
        return entry.mark is not None and self.proof(entry.identity, entry.mark) is not Proof.NONE

    def is_settled(self, entry: Actual) -> bool:
        """Return True if the entry is as kvsync left it, with a valid mark, so that its fingerprint is enough to plan it."""
        mark = entry.mark
        return (
            mark is not None
            and mark.owner == self.owner
            and mark.key is None
            and mark.fingerprint == entry.fingerprint
            and mark.ttl is None
            and not mark.sensitive
            and not mark.protected
            and entry.expires_at is None
            and not entry.locked
            and (mark.is_recorded or self.proof(entry.identity, mark) is Proof.VALID)
        )

    @cached_property
    def _head(self) -> str:
        """The beginning of the seals of all marks of this owner at this place."""
        return f"kvsync.mark/1:{self.place.key}:{len(self.owner)}:{self.owner}:"

    def _plain_seals(self, identities: Iterable[Identity], fingerprints: Iterable[bytes]) -> list[bytes]:
        messages = [
            f"{len(name)}:{name}{'' if label is None else f'={len(label)}:{label}'}:{_PLAIN}".encode(
                "utf-8", "surrogatepass"
            )
            + print_
            for (name, label), print_ in zip(identities, fingerprints, strict=True)
        ]
        head = self._head.encode("utf-8", "surrogatepass")
        if not self.keys:
            return [sha256(head + message).digest()[:SEAL_SIZE] for message in messages]
        begun, seals = hmac.new(self.keys[0], head, "sha256"), []
        for message in messages:
            signature = begun.copy()
            signature.update(message)
            seals.append(signature.digest()[:SEAL_SIZE])
        return seals

    def _seal(self, identity: Identity, mark: Mark | Entry, key: bytes | None) -> bytes:
        options = f"{mark.ttl}:{2 * mark.sensitive + mark.protected}:"
        return self._sealed(identity, options, mark.fingerprint, key)

    def _sealed(self, identity: Identity, options: str, fingerprint: bytes, key: bytes | None) -> bytes:
        name, label = identity
        text = f"{self._head}{len(name)}:{name}{'' if label is None else f'={len(label)}:{label}'}:{options}"
        message = text.encode("utf-8", "surrogatepass") + fingerprint
        return (sha256(message).digest() if key is None else hmac.digest(key, message, "sha256"))[:SEAL_SIZE]
