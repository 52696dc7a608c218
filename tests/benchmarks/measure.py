"""Run a command and say what it cost, as the kernel counted it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU and wall seconds, and peak memory in MiB, of one process that ended well."""

    cpu: float
    wall: float
    rss: float


NO_GOAL = float("inf")
"""In place of a goal that was set before anything was measured."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure, with its goal and what it was made of."""

    name: str
    value: float
    goal: float
    unit: str = "x"
    detail: str = ""

    @property
    def is_met(self) -> bool:
        """True if the goal is reached."""
        return self.value <= self.goal

    def __str__(self) -> str:
        figure = f"{self.name}: {self.value:.2f}{self.unit}"
        if self.goal == NO_GOAL:
            return f"{figure}  {self.detail}"
        verdict = "met" if self.is_met else "MISSED"
        return f"{figure} (goal {self.goal:g}{self.unit}, {verdict})  {self.detail}"


def run(command: Sequence[str], cwd: Path, good: Container[int] = (0,)) -> Cost:
    """Run a command to its end, its output thrown away but for errors; raises unless its exit code is `good`."""
    started = time.monotonic()
    process = subprocess.Popen(command, cwd=cwd, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in good:
        raise subprocess.CalledProcessError(process.returncode, command)
    return Cost(usage.ru_utime + usage.ru_stime, time.monotonic() - started, usage.ru_maxrss / 1024)


def best(command: Sequence[str], cwd: Path, times: int = 3) -> Cost:
    """The cheapest of a few runs by CPU: what is above it is the neighbours' noise."""
    return min((run(command, cwd) for _ in range(times)), key=lambda cost: cost.cpu)


def in_turns(commands: Sequence[Sequence[str]], cwd: Path, times: int = 3) -> list[Cost]:
    """The cheapest run of each command by CPU. The commands take turns, so that all of them meet the same neighbours."""
    rounds = [[run(command, cwd) for command in commands] for _ in range(times)]
    return [min(costs, key=lambda cost: cost.cpu) for costs in zip(*rounds, strict=True)]


def kvsync(*arguments: str) -> list[str]:
    """The command line of the kvsync that is installed next to this Python."""
    return [str(Path(sys.executable).parent / "kvsync"), *arguments]


def python(code: str, *arguments: str) -> list[str]:
    """The command line of this Python, running `code`."""
    return [sys.executable, "-c", code, *arguments]
