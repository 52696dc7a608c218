"""Snapshots for tests, with everything on them."""

from __future__ import annotations

from kvsync.errors import Origin, Problem
from kvsync.model.entry import Target
from kvsync.rendering.difference import Line
from kvsync.state import DriftPoint
from kvsync.status.durations import Durations
from kvsync.status.plan_views import PendingPlan, PendingRow, PendingRowKind
from kvsync.status.snapshot import (
    EndView,
    Histogram,
    ParkedView,
    PassPoint,
    PauseView,
    ProcessView,
    RunView,
    State,
    StatusSnapshot,
    StoreView,
    TargetView,
)

NOW = 1_800_000_000.0
HOSTILE = 'a"b\\c\nd{e="f"} <script>'
"""A name that wants to be something else, in whatever form it is shown."""


def durations() -> Histogram:
    found = Durations()
    for seconds in (0.001, 0.3, 7.0, 1000.0):
        found.add(seconds)
    return found.histogram()


def target(store: str, namespace: str, number: int = 0) -> TargetView:
    """A target of which everything is known."""
    row = PendingRow(
        PendingRowKind.CHANGE,
        "~",
        "update",
        "drifted",
        "greeting",
        False,
        ("x",),
        (Line("+", "y"),),
        "state/web.yaml:3:1",
    )
    return TargetView(
        Target(store, namespace),
        "sqlite",
        list(State)[number % len(State)],
        attempted_at=NOW,
        succeeded_at=NOW - 60,
        unheard=60,
        seconds=0.25,
        triggers=("schedule",),
        next_at=NOW + 60,
        next_trigger="retry",
        resting_until=NOW + 3600,
        changes={"applied": 2, "failed": 1},
        drift={"drifted": 2, "missing": 1},
        unhealed={"drifted": 1},
        pending=3,
        plan=PendingPlan("sha256:" + "0" * 64, (row,), 2, {"update": 3}, "1 request, 10 bytes"),
        is_known=True,
        unchanged=100,
        foreign=5,
        error="it broke",
        problems=(Problem("wrong", Origin("state/web.yaml", 1, 2), "mend it"),),
        parked=ParkedView("sha256:" + "0" * 64, ("too much",), NOW, None, "kvsync approve 000000000000"),
        early="waits for wave 1 of 2 (edge/dev): baking until 2026-11-29T22:00:00Z",
        pause=PauseView(store, "because", NOW, f"kvsync resume {store}"),
        nearest_end=EndView("greeting", NOW + 3600),
        quarantined=1,
        contended=1,
        totals={("update", "applied"): 2, ("delete", "failed"): 1},
        passes=7,
    )


def snapshot(targets: int = 3, store: str = "main") -> StatusSnapshot:
    """A snapshot with so many targets, the first with a hostile name."""
    names = [HOSTILE, *(f"namespace-{number:05}" for number in range(1, targets))]
    views = tuple(target(store, name, number) for number, name in enumerate(names))
    stores = StoreView(store, "sqlite", {"200": 10, "429": 2, "none": 1}, 1000, 2000, 900, None, durations())
    return StatusSnapshot(
        NOW,
        1,
        ProcessView(
            1, "0.1.0", "apply", NOW - 3600, "team-a", "prod", "0" * 40, True, next_beat=NOW + 60, files_at=NOW
        ),
        views,
        (stores,),
        (Problem("wrong", Origin("state/web.yaml", 1, 2)),),
        (DriftPoint(NOW, views[0].target, {"drifted": 1}),),
        (
            RunView(
                "20270115-080000-000",
                "run",
                NOW,
                "finished",
                views[0].target,
                "0" * 40,
                ("files",),
                0.1,
                counts={"applied": 1},
            ),
        ),
        (PassPoint(NOW - 60, True), PassPoint(NOW - 1, False)),
        {"accepted": 3, "refused": 1},
        {"files": 2, "hook": 1},
        replicas=2,
    )
