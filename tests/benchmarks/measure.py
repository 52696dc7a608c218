"""Run a command and say what it cost, as the kernel counted it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Container, Mapping, Sequence
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

    @property
    def amount(self) -> str:
        """The value with its unit. A count has no decimals."""
        number = f"{self.value:,.0f}" if not self.unit and float(self.value).is_integer() else f"{self.value:.2f}"
        return f"{number}{self.unit}"

    def __str__(self) -> str:
        figure = f"{self.name}: {self.amount}"
        if self.goal == NO_GOAL:
            return f"{figure}  {self.detail}"
        verdict = "met" if self.is_met else "MISSED"
        return f"{figure} (goal {self.goal_text}, {verdict})  {self.detail}"

    @property
    def goal_text(self) -> str:
        """The goal with its unit."""
        return f"{self.goal:,.4g}{self.unit}"


def by_call(calls: Mapping[str, int]) -> str:
    """Return numbers of calls as text, such as "11 of `GET /keys`, 10 of `PUT /bulk`"."""
    return ", ".join(f"{count:,} of `{name}`" for name, count in calls.items())


LAUNCHER = """
import json, resource, subprocess, sys, time
began = time.monotonic()
code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL)
wall, used = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([code, used.ru_utime + used.ru_stime, wall, used.ru_maxrss / 1024]))
"""
"""Runs a command from a small process: the kernel counts the memory of the process that starts a command as its own peak."""


def run(command: Sequence[str], cwd: Path, good: Container[int] = (0,)) -> Cost:
    """Run a command to its end, its output thrown away but for errors; raises unless its exit code is `good`."""
    launch = [sys.executable, "-I", "-S", "-c", LAUNCHER, *command]
    done = subprocess.run(launch, cwd=cwd, stdout=subprocess.PIPE, check=True)
    code, *cost = json.loads(done.stdout)
    if code not in good:
        raise RuntimeError(f"{' '.join(command)[:100]!r}… ended with the code {code}")
    return Cost(*cost)


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
