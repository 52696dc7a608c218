"""A test that fails is the only one that fails."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

TESTS = """
import asyncio, gc, socket

class Left:
    def __init__(self):
        self.me, self.socket = self, socket.socket()

    def __del__(self):
        raise RuntimeError("nobody asked")

async def forever():
    await asyncio.sleep(3600)

async def test_fails():
    held, task = Left(), asyncio.create_task(forever())
    await asyncio.sleep(0)
    HOW

def test_is_not_blamed():
    gc.collect()
"""


@pytest.mark.parametrize("how", ["assert held is None", "await asyncio.wait_for(forever(), 0.01)"])
def test_what_a_failed_test_left_open_fails_no_other_test(tmp_path: Path, how: str) -> None:
    """Sockets, tasks and finalizers of the failed test are collected before the next test begins."""
    (tmp_path / "test_two.py").write_text(TESTS.replace("HOW", how))
    options = ["-p", "tests.conftest", "-p", "no:cacheprovider", "-c", str(ROOT / "pyproject.toml")]
    command = [sys.executable, "-m", "pytest", "-q", *options, "--rootdir", str(tmp_path), str(tmp_path)]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=280, check=False)
    assert "1 failed, 1 passed" in done.stdout, done.stdout
