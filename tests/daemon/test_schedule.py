"""The regular beats."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from kvsync.daemon.schedule import CronBeat, Schedule, deep_one, regular
from tests.daemon.support import QUIET, until


def test_cron_beats_in_utc_as_crontab_says() -> None:
    """Weekday 5 is Friday, also for APScheduler, and the hours are UTC."""
    now = datetime(2026, 11, 21, tzinfo=UTC)
    assert CronBeat("0 22 * * 5", None).get_next_fire_time(None, now) == datetime(2026, 11, 27, 22, tzinfo=UTC)


def test_jitter_delays_and_never_repeats_a_beat() -> None:
    """A beat comes up to `jitter` seconds late, and the one after it is that of the next time the expression names."""
    beat, previous, now = CronBeat("*/10 * * * *", 60), None, datetime(2026, 11, 21, tzinfo=UTC)
    for number in range(1, 50):
        due = datetime(2026, 11, 21, tzinfo=UTC) + timedelta(minutes=10 * number)
        fired = beat.get_next_fire_time(previous, now)
        assert fired is not None
        assert due <= fired <= due + timedelta(seconds=60)
        previous, now = fired, fired


def test_cron_excludes_the_interval_and_nothing_means_never() -> None:
    """An expression takes the place of the interval; without both there is no regular beat, and no deep one unless asked."""
    assert isinstance(regular(replace(QUIET, every=300, cron="* * * * *")), CronBeat)
    assert regular(QUIET) is None
    assert deep_one(QUIET) is None


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
