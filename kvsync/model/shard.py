"""Sharding of targets over several processes. Pure.

Every target belongs to exactly one shard, the one that gives it the highest score (rendezvous hashing): when a shard is added,
only the targets that go to it move.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Final, Self

from kvsync.model.entry import Target
from kvsync.util.values import dataclass

MOST: Final = 1000
"""Shards at most; more are a mistake."""


@dataclass(frozen=True, slots=True)
class Shard:
    """The share number `index`, counted from 1, of `count`."""

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `I/N`. 0 is taken for N, so that numbers that count from 0 serve as well, such as the ordinal of a pod. Raises
        ValueError."""
        match = re.fullmatch(r"([0-9]{1,4})/([0-9]{1,4})", text)
        if match is None:
            raise ValueError("I/N, such as 1/3: the first of three shares")
        index, count = int(match[1]), int(match[2])
        if not 1 <= count <= MOST or index > count:
            raise ValueError(f"I/N with N from 1 to {MOST} and I from 1 to N")
        return cls(index or count, count)

    def owns(self, target: Target) -> bool:
        """True when this target belongs to this shard."""
        return max(range(1, self.count + 1), key=lambda index: _score(index, target)) == self.index

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


def _score(index: int, target: Target) -> bytes:
    return sha256(f"{index}\0{target.store}\0{target.namespace}".encode(errors="surrogateescape")).digest()
