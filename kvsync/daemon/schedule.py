"""Regular passes: an interval or a cron expression, with jitter, and the less frequent deep pass.

APScheduler keeps the time. `DebugExecutor` runs its jobs synchronously in the loop: the default executor starts a task for
each job, and a shutdown cancels such a task and logs an error when a beat is due at that moment.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from random import uniform
from typing import Any

from apscheduler.executors.debug import DebugExecutor
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.interval import IntervalTrigger

from kvsync.config.model import RunConfig
from kvsync.planning.cron import Cron

DEFAULT_JITTER = 0.1
"""Share of the interval, when the configuration says nothing."""


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


class Schedule:
    """Calls `on_beat(deep)` in the loop at every beat."""

    def __init__(self, on_tick: Callable[[bool], None]) -> None:
        self._on_beat = on_tick
        self._scheduler: Any = None

    def start(self, settings: RunConfig) -> None:
        """Beat as these settings say, and no longer as earlier ones did."""
        self.stop()
        beats = {deep: trigger for deep, trigger in ((False, regular(settings)), (True, deep_one(settings))) if trigger}
        if not beats:
            return
        logging.getLogger("apscheduler").setLevel(logging.WARNING)
        self._scheduler = AsyncIOScheduler(
            timezone=UTC,
            executors={"default": DebugExecutor()},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )
        for deep, trigger in beats.items():
            self._scheduler.add_job(self._due, trigger, args=(self._scheduler, deep))
        self._scheduler.start()

    def stop(self) -> None:
        """Beat no more."""
        if self._scheduler is not None:
            self._scheduler.shutdown(wait=False)
            self._scheduler = None

    @property
    def next_beat(self) -> float | None:
        """When it beats next (epoch seconds), None when it does not."""
        jobs = self._scheduler.get_jobs() if self._scheduler is not None else ()
        return min((job.next_run_time.timestamp() for job in jobs if job.next_run_time is not None), default=None)

    def _due(self, scheduler: AsyncIOScheduler, deep: bool) -> None:
        # APScheduler computes the next time only after the job returns, and `on_tick` reads `next_beat`.
        asyncio.get_running_loop().call_soon(self._tick, scheduler, deep)

    def _tick(self, scheduler: AsyncIOScheduler, deep: bool) -> None:
        if scheduler is self._scheduler:  # a scheduler that was stopped may have had a beat due
            self._on_beat(deep)


def regular(settings: RunConfig) -> BaseTrigger | None:
    """Return when ordinary passes are due: by cron, else by interval, else never."""
    if settings.cron is not None:
        return CronTrigger(settings.cron, settings.jitter)
    return _interval(settings.every, settings.jitter)


def deep_one(settings: RunConfig) -> BaseTrigger | None:
    """Return when deep passes are due."""
    return _interval(settings.deep_every, settings.jitter)


def _interval(seconds: float | None, jitter: float | None) -> BaseTrigger | None:
    if seconds is None:
        return None
    spread = seconds * DEFAULT_JITTER if jitter is None else jitter
    return IntervalTrigger(seconds=seconds, jitter=spread or None, timezone=UTC)
