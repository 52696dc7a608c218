"""Killed at any moment, the next run converges, and what is not ours is as it was, byte for byte."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support import crashing

ROOT = Path(__file__).parent.parent
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}
KILLS = 16


@pytest.mark.parametrize("first", range(0, 4 * KILLS, KILLS))
def test_after_a_kill_at_any_moment_one_run_puts_everything_right(tmp_path: Path, first: int) -> None:
    """Sixteen times: creates, updates, deletes and moves are cut off by SIGKILL somewhere, and one run finishes the work."""
    command = [sys.executable, "-m", "tests.support.crashing", str(tmp_path / "repo"), str(first), str(KILLS)]
    (tmp_path / "repo").mkdir()
    done = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["seed"] for one in found] == list(range(first, first + KILLS))
    wrong = [one for one in found if not (one["converged"] and one["theirs_untouched"] and not one["pending"])]
    assert wrong == []
    assert any("interrupted" in one["statuses"] for one in found), "no kill met a run that had begun"
    assert all(one["statuses"][-1] == "finished" for one in found), "the journal tells of every run"
    assert not all(one["was_done"] for one in found)


def test_a_killed_command_is_finished_by_the_next(tmp_path: Path) -> None:
    """`kvsync apply` killed in the middle, again and again, leaves nothing that the next one does not finish."""
    crashing.prepare(tmp_path)
    theirs = crashing.rows(tmp_path, "owner IS NOT 'team-a'")
    chance = random.Random(7)
    for version in (1, 2, 1, 2):
        crashing.write_files(tmp_path, version)
        victim = subprocess.Popen(_command("apply", "--yes"), cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.DEVNULL)
        time.sleep(chance.uniform(0.15, 0.5))
        victim.send_signal(signal.SIGKILL)
        victim.wait()
        done = _run(tmp_path, "apply", "--yes")
        assert done.returncode == 0, done.stderr
        assert crashing.values(tmp_path) == crashing.everywhere(version)
        assert crashing.rows(tmp_path, "owner IS NOT 'team-a'") == theirs
    assert _run(tmp_path, "plan", "--exit-code").returncode == 0
    history = _run(tmp_path, "history", "-o", "json")
    assert history.returncode == 0, history.stderr
    assert json.loads(history.stdout)


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "kvsync", *arguments]


def _run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(_command(*arguments), cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=60)
