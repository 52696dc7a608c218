"""Inputs of a plan besides the two sides: what was applied, what must wait, and what was requested."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from kvsync.model.change import Change
from kvsync.model.entry import Actual, Applied, Identity


@dataclass(frozen=True, slots=True)
class PlanInputs:
    """What is known of the differing entries beyond the two views.

    `actual` and `applied` hold those of the differing identities that exist; `undesired_since` says since when an entry is no
    longer wanted, `settling` until when the store may show what was there before our last write (both in epoch seconds),
    and `overwritten` what that may be, None for nothing;
    `blocked` gives the reason why a change must wait, or None; `grace` is the least time, in seconds, that an entry must have
    been undesired before it is deleted; `keys` are globs to look at (none: all).
    """

    actual: Mapping[Identity, Actual] = field(default_factory=dict)
    applied: Mapping[Identity, Applied] = field(default_factory=dict)
    undesired_since: Mapping[Identity, float] = field(default_factory=dict)
    settling: Mapping[Identity, float] = field(default_factory=dict)
    overwritten: Mapping[Identity, Sequence[Actual | None]] = field(default_factory=dict)
    blocked: Callable[[Change], str | None] = lambda _change: None
    grace: float = 0
    keys: tuple[str, ...] = ()

    def shifted(self, seconds: float) -> PlanInputs:
        """The same, with the moments that this machine's clock gave so much later."""
        return replace(
            self,
            undesired_since={identity: moment + seconds for identity, moment in self.undesired_since.items()},
            settling={identity: moment + seconds for identity, moment in self.settling.items()},
        )
