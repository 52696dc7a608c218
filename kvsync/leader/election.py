"""State machine of leader election for one replica. Pure: all moments are seconds of the replica's monotonic clock.

asked           begins nothing more      nothing is in flight      the lease ends
  │ ─── renew_within ───▶ │ ───────────────────▶ │ ──── MARGIN ───▶ │
  └──────────────────────────── duration ─────────────────────────▶ │
"""

from __future__ import annotations

from math import inf

from kvsync.leader.model import MARGIN, LeaseClaim, Timing
from kvsync.util.values import dataclass


class Election:
    """Whether this replica leads, from the answers of the lease store."""

    def __init__(self, timing: Timing) -> None:
        self.leads = False
        self.leader: str | None = None
        self._timing = timing
        self._asked_at, self._duration = -inf, timing.duration

    def record_answer(self, claim: LeaseClaim, asked_at: float, now: float) -> None:
        """Record the answer to a claim that was sent at `asked_at`. An answer that comes too late to act on makes
        nobody a leader."""
        self.leader = claim.leader
        if claim.is_ours:
            self._asked_at = asked_at
            self._duration = min(claim.duration, self._timing.duration)
        self.leads = claim.is_ours and self.seconds_to_renew(now) > 0

    def expire(self, now: float) -> bool:
        """Step down if the lease could not be renewed in time. Returns whether that is news."""
        if not self.leads or self.seconds_to_renew(now) > 0:
            return False
        self.step_down()
        return True

    def step_down(self) -> None:
        """Lead no more, and do not know who does."""
        self.leads, self.leader = False, None

    def seconds_to_renew(self, now: float) -> float:
        """Seconds for which the leader may still begin writes without a renewal of its lease."""
        within = self._timing.renew_within * self._duration / self._timing.duration
        return self._asked_at + within - now

    def seconds_left(self, now: float) -> float:
        """How long a write that goes out now may be in flight; 0 when it must not go out."""
        if not self.leads or self.seconds_to_renew(now) <= 0:
            return 0
        return self._asked_at + self._duration * (1 - MARGIN) - now


@dataclass(frozen=True, slots=True)
class Renewal:
    """Renewal of a lease as another replica observes it: the record as it is, because its times belong to the clock of the
    leader."""

    record: object
    duration: float


class RenewalWatch:
    """Detects that the lease of another replica has ended: its record did not change for the whole duration. The times in the
    record are never compared with a clock of this machine."""

    def __init__(self, least: float) -> None:
        self._least = least
        self._renewal: Renewal | None = None
        self._seen_at = -inf

    def left(self, renewal: Renewal, now: float) -> float:
        """The seconds until the lease counts as ended, 0 or less once it does. `now` is a moment after the record was read."""
        if renewal != self._renewal:
            self._renewal, self._seen_at = renewal, now
        return self._seen_at + max(renewal.duration, self._least) - now
