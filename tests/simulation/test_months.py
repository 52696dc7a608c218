"""What adds up: memory, disk and the journal over thousands of passes."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.simulation.passes import RUNS
from tests.support.command import ROOT

pytestmark = pytest.mark.system  # months of passes

BEATS = 1000


def live(folder: Path) -> dict[str, Any]:
    """Run the daemon in a process of its own; what it saw of itself."""
    command = [sys.executable, "-m", "tests.simulation.passes", str(folder), str(BEATS)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def growth(life: dict[str, Any], name: str) -> float:
    """The last quarter's mean as a share of the second's."""
    values: list[float] = [sample[name] for sample in life["samples"]]
    quarter = len(values) // 4
    return statistics.mean(values[-quarter:]) / statistics.mean(values[quarter : 2 * quarter])


def test_nothing_adds_up_over_two_thousand_passes(tmp_path: Path) -> None:
    """Passes that find nothing, write or fail, with the page and the metrics asked for meanwhile, leave nothing behind: neither
    resident memory nor the number of objects is larger in the last quarter than in the second. A daemon that is never restarted
    keeps as many runs as one that is, and its files stop growing."""
    life = live(tmp_path)
    assert min(life["unchanged"], life["changed"], life["failed"]) >= BEATS // 2
    assert life["unchanged"] + life["changed"] + life["failed"] >= 2000
    assert growth(life, "rss") <= 1.03
    assert growth(life, "objects") <= 1.02
    assert life["changed"] > RUNS
    assert max(sample["runs"] for sample in life["samples"]) <= RUNS
    assert growth(life, "disk") <= 1.2
