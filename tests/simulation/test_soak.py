"""A daemon that works for a long time, with a store that is down for a third of it, holds no more than in the beginning."""

from __future__ import annotations

import os
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from kvsync.state.journal_pruning import KEEP_RUNS
from tests.simulation.soak import soak

pytestmark = pytest.mark.system  # the time of a soak

MINUTES = float(os.environ.get("KVSYNC_SOAK_MINUTES", "0.5"))
BEATS_A_MINUTE = 150
"""About as many as there are on a machine with nothing else to do; what is asserted goes by beats and runs alone."""

RUN_BYTES = 6_000
"""Most that the state directory may grow by for one run of three changes, while it still keeps all of them."""


def third(samples: list[dict[str, int]], number: int, name: str) -> list[int]:
    """One third of what was measured."""
    size = len(samples) // 3
    return [one[name] for one in samples[number * size : (number + 1) * size]]


@pytest.mark.timeout(300 + 300 * MINUTES)
def test_a_daemon_holds_no_more_after_a_long_time(tmp_path: Path) -> None:
    """Files change at each beat, page and metrics are asked for, and one store is down for the middle third: resident memory,
    threads and descriptors are in the last third what they were in the first, and the state directory grows by what a run
    takes, until it keeps no more of them. The store that is down does not fill the log."""
    beats = max(45, int(MINUTES * BEATS_A_MINUTE))
    found: dict[str, Any] = soak(tmp_path, beats)
    samples = found["samples"]
    figures = {name: [max(third(samples, number, name)) for number in range(3)] for name in samples[0]}
    print(f"{beats} beats, the most in each third: {figures}; {found['events']}")
    assert found["exit"] == 0
    assert figures["threads"][2] <= figures["threads"][0] + 2  # the pool of asyncio grows with what is done at once
    assert figures["descriptors"][2] <= figures["descriptors"][0] + 2
    assert figures["descriptors"][1] <= figures["descriptors"][0] + 4
    settled = third(samples, 0, "rss")[-max(5, beats // 9) :]
    assert median(third(samples, 2, "rss")) <= 1.06 * median(settled)
    assert figures["state"][2] <= samples[0]["state"] + min(2 * beats, 1.2 * KEEP_RUNS) * RUN_BYTES
    assert found["events"].get("pass.finished not ok", 0) <= 20 + beats // 10
