"""What stands for what was seen of a record, though the API has no versions.

    listed         size
    in a ZIP                value
    read, written  size  -  value  -  content type

Each part is a digest, made with a secret of the store that only those are shown who may write to it: a size or a short value
that is a secret is not to be guessed from a plan, and two machines come to the same.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from typing import Final

_SIZE, _VALUE, _TYPE = 4, 12, 4
"""Bytes of each part's digest."""

_LONGEST_KEY: Final = 64


class Versions:
    """Makes the etags of one store."""

    def __init__(self, secret: str) -> None:
        self._key = blake2b(secret.encode(), digest_size=_LONGEST_KEY).digest()
        self.listed = lru_cache(maxsize=4096)(self._listed)

    def _listed(self, size: int) -> str:
        """The etag of a record of which only the size in bytes is known."""
        return f"{self._digest(b'%d' % size, _SIZE)}--"

    def archived(self, digest: bytes) -> str:
        """The etag of a record of which only the value is known, by what `hasher` came to."""
        return f"-{digest.hex()}-"

    def whole(self, size: int, value: bytes, content_type: str | None) -> str:
        """The etag of a record that was read or written. `size` is what it takes in the store."""
        hasher = self.hasher()
        hasher.update(value)
        kind = self._digest((content_type or "").encode(), _TYPE)
        return f"{self._digest(b'%d' % size, _SIZE)}-{hasher.hexdigest()}-{kind}"

    def hasher(self) -> blake2b:
        """Takes in a value, piece by piece."""
        return blake2b(digest_size=_VALUE, key=self._key)

    def _digest(self, data: bytes, size: int) -> str:
        return blake2b(data, digest_size=size, key=self._key).hexdigest()


def may_be(seen: str, known: str) -> bool:
    """True when what two etags both tell is the same, and there is anything that both tell."""
    parts, others = seen.split("-"), known.split("-")
    if len(parts) != len(others):
        return seen == known
    told = [(part, other) for part, other in zip(parts, others, strict=True) if part and other]
    return bool(told) and all(part == other for part, other in told)


def as_listed(etag: str) -> str:
    """What a listing tells of a version."""
    size, dash, _ = etag.partition("-")
    return f"{size}--" if dash else etag
