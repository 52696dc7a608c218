"""Regular passes: an interval or a cron expression, with jitter, and the less frequent deep pass.

Intervals follow the loop's monotonic clock: setting the wall clock neither stops nor repeats them. APScheduler keeps the time
of cron expressions, which mean the wall clock; after that was set, its jobs are planned again. `DebugExecutor` runs them
synchronously in the loop: the default executor starts a task for each job, and a shutdown cancels such a task and logs an
error when a tick is due at that moment.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from random import uniform
from typing import Any, Final

from apscheduler.executors.debug import DebugExecutor
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger

from kvsync.config.model import RunConfig
from kvsync.planning.cron import Cron
from kvsync.util.clock import Clock

DEFAULT_JITTER = 0.1
"""Share of the interval, when the configuration says nothing."""

STEP_LOOKS: Final = 15.0
"""Seconds between two looks whether the wall clock was set."""

SMALLEST_STEP: Final = 1.0
"""Seconds that the wall clock must move against the monotonic clock to count as set; NTP slews more slowly."""


class CronTrigger(BaseTrigger):  # type: ignore[misc]  # APScheduler ships no types
    """APScheduler trigger for a crontab(5) expression. APScheduler's own trigger counts weekdays from Monday, and wants both
    day fields to match."""

    def __init__(self, text: str, jitter: float | None) -> None:
        self._cron, self._jitter = Cron.parse(text), jitter or 0

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        """Return the next time the expression fires in UTC, up to `jitter` seconds late."""
        # A jittered fire time lies after the one it represents, so going on from it repeats nothing.
        start = max(previous_fire_time, now) if previous_fire_time else now
        moment = self._cron.after(start.timestamp(), UTC)
        return None if moment is None else datetime.fromtimestamp(moment + uniform(0, self._jitter), UTC)  # noqa: S311


@dataclass(frozen=True, slots=True)
class Interval:
    """A tick every `seconds`, each up to `jitter` seconds late."""

    seconds: float
    jitter: float


class IntervalTimer:
    """Calls `on_tick` at an interval, in the running loop. Ticks that a busy loop missed become one."""

    def __init__(self, interval: Interval, on_tick: Callable[[], None]) -> None:
        self._interval, self._on_tick = interval, on_tick
        self._loop = asyncio.get_running_loop()
        self._base = self._loop.time()
        self._plan()

    @property
    def seconds_left(self) -> float:
        """Seconds until the next tick."""
        return max(self._timer.when() - self._loop.time(), 0)

    def stop(self) -> None:
        """Stop calling. Idempotent."""
        self._timer.cancel()

    def _plan(self) -> None:
        missed = max(self._loop.time() - self._base, 0) // self._interval.seconds
        self._base += (missed + 1) * self._interval.seconds
        self._timer = self._loop.call_at(self._base + uniform(0, self._interval.jitter), self._tick)  # noqa: S311

    def _tick(self) -> None:
        self._plan()
        self._on_tick()


class Schedule:
    """Calls `on_tick(deep)` in the loop at every tick."""

    def __init__(self, on_tick: Callable[[bool], None], clock: Clock | None = None) -> None:
        self._on_tick, self._clock = on_tick, clock or Clock()
        self._timers: list[IntervalTimer] = []
        self._scheduler: Any = None
        self._step_timer: asyncio.TimerHandle | None = None
        self._offset = 0.0

    def start(self, settings: RunConfig) -> None:
        """Start the schedule of these settings, in place of the earlier one."""
        self.stop()
        for deep, timing in ((False, regular(settings)), (True, deep_schedule(settings))):
            if isinstance(timing, Interval):
                self._timers.append(IntervalTimer(timing, lambda deep=deep: self._on_tick(deep)))  # type: ignore[misc]
            elif timing is not None:
                self._start_cron(timing)

    def stop(self) -> None:
        """Stop calling. Idempotent."""
        while self._timers:
            self._timers.pop().stop()
        if self._step_timer is not None:
            self._step_timer.cancel()
            self._step_timer = None
        if self._scheduler is not None:
            self._scheduler.shutdown(wait=False)
            self._scheduler = None

    @property
    def next_tick(self) -> float | None:
        """Time of the next tick (epoch seconds), None if none is planned."""
        jobs = self._scheduler.get_jobs() if self._scheduler is not None else ()
        moments = [job.next_run_time.timestamp() for job in jobs if job.next_run_time is not None]
        moments += [self._clock.now() + timer.seconds_left for timer in self._timers]
        return min(moments, default=None)

    def _start_cron(self, trigger: CronTrigger) -> None:
        logging.getLogger("apscheduler").setLevel(logging.WARNING)
        self._scheduler = AsyncIOScheduler(
            timezone=UTC,
            executors={"default": DebugExecutor()},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )
        self._scheduler.add_job(self._due, trigger, args=(self._scheduler,))
        self._scheduler.start()
        self._offset = self._clock.now() - self._clock.monotonic()
        self._look_for_step_later(trigger)

    def _due(self, scheduler: AsyncIOScheduler) -> None:
        # APScheduler computes the next time only after the job returns, and `on_tick` reads `next_tick`.
        asyncio.get_running_loop().call_soon(self._tick, scheduler)

    def _tick(self, scheduler: AsyncIOScheduler) -> None:
        if scheduler is self._scheduler:  # a scheduler that was stopped may have had a tick due
            self._on_tick(False)

    def _look_for_step_later(self, trigger: CronTrigger) -> None:
        self._step_timer = asyncio.get_running_loop().call_later(STEP_LOOKS, self._look_for_step, trigger)

    def _look_for_step(self, trigger: CronTrigger) -> None:
        """Plan the cron job again when the wall clock was set, and tick once: a tick may have been skipped."""
        offset = self._clock.now() - self._clock.monotonic()
        if abs(offset - self._offset) < SMALLEST_STEP:
            self._look_for_step_later(trigger)
            return
        self._scheduler.shutdown(wait=False)
        self._start_cron(trigger)
        self._on_tick(False)


def regular(settings: RunConfig) -> CronTrigger | Interval | None:
    """Return when ordinary passes are due: by cron, else by interval, else never."""
    if settings.cron is not None:
        return CronTrigger(settings.cron, settings.jitter)
    return _interval(settings.every, settings.jitter)


def deep_schedule(settings: RunConfig) -> Interval | None:
    """Return when deep passes are due."""
    return _interval(settings.deep_every, settings.jitter)


def _interval(seconds: float | None, jitter: float | None) -> Interval | None:
    if seconds is None:
        return None
    return Interval(seconds, seconds * DEFAULT_JITTER if jitter is None else jitter)
