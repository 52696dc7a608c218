"""Source and destination of the entries that a target takes over from its former place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from kvsync.errors import UsageError
from kvsync.model.change import Refusal
from kvsync.model.entry import Entry, Identity, Target


@dataclass(frozen=True, slots=True)
class FormerPlace:
    """What was different when the entries were written: the name of the store, the namespace, or the key format."""

    store: str | None = None
    namespace: str | None = None
    key_format: str | None = None


@dataclass(frozen=True)
class Relocated:
    """A target and where its entries come from. `moving` are the entries that move, as the target is to hold them; `same` are
    those of them whose remote key is the same on both sides; `refused` are entries that are not proven to be ours, and `left`
    counts those that no file names."""

    source: Target
    target: Target
    moving: Mapping[Identity, Entry] = field(default_factory=dict)
    same: frozenset[Identity] = frozenset()
    refused: tuple[Refusal, ...] = ()
    left: int = 0


def unambiguous(pairs: Iterable[Relocated | None]) -> list[Relocated]:
    """The pairs, if each source has one target. Raises UsageError."""
    by_source: dict[Target, Relocated] = {}
    for pair in pairs:
        if pair is not None and (other := by_source.setdefault(pair.source, pair)) is not pair:
            raise UsageError(
                f"{pair.source} could move to {other.target} and to {pair.target}; choose one with --target"
            )
    return list(by_source.values())
