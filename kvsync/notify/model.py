"""Notices about a target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from kvsync.config.model import NoticeKind
from kvsync.errors import ErrorCode
from kvsync.model.entry import Target

STILL: Final = "found"
"""Which drift: that which is still there."""

HEALED: Final = "healed"
"""Which drift: that which the pass that found it healed."""


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that is so of a target since `since` (epoch seconds).

    `which` tells two facts of one kind apart, so that the second is news: the digest of a parked plan, or whether drift is
    still there. `drift` counts entries by class, `reasons` are why it is parked; `error` and
    `code` say what fails, for the last `attempts` passes, `unavailable` that the store is the reason and `retryable` that
    trying again may help. `is_over` says that it ended before it was sent.
    """

    kind: NoticeKind
    since: float
    which: str = ""
    drift: Mapping[str, int] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()
    error: str | None = None
    code: ErrorCode | None = None
    attempts: int = 0
    unavailable: bool = False
    retryable: bool = False
    is_over: bool = False


Facts = Mapping[NoticeKind, Fact | None]
"""What a pass found out of its target: the facts that hold, None for those that do not; the others are unknown."""


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing to tell of a target. `fact` is what holds now; if it is None, `ended` are the kinds that ended."""

    target: Target
    fact: Fact | None = None
    ended: tuple[NoticeKind, ...] = ()

    @property
    def kind(self) -> NoticeKind:
        """What kind of notice it is."""
        return NoticeKind.HEALED if self.fact is None else self.fact.kind
