"""A search for new inputs, for a limited time: `make test-system` runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS

ROOT = Path(__file__).resolve().parents[2]
SECONDS = float(os.environ.get("KVSYNC_FUZZ_SECONDS", "6"))
"""How long each target is searched."""

pytestmark = [pytest.mark.system, pytest.mark.timeout(SECONDS + 300)]


@pytest.mark.parametrize("name", TARGETS)
def test_no_input_is_found(name: str, tmp_path: Path) -> None:
    """What is found is to be kept in tests/fuzz/found; the failure shows the input."""
    command = [sys.executable, "-m", "tests.fuzz", name, str(SECONDS), str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS + 60)
    inputs = {file.name: file.read_bytes() for file in tmp_path.glob(f"{name}-*")}
    assert (done.returncode, inputs) == (0, {}), done.stderr[-2000:]
