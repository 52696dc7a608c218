"""Inputs of a plan besides desired and actual entries: what was applied, what must wait, and what was requested."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, replace

from kvsync.model.change import Change
from kvsync.model.entry import Actual, Applied, Identity
from kvsync.util.values import dataclass


@dataclass(frozen=True, slots=True)
class PlanInputs:
    """What is known about the differing entries.

    `actual` and `applied` hold those that exist. `undesired_since` is when an entry left the files, `settling` until when the
    store may return what was there before our last write (both in epoch seconds), and `overwritten` what that may be (None:
    nothing). `blocked` returns the reason why a change must wait, or None; it is None itself if no change has to. `grace` is
    how long, in seconds, an entry must have been undesired before it is deleted. `keys` are the globs to look at (none: all).
    """

    actual: Mapping[Identity, Actual] = field(default_factory=dict)
    applied: Mapping[Identity, Applied] = field(default_factory=dict)
    undesired_since: Mapping[Identity, float] = field(default_factory=dict)
    settling: Mapping[Identity, float] = field(default_factory=dict)
    overwritten: Mapping[Identity, Sequence[Actual | None]] = field(default_factory=dict)
    blocked: Callable[[Change], str | None] | None = None
    grace: float = 0
    keys: tuple[str, ...] = ()

    def shifted(self, seconds: float) -> PlanInputs:
        """The same, with the moments of this machine's clock moved by so many seconds."""
        return replace(
            self,
            undesired_since={identity: moment + seconds for identity, moment in self.undesired_since.items()},
            settling={identity: moment + seconds for identity, moment in self.settling.items()},
        )
