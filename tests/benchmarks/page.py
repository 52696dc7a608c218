"""The page with the measured figures: machine, method, and a table for each part."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kvsync import __version__
from tests.benchmarks.measure import NO_GOAL, Figure

HEAD = """\
# Performance

This page shows what kvsync costs, compared with the bare work and with other tools. `make bench` measures everything on
your machine and writes this page.

Machine: {machine}.

Method:

- CPU is the user and system time of a whole process, as the kernel counts it. For a ratio, two processes take turns in
  one run, and the cheapest round of each process counts.
- Remote stores are kvsync's emulators (`kvsync emulate`) or real servers on loopback, each in a process of its own.
  Their CPU time is not counted; the requests that they receive are.
- Each goal was set before anything was measured.
"""


_COMMAND = re.compile("`make bench BENCH=([a-z-]+)`")
_ENTRY, _BEFORE = "      - Performance: performance.md\n", "      - Architecture: architecture.md\n"
"""The line of the page in the navigation of the site, and the line that follows it."""


@dataclass(frozen=True, slots=True)
class Part:
    """The figures of one part; `error` says why it ended early, `load` how busy the machine was before it."""

    name: str
    purpose: str
    figures: tuple[Figure, ...]
    error: str | None = None
    load: float = 0.0


def render(parts: Sequence[Part], machine: str, names: Sequence[str] = (), before: str = "") -> str:
    """The page as Markdown. `names` are those of all parts, in order. Of parts that were not measured now, the sections in the
    page `before` are kept; those that it lacks are named."""
    sections = _sections(before) | {part.name: _section(part) for part in parts}
    order = names or [part.name for part in parts]
    page = [HEAD.format(machine=machine), *(sections[name] for name in order if name in sections)]
    if left_out := [f"`{name}`" for name in order if name not in sections]:
        page.append(f"## Not measured\n\nThese parts were left out: {', '.join(left_out)}.\n")
    return "\n".join(page)


def with_page(navigation: str) -> str:
    """The text of `mkdocs.yml` with the page in the navigation."""
    return navigation if _ENTRY in navigation else navigation.replace(_BEFORE, _ENTRY + _BEFORE)


def machine() -> str:
    """The machine, as far as it matters: processor, cores, memory, system, Python and kvsync."""
    described = dict(line.split(":", 1) for line in Path("/proc/cpuinfo").read_text().splitlines() if ":" in line)
    model = next((text.strip() for name, text in described.items() if name.strip() == "model name"), platform.machine())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    system = f"{platform.system()} {platform.release()}; Python {platform.python_version()}"
    return f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB; {system}; kvsync {__version__}"


def _sections(page: str) -> dict[str, str]:
    """The sections of a page, by the name of their part."""
    texts = [text.rstrip("\n") for text in page.split("\n## ")[1:]]
    named = ((_COMMAND.search(text), text) for text in texts)
    return {match[1]: f"## {text}\n" for match, text in named if match is not None}


def _section(part: Part) -> str:
    command = f"`make bench BENCH={part.name}`; load average before the run: {part.load:.1f}"
    lines = [f"## {part.purpose}", "", command, ""]
    if part.figures:
        lines += ["| work | measured | goal | details |", "|---|---|---|---|", *map(_row, part.figures), ""]
    if part.error is not None:
        lines += [f"Not measured to the end: {_cell(part.error)}", ""]
    return "\n".join(lines)


def _row(figure: Figure) -> str:
    goal = "" if figure.goal == NO_GOAL else f"{figure.goal_text}, {'met' if figure.is_met else 'missed'}"
    return f"| {_cell(figure.name)} | {figure.amount} | {goal} | {_cell(figure.detail)} |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
