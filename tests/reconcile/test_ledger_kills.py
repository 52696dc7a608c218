"""Killed at any call around the ledger that the store keeps: whichever machine comes next, everything comes right."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.machines import SHARED_KINDS

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "kind", [SHARED_KINDS[0], *(pytest.param(one, marks=pytest.mark.system) for one in SHARED_KINDS[1:])]
)
def test_a_kill_around_any_call_is_put_right(tmp_path: Path, kind: str) -> None:
    """SIGKILL before and after every call that reaches the server, the ledger's included: then a pass of each machine, in
    either order, or of the other one alone for files that have changed since, makes the store equal the files, with the ledger
    saying so, although nothing may be adopted."""
    command = [sys.executable, "-m", "tests.support.ledger_crashing", str(tmp_path), kind]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=590, check=False)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) > 20
    right = {"values": True, "still_there": [], "ledger": True, "pending": [], "refused": 0}
    assert [one for one in found if not right.items() <= one.items()] == []
