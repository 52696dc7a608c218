"""Budget of requests that replicas share: a bucket that fills at a rate, and from which they take portions."""

from __future__ import annotations

from typing import Final, NamedTuple

from kvsync.util.values import dataclass

_BURST: Final = 0.25
"""The part of a window's quota that is there at once."""

_PORTION: Final = 60
_VALIDITY: Final = 10.0


@dataclass(frozen=True, slots=True)
class BudgetTerms:
    """Terms of a budget: requests per second, the most that the bucket holds, how many are allocated at once, and for how many
    seconds a portion may be used."""

    rate: float
    capacity: float
    portion: int
    validity: float

    @classmethod
    def of_window(cls, most: int, seconds: float) -> BudgetTerms:
        """Terms under which no window of `seconds` has more than `most` requests, of all replicas together. What is sent in a
        window was allocated in it, or in the time before it for which a portion is valid."""
        capacity = max(1.0, most * _BURST)
        return cls((most - capacity) / (seconds + _VALIDITY), capacity, max(1, most // _PORTION), _VALIDITY)

    @classmethod
    def of_rate(cls, rate: float) -> BudgetTerms:
        """Terms for so many requests per second, and as many at once at first."""
        return cls(rate, max(1.0, rate), max(1, int(rate / 4)), 1.0)


class Allocation(NamedTuple):
    """What was allocated, what the bucket holds afterwards, and the seconds to wait before the next attempt."""

    granted: int
    left: float
    wait: float


def allocate(tokens: float, elapsed: float, unused: int, terms: BudgetTerms) -> Allocation:
    """Allocate a portion from a bucket that held `tokens` so many seconds ago; `unused` are given back."""
    held = min(terms.capacity, tokens + unused + max(0.0, elapsed) * terms.rate)
    least = max(1, terms.portion // 4)  # less is not worth a transaction
    if held < least:
        return Allocation(0, held, (least - held) / terms.rate)
    granted = min(terms.portion, int(held))
    return Allocation(granted, held - granted, 0.0)
