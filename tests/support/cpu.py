"""CPU that a piece of work takes, to see whether it grows in proportion to its input."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

NOISE: Final = 0.004
"""CPU seconds below which nothing is said of growth."""


def cpu(work: Callable[[], object]) -> float:
    """CPU seconds of this thread for `work`, whatever else the machine does; the least of three."""
    return min(_once(work) for _ in range(3))


def grows_too_fast(work: Callable[[int], Callable[[], object]], size: int) -> bool:
    """True when four times the size costs more than eight times the CPU: 4 is linear, 16 quadratic. `work` prepares the work
    for a size. It must cost too much each time, because other processes empty the caches of the CPU."""
    if _once(work(4 * size)) < NOISE:
        return False
    return all(cpu(work(4 * size)) > 8 * max(cpu(work(size)), NOISE / 8) for _ in range(5))


def _once(work: Callable[[], object]) -> float:
    began = time.thread_time()
    work()
    return time.thread_time() - began
