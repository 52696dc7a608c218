"""Fault injection: `429:0.2,500:0.05,latency:50ms,drop-after-write:0.1,truncate:0.05`.

| fault | effect |
|---|---|
| `NNN:P` (400 to 599) | the store's own response with that status; the request has no effect |
| `NNN-after-write:P` | the same response, after the write was done |
| `200:P` | a refusal with status 200, for stores that respond in this way; the request has no effect |
| `latency:TIME` | every response is delayed by that time |
| `drop:P` | the connection is reset before the request has an effect |
| `drop-after-write:P` | the write is done, then the connection is reset |
| `partial-bulk:P` | this share of the entries in a bulk request fails |
| `stale-read:TIME` | reads return the state of that time ago, if the store can do so |
| `foreign-write:P` | another writer changes the entry immediately before the write |
| `page-expiry:P` | after a page of a listing by offsets, an entry of that page or an earlier one expires |
| `page-write:P` | after such a page, another writer adds an entry to the listing |
| `truncate:P` | the body is truncated, and `Content-Length` matches the truncated body |
| `cut:P` | the connection ends in the middle of the body |

P is a share of the requests from 0 to 1, TIME a duration such as `50ms`. The same seed and the same requests in the same order
give the same faults.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from random import Random
from typing import Final

from kvsync.emulators.quantities import seconds

_DURATIONS: Final = ("latency", "stale-read")
_SHARES: Final = ("drop", "drop-after-write", "foreign-write", "page-expiry", "page-write", "truncate", "cut")
_FOR_WRITES: Final = ("-after-write", "foreign-write")  # how their names end
_FOR_PAGES: Final = ("page-expiry", "page-write")
_STATUS: Final = re.compile(r"(200|[45]\d\d)(-after-write)?")
NAMES: Final = ("NNN", "NNN-after-write", "latency", "partial-bulk", "stale-read", *_SHARES)


@dataclass(frozen=True, slots=True)
class InjectedFaults:
    """Faults that are injected into one request; `names` are theirs."""

    latency: float = 0.0
    stale: float = 0.0
    partial: float = 0.0
    names: frozenset[str] = frozenset()

    def status(self, suffix: str = "") -> int | None:
        """The status of an injected answer, before the write or (with `-after-write`) after it."""
        return min((int(name[:3]) for name in self.names if name[:3].isdecimal() and name[3:] == suffix), default=None)


def parse(spec: str) -> dict[str, float]:
    """Faults by name: a share or seconds. Raises ValueError with all that is wrong."""
    pairs = [part.partition(":") for part in spec.split(",") if part.strip()]
    return check({name.strip(): value.strip() for name, _, value in pairs})


def check(faults: Mapping[str, object]) -> dict[str, float]:
    """Faults by name with their values read. Raises ValueError with all that is wrong."""
    read: dict[str, float] = {}
    wrong = []
    for name, value in faults.items():
        try:
            read[name] = _value(name, value)
        except ValueError as error:
            wrong.append(str(error))
    if wrong:
        raise ValueError("; ".join(wrong))
    return read


def _value(name: str, value: object) -> float:
    if name in _DURATIONS:
        return seconds(value)
    if name not in (*_SHARES, "partial-bulk") and not _STATUS.fullmatch(name):
        raise ValueError(f"there is no fault {name!r}; there are: {', '.join(NAMES)}")
    try:
        share = float(str(value))
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise ValueError(f"{name} needs a share from 0 to 1, such as {name}:0.1")
    return share


class Faults:
    """Decides the fate of every request. `dealt` counts by fault; `times` is how many requests are still to be hit."""

    def __init__(self, spec: str = "", seed: int = 0) -> None:
        """Raises ValueError when the text names no known faults."""
        self._first = (parse(spec), seed)
        self.reset()

    def reset(self) -> None:
        """Back to the faults of the start."""
        faults, seed = self._first
        self.set(faults, seed=seed)

    def set(
        self,
        faults: Mapping[str, float],
        *,
        seed: int | None = None,
        times: int | None = None,
        methods: Collection[str] = (),
    ) -> None:
        """Put these in force: for requests of these methods (none: all), until so many were hit (None: forever)."""
        self.in_force = dict(faults)
        self.times = times
        self.methods = frozenset(method.upper() for method in methods)
        self.dealt: Counter[str] = Counter()
        if seed is not None:
            self._random = Random(seed)  # noqa: S311  (repeatable on purpose)

    def next_faults(self, method: str, *, writes: bool, pages: bool = False) -> InjectedFaults:
        """The fate of the next request; `pages` when it asks for a page of a listing that slides."""
        if self.times == 0 or (self.methods and method not in self.methods):
            return InjectedFaults()
        names = {name for name, share in self._shares(writes, pages) if self._random.random() < share}
        if names and self.times is not None:
            self.times -= 1
        self.dealt.update(names)
        fate = self.in_force
        return InjectedFaults(
            fate.get("latency", 0.0),
            0.0 if writes else fate.get("stale-read", 0.0),
            fate.get("partial-bulk", 0.0),
            frozenset(names),
        )

    def _shares(self, writes: bool, pages: bool) -> list[tuple[str, float]]:
        out = {*_DURATIONS, "partial-bulk", *(() if pages else _FOR_PAGES)}
        if not writes:
            out |= {name for name in self.in_force if name.endswith(_FOR_WRITES)}
        return sorted((name, share) for name, share in self.in_force.items() if name not in out)
