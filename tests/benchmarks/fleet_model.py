"""The model of docs/fleet.md: how long a round takes, from what the benchmark measured, and the table of both."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CONCURRENCY: Final = 4
"""Calls that a replica makes to one etcd at once, the default."""

_BEGIN: Final = "<!-- figures of tests.benchmarks.fleet -->"
_END: Final = "<!-- end of the figures -->"


@dataclass(frozen=True, slots=True)
class Costs:
    """What a pass with nothing to do costs: calls of the store, statements and bytes between replica and database, CPU seconds
    of the replica and of the database, and the seconds until the database answers a statement."""

    calls: float
    statements: float
    size: float
    cpu: float
    database_cpu: float
    trip: float


@dataclass(frozen=True, slots=True)
class Waiting:
    """What one replica costs in a second while it only waits: statements, bytes, CPU seconds."""

    statements: float
    size: float
    cpu: float


@dataclass(frozen=True, slots=True)
class Rounds:
    """Seconds of a round of all targets: with nothing changed, over a near and over a far store, and with one entry changed in
    each."""

    near: float
    far: float
    changed: float


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured with so many replicas."""

    replicas: int
    waiting: Waiting
    costs: Costs
    rounds: Rounds


def limits(targets: int, latency: float, processors: int, measured: Measured) -> dict[str, float]:
    """Seconds that a round takes at least, by what limits it. Everything shares the processors of one machine here."""
    costs = measured.costs
    return {
        "latency": targets * costs.calls * latency / (CONCURRENCY * measured.replicas),
        "processors": targets * (costs.cpu + costs.database_cpu) / processors,
        "round trips": targets * costs.statements * costs.trip / measured.replicas,
    }


def computed(targets: int, latency: float, processors: int, measured: Measured) -> str:
    """The longest of the limits, for people."""
    name, seconds = max(limits(targets, latency, processors, measured).items(), key=lambda one: one[1])
    return f"{seconds:.1f} s ({name})"


def table(targets: int, latencies: tuple[float, float], processors: int, all_measured: Sequence[Measured]) -> list[str]:
    """The lines of the table in docs/fleet.md."""
    near, far = latencies
    alone = all_measured[0].rounds

    def row(name: str, cells: Sequence[str]) -> str:
        return f"| {name} | {' | '.join(cells)} |"

    def ratio(seconds: float, of_one: float) -> str:
        return f"{seconds:.1f} s ({of_one / seconds:.2f} times the rate of one)"

    return [
        row("", [f"{one.replicas} replica{'s' * (one.replicas > 1)}" for one in all_measured]),
        row("---", ["---"] * len(all_measured)),
        row(
            f"nothing changed, store {near * 1000:.0f} ms away",
            [ratio(one.rounds.near, alone.near) for one in all_measured],
        ),
        row("computed", [computed(targets, near, processors, one) for one in all_measured]),
        row(
            f"nothing changed, store {far * 1000:.0f} ms away",
            [ratio(one.rounds.far, alone.far) for one in all_measured],
        ),
        row("computed", [computed(targets, far, processors, one) for one in all_measured]),
        row(
            f"one entry changed in every target, store {near * 1000:.0f} ms away",
            [ratio(one.rounds.changed, alone.changed) for one in all_measured],
        ),
        row("calls of the store for an unchanged target, `k`", [f"{one.costs.calls:.1f}" for one in all_measured]),
        row("statements for an unchanged target", [f"{one.costs.statements:.1f}" for one in all_measured]),
        row(
            "bytes to and from the database for an unchanged target", [f"{one.costs.size:.0f}" for one in all_measured]
        ),
        row(
            "CPU seconds of the replica for an unchanged target, `c`", [f"{one.costs.cpu:.4f}" for one in all_measured]
        ),
        row(
            "CPU seconds of the database for an unchanged target, `d`",
            [f"{one.costs.database_cpu:.4f}" for one in all_measured],
        ),
        row(
            "milliseconds of a round trip to the database, `r`",
            [f"{one.costs.trip * 1000:.1f}" for one in all_measured],
        ),
        row(
            "waiting, for each replica and second: statements",
            [f"{one.waiting.statements:.1f}" for one in all_measured],
        ),
        row("waiting, for each replica and second: kB", [f"{one.waiting.size / 1000:.0f}" for one in all_measured]),
        row("waiting, for each replica and second: CPU seconds", [f"{one.waiting.cpu:.3f}" for one in all_measured]),
    ]


def million(latency: float, costs: Costs) -> str:
    """What the model gives for a million targets with these costs of a pass."""
    targets, replicas, processors = 1_000_000, 32, 16
    seconds = {
        "the latency": targets * costs.calls * latency / (CONCURRENCY * replicas),
        "the round trips to the database": targets * costs.statements * costs.trip / replicas,
        "the processors of the replicas": targets * costs.cpu / replicas,
        "those of the database": targets * costs.database_cpu / processors,
    }
    parts = ", ".join(f"{name} {least:,.0f} s" for name, least in seconds.items())
    rate = targets * costs.statements / max(seconds.values())
    return (
        f"The model computes a round of {targets:,} targets of one etcd {latency * 1000:.0f} ms away, with {replicas} replicas"
        f" of one processor each, {processors} processors for the database, and a database that answers as slowly as here. It"
        f" takes as long as the longest of these times: {parts}. The database then answers {rate:,.0f} statements per second."
        " These values are computed, not measured."
    )


def write_into(page: Path, lines: Sequence[str]) -> None:
    """Put these lines in place of the figures in the page."""
    text = page.read_text()
    assert text.count(_BEGIN) == text.count(_END) == 1, f"{page} has no place for the figures"
    figures = "\n".join((_BEGIN, "", *lines, "", _END))
    page.write_text(re.sub(f"{_BEGIN}.*{_END}", lambda _match: figures, text, flags=re.DOTALL))
