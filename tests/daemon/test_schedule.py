"""The regular beats."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from kvsync.daemon import schedule as schedule_module
from kvsync.daemon.schedule import CronTrigger, Schedule, deep_schedule, regular
from kvsync.util.clock import Clock
from tests.daemon.support import QUIET, turns, until


def test_cron_beats_in_utc_as_crontab_says() -> None:
    """Weekday 5 is Friday, also for APScheduler, and the hours are UTC."""
    now = datetime(2026, 11, 21, tzinfo=UTC)
    assert CronTrigger("0 22 * * 5", None).get_next_fire_time(None, now) == datetime(2026, 11, 27, 22, tzinfo=UTC)


def test_jitter_delays_and_never_repeats_a_beat() -> None:
    """A beat comes up to `jitter` seconds late, and the one after it is that of the next time the expression names."""
    beat, previous, now = CronTrigger("*/10 * * * *", 60), None, datetime(2026, 11, 21, tzinfo=UTC)
    for number in range(1, 50):
        due = datetime(2026, 11, 21, tzinfo=UTC) + timedelta(minutes=10 * number)
        fired = beat.get_next_fire_time(previous, now)
        assert fired is not None
        assert due <= fired <= due + timedelta(seconds=60)
        previous, now = fired, fired


def test_cron_excludes_the_interval_and_nothing_means_never() -> None:
    """An expression takes the place of the interval; without both there is no regular beat, and no deep one unless asked."""
    assert isinstance(regular(replace(QUIET, every=300, cron="* * * * *")), CronTrigger)
    assert regular(QUIET) is None
    assert deep_schedule(QUIET) is None


async def test_new_settings_replace_the_old_beat() -> None:
    """After a restart only the new settings beat, and after a stop nothing does."""
    beats: list[bool] = []
    schedule = Schedule(beats.append)
    schedule.start(replace(QUIET, every=0.02, jitter=0))
    await until(lambda: beats)
    schedule.start(replace(QUIET, deep_every=0.02, jitter=0))
    await asyncio.sleep(0)
    beats.clear()
    await until(lambda: len(beats) >= 2)
    assert all(beats)
    schedule.stop()
    schedule.stop()


async def test_a_loop_that_was_busy_gets_one_beat() -> None:
    """Beats that were missed while the loop was blocked are made up for by one, not by ten."""
    beats: list[bool] = []
    schedule = Schedule(beats.append)
    schedule.start(replace(QUIET, every=0.05, jitter=0))
    await until(lambda: beats)
    beats.clear()
    time.sleep(0.5)  # noqa: ASYNC251 - blocking the loop is the point
    await until(lambda: beats)
    schedule.stop()
    assert len(beats) < 5


class SteppedClock(Clock):
    """The system's clock, with the wall clock set by `stepped` seconds."""

    stepped = 0.0

    def now(self) -> float:
        return super().now() + self.stepped


OFTEN = replace(QUIET, every=0.001, jitter=0)


async def _due(beats: list[bool], steps: int) -> Schedule:
    """A schedule whose beat is due, `steps` turns of the loop after its timer could fire."""
    schedule = Schedule(beats.append)
    schedule.start(OFTEN)
    await turns(3)
    time.sleep(0.01)  # noqa: ASYNC251 - the beat becomes due while the loop is blocked
    await turns(steps)
    return schedule


@pytest.mark.parametrize("steps", range(6))
async def test_stopping_while_a_beat_is_due_logs_no_error(steps: int, caplog: pytest.LogCaptureFixture) -> None:
    """However far a due beat has come, a stop logs nothing, and the schedule does not beat after it."""
    beats: list[bool] = []
    schedule = await _due(beats, steps)
    schedule.stop()
    beats.clear()
    await turns()
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert beats == []


@pytest.mark.parametrize("steps", range(6))
async def test_a_reload_while_a_beat_is_due_logs_no_error(steps: int, caplog: pytest.LogCaptureFixture) -> None:
    """However far a due beat has come, new settings take its place and log nothing."""
    beats: list[bool] = []
    schedule = await _due(beats, steps)
    schedule.start(replace(QUIET, deep_every=3600, jitter=0))
    beats.clear()
    await turns()
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert beats == []
    schedule.stop()


async def test_next_beat_is_current_inside_the_callback() -> None:
    """When `on_tick` runs, `next_tick` is already the time of the following beat."""
    following: list[float | None] = []
    schedule = Schedule(lambda _deep: following.append(schedule.next_tick))
    schedule.start(replace(QUIET, every=0.02, jitter=0))
    await turns(3)
    first = schedule.next_tick
    await until(lambda: following)
    schedule.stop()
    assert first is not None
    assert following[0] is not None
    assert following[0] > first


@pytest.mark.parametrize("step", [-6 * 3600.0, 3 * 86400.0])
async def test_a_clock_that_is_set_neither_stops_nor_repeats_an_interval(step: float) -> None:
    """An interval follows the monotonic clock: after the wall clock was set, its beats come as before."""
    beats, clock = list[bool](), SteppedClock()
    schedule = Schedule(beats.append, clock)
    schedule.start(replace(QUIET, every=0.02, jitter=0))
    await until(lambda: beats)
    before = schedule.next_tick
    clock.stepped = step
    beats.clear()
    await until(lambda: len(beats) >= 2)
    following = schedule.next_tick
    schedule.stop()
    assert before is not None
    assert following is not None
    assert step < following - before < step + 60


@pytest.mark.parametrize("step", [-6 * 3600.0, 3 * 86400.0])
async def test_a_clock_that_is_set_plans_cron_again(step: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the wall clock was set cron beats once, because a beat may have been skipped."""
    monkeypatch.setattr(schedule_module, "STEP_LOOKS", 0.02)
    beats, clock = list[bool](), SteppedClock()
    schedule = Schedule(beats.append, clock)
    schedule.start(replace(QUIET, cron="0 0 1 1 *"))
    clock.stepped = step
    await until(lambda: beats)
    await asyncio.sleep(0.1)
    schedule.stop()
    assert beats == [False]
