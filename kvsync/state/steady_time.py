"""Timeline of a state directory: time that goes on evenly, whatever the wall clock is set to.

What waits (a grace, a quarantine, the hour of the brake on deletes) is kept by it. It begins as the wall clock and follows the
monotonic clock from then on, also for the next process, as long as the machine is not started again. After a start it begins
as the wall clock again, but never earlier than it was. So a clock that is set forward ends no wait early, and one that is set
back prolongs none.
"""

from __future__ import annotations

import json
from contextlib import suppress
from math import isfinite
from pathlib import Path
from typing import Final, NamedTuple

from kvsync.util.clock import Clock
from kvsync.util.private_files import write_private

FILE_NAME: Final = "timeline"

_SLEWED: Final = 2.0
"""Seconds by which the clocks may differ without that any was set: NTP corrects one little by little."""


class _Anchor(NamedTuple):
    """What is kept of a timeline: the start of the machine that `offset` (seconds between the monotonic clock and the
    timeline) belongs to, and when it was last seen."""

    boot: str
    offset: float
    at: float


class SteadyTime:
    """Converts moments of the wall clock (epoch seconds) and back. `file` is where other processes find it; it is written only
    if `writable`, and a folder that cannot be written is not an error."""

    def __init__(self, file: Path, clock: Clock, *, writable: bool) -> None:
        self._file, self.clock = file, clock
        self._offset = self._anchored(writable=writable)

    def steady(self, moment: float) -> float:
        """A moment of the wall clock as it is kept."""
        return moment - self._ahead()

    def to_wall_clock(self, moment: float) -> float:
        """A kept moment by the wall clock as it is set now."""
        return moment + self._ahead()

    def now(self) -> float:
        """This moment as it is kept."""
        return self.steady(self.clock.now())

    def step(self) -> int:
        """What changes when the wall clock is set: 0 as long as it never was."""
        return round(self._ahead() / _SLEWED)

    def _ahead(self) -> float:
        """Seconds by which the wall clock was set forward since the timeline began."""
        ahead = self.clock.now() - self.clock.monotonic() - self._offset
        return 0.0 if abs(ahead) < _SLEWED else ahead

    def _anchored(self, *, writable: bool) -> float:
        """The seconds between the monotonic clock and the timeline."""
        boot, known = self.clock.boot(), self._read()
        now, since_boot = self.clock.now(), self.clock.monotonic()
        if known is not None and boot and known.boot == boot:
            offset = known.offset
        else:
            offset = (now if known is None else max(now, known.at)) - since_boot
        if writable:
            row = {"boot": boot, "offset": offset, "at": since_boot + offset}
            with suppress(OSError):
                write_private(self._file, json.dumps(row).encode())
        return offset

    def _read(self) -> _Anchor | None:
        """What an earlier process left; None where there is nothing, or it is damaged."""
        try:
            row = json.loads(self._file.read_bytes())
            anchor = _Anchor(str(row["boot"]), float(row["offset"]), float(row["at"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return anchor if isfinite(anchor.offset) and isfinite(anchor.at) else None
