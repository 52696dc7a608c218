"""Wait of `kvsync apply --wait` for earlier waves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from kvsync.errors import UsageError
from kvsync.util.clock import Clock
from kvsync.util.waits import WAITS

_SLICE: Final = 1.0
"""Seconds after which a wait calls `stop()` again."""


def parse_wait(text: str) -> float:
    """The seconds of `--wait`. Raises UsageError."""
    from kvsync.config.waves import LONGEST_BAKE  # only where it is asked for
    from kvsync.yaml.nodes import Scalar
    from kvsync.yaml.problems import Problems
    from kvsync.yaml.quantities import duration

    problems = Problems("")
    seconds = duration(minimum=1, maximum=LONGEST_BAKE).decode(Scalar(text, True, 1, 1), problems, "--wait")
    for problem in problems.all():
        raise UsageError(f"{problem.message}; {problem.hint}" if problem.hint else problem.message)
    return float(seconds)


class WaveWait:
    """Wait of a command for earlier waves. `left` are the seconds that it may still take, all waits together."""

    def __init__(self, seconds: float = 0) -> None:
        self.left = seconds

    async def until(self, seconds: float, reason: str, clock: Clock, stop: Callable[[], bool]) -> bool:
        """Wait, unless that is longer than allowed. False if it is, and when `stop()` became true."""
        if seconds > self.left:
            return False
        end = clock.monotonic() + seconds
        self.left -= seconds
        with WAITS.shown(reason, end, clock):
            while not stop() and (rest := end - clock.monotonic()) > 0:
                await clock.sleep(min(rest, _SLICE))
        return not stop()
