"""Waits last as long as they should, whatever the wall clock is set to, and for the next process too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kvsync.model.entry import Identity
from kvsync.state import CleanPass, StateDir
from kvsync.state.steady_time import FILE_NAME
from kvsync.testing import FakeClock

STEPS = pytest.mark.parametrize(
    "step", [-400 * 86_400, -3600, 3600, 3 * 86_400, 400 * 86_400], ids=["-400d", "-1h", "1h", "3d", "400d"]
)
KEY = Identity("k")
DAY = 86_400.0


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def opened(tmp_path: Path, clock: FakeClock) -> Callable[[], StateDir]:
    """Opens the directory, as another process does each time."""
    return lambda: StateDir.open(tmp_path / "state", writable=True, clock=clock)


@STEPS
def test_a_removal_is_as_old_as_it_is(opened: Callable[[], StateDir], clock: FakeClock, step: float) -> None:
    """A grace neither ends early nor starts again: the moment is always given by the clock as it is set."""
    with opened() as state:
        state.removals.update("p", [KEY], clock.now())
        clock.advance(1000)
        clock.step(step)
        assert clock.now() - state.removals.since("p")[KEY] == 1000
    with opened() as state:
        clock.advance(500)
        assert clock.now() - state.removals.since("p")[KEY] == 1500


@STEPS
def test_a_refused_write_waits_as_long_as_it_should(
    opened: Callable[[], StateDir], clock: FakeClock, step: float
) -> None:
    """It is tried neither at once nor a year later."""
    with opened() as state:
        held = state.quarantine.put("p", KEY, b"digest", "too long", clock.now())
        wait = held.until - clock.now()
    clock.step(step)
    with opened() as state:
        assert KEY in state.quarantine.held("p", clock.now())
        clock.advance(wait)
        assert state.quarantine.held("p", clock.now()) == {}


@STEPS
def test_no_step_prolongs_the_wait_of_a_contended_entry(
    opened: Callable[[], StateDir], clock: FakeClock, step: float
) -> None:
    """A heal too early harms nothing; one that waits for the wrong clock leaves drift for days."""
    with opened() as state:
        for _ in range(3):
            contended = state.contended.record_heals("p", {KEY: b"digest"}, clock.now())
        wait = contended[KEY].until - clock.now()
        assert KEY in state.contended.held("p", clock.now())
    clock.step(step)
    clock.advance(wait)
    with opened() as state:
        assert state.contended.held("p", clock.now()) == {}


@STEPS
def test_the_brake_on_deletes_counts_a_real_hour(opened: Callable[[], StateDir], clock: FakeClock, step: float) -> None:
    """What was deleted half an hour ago counts, and what was deleted two hours ago does not."""
    with opened() as state:
        state.deletions.settle(state.deletions.take(10, 10), 10)
    clock.advance(1800)
    clock.step(step)
    with opened() as state:
        budget = state.deletions.budget(10)
        assert (budget.left, budget.free_at) == (0, clock.now() + 1800)
        assert state.deletions.take(1, 10).granted == 0
        clock.advance(1801)
        assert state.deletions.take(1, 10).granted == 1


@STEPS
def test_a_memo_from_before_the_clock_was_set_counts_no_more(
    opened: Callable[[], StateDir], clock: FakeClock, step: float
) -> None:
    """What a clean pass found due later may be due by now: lifetimes end at a time of day, waits after a time."""
    with opened() as state:
        state.clean_passes.put("p", "files", "config", CleanPass("token", clock.now() + 3600))
        assert state.clean_passes.get("p", "files", "config") is not None
    clock.step(step)
    with opened() as state:
        assert state.clean_passes.get("p", "files", "config") is None
        state.clean_passes.put("p", "files", "config", CleanPass("token", clock.now() + 3600))
        assert state.clean_passes.get("p", "files", "config") == CleanPass("token", clock.now() + 3600)


@STEPS
def test_a_run_of_today_is_kept_for_its_days(opened: Callable[[], StateDir], clock: FakeClock, step: float) -> None:
    """Its age is never what the clock was set by, so it can still be undone."""
    with opened() as state:
        for _ in range(30):
            state.journal.begin("apply").finish({})
            clock.advance(1)
        clock.step(step)
        for _ in range(30):
            state.journal.begin("apply").finish({})
            clock.advance(1)
        state.journal.prune(max_age=90 * DAY)
        assert len(state.journal.runs(100)) == 60


def test_a_machine_that_starts_in_the_past_goes_on(tmp_path: Path, clock: FakeClock) -> None:
    """After a start without a clock of its own, nothing that waits is older or younger than it was when it was last seen."""
    with StateDir.open(tmp_path / "state", writable=True, clock=clock) as state:
        state.removals.update("p", [KEY], clock.now())
        clock.advance(1000)
    with StateDir.open(tmp_path / "state", writable=True, clock=clock):
        pass  # seen 1000 s later
    started = FakeClock(start=0)
    with StateDir.open(tmp_path / "state", writable=True, clock=started) as state:
        started.advance(10)
        assert started.now() - state.removals.since("p")[KEY] == 1010


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"boot": "x", "offset": NaN, "at": 1}', "\x00"])
def test_a_damaged_timeline_begins_again(tmp_path: Path, clock: FakeClock, text: str) -> None:
    """It costs no more than that waits are counted by the wall clock once."""
    (tmp_path / "state").mkdir(mode=0o700)
    (tmp_path / "state" / FILE_NAME).write_text(text)
    with StateDir.open(tmp_path / "state", writable=True, clock=clock) as state:
        state.removals.update("p", [KEY], clock.now())
        assert state.removals.since("p") == {KEY: clock.now()}
