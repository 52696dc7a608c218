"""Run a command and say what it cost, as the kernel counted it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU and wall seconds, and peak memory in MiB, of one process."""

    cpu: float
    wall: float
    rss: float
    exit_code: int


def run(command: Sequence[str], cwd: Path) -> Cost:
    """Run a command to its end, its output thrown away but for errors."""
    started = time.monotonic()
    process = subprocess.Popen(command, cwd=cwd, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    return Cost(usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss / 1024, process.returncode)


def kvsync(*arguments: str) -> list[str]:
    """The command line of the kvsync that is installed beside this Python."""
    return [str(Path(sys.executable).parent / "kvsync"), *arguments]


def python(code: str, *arguments: str) -> list[str]:
    """The command line of a bare Python that runs `code`."""
    return [sys.executable, "-c", code, *arguments]
