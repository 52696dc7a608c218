"""Worker of one target: runs one pass at a time, combines triggers, and schedules the next pass."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from random import Random
from typing import Protocol

from kvsync.daemon.ports import PATIENT
from kvsync.daemon.triggers import NOTHING, PendingTriggers
from kvsync.daemon.waiting import wait_until
from kvsync.model.entry import Target
from kvsync.model.result import PassResult, Trigger
from kvsync.util.backoff import Backoff
from kvsync.util.clock import Clock

MIN_GAP = 1.0
"""Seconds to wait at least when a moment is still due after the pass that it caused."""


class PassSource(Protocol):
    """Interface through which a worker runs its passes."""

    async def run_pass(self, worker: Worker, ask: PendingTriggers) -> PassResult:
        """Do one pass. Raises nothing but CancelledError."""
        ...

    def pass_done(self, worker: Worker, result: PassResult) -> None:
        """Receive the result of a pass, once the worker knows when its next one is due."""
        ...


class Worker:
    """Does the passes of one target, never two at once.

    A suspended worker (no file names its target any more) ends the pass in flight after the batch, and does nothing until it
    is resumed, so there is never a second worker for a target. `slot` bounds the passes of one store at a time.
    """

    def __init__(
        self, target: Target, passes: PassSource, slot: AbstractAsyncContextManager[object], clock: Clock, rng: Random
    ) -> None:
        self.target = target
        self.last: PassResult | None = None
        self.running = False
        self._passes, self._slot, self._clock = passes, slot, clock
        self._backoff, self._overdue = Backoff(rng), Backoff(rng)
        self._asked = NOTHING
        self._woken = asyncio.Event()
        self._suspended = self._leaving = False
        self._retry_at: float | None = None  # on the monotonic clock
        self._moment: float | None = None  # on the wall clock
        self._moment_after = 0.0  # the same on the monotonic clock: the wall clock may be set back
        self._not_before = 0.0  # on the monotonic clock, for the moment

    @property
    def suspended(self) -> bool:
        """True while the target is not managed."""
        return self._suspended

    @property
    def must_stop(self) -> bool:
        """True when a pass in flight must end after its batch, and none must begin."""
        return self._suspended or self._leaving

    @property
    def is_waiting(self) -> bool:
        """True while a pass is due that has not begun."""
        left = None if self.running or self.must_stop else self._seconds_left()
        return left is not None and left <= 0

    @property
    def next_pass(self) -> float | None:
        """When this worker does its next pass without a trigger (epoch seconds); None if it waits for one."""
        left = self._timer_left()
        return None if left is None else self._clock.now() + max(left, 0)

    @property
    def next_trigger(self) -> Trigger | None:
        """Why this worker does its next pass without a trigger; None if it waits for one."""
        if self._retry_at is not None:
            return Trigger.RETRY
        return None if self._moment is None else Trigger.TIMER

    def ask(self, trigger: Trigger, *, deep: bool = False) -> None:
        """Request a pass. Requests before it begins are combined into one pass; requests while it runs cause one more."""
        if self.must_stop:
            return
        self._asked = self._asked.add(trigger, deep=deep)
        if trigger not in PATIENT:
            self._backoff.reset()
            self._retry_at = None
        self._woken.set()

    def suspend(self) -> None:
        """Do no more passes until resumed."""
        self._suspended = True
        self._forget()

    def resume(self) -> None:
        """Take up work again."""
        self._suspended = False

    def stop_after_pass(self) -> None:
        """Let `run` return once the pass in flight is over."""
        self._leaving = True
        self._forget()
        self._woken.set()

    async def run(self) -> None:
        """Do passes until `leave` is called."""
        while not self._leaving:
            await wait_until(self._woken, self._seconds_left, self._clock)
            self._woken.clear()
            left = self._seconds_left()
            if left is not None and left <= 0:
                await self.pass_now()

    async def pass_now(self) -> None:
        """Do the pass that was asked for or is due, once there is a slot."""
        async with self._slot:
            ask = self._take()
            if ask == NOTHING:  # retired, or about to leave, since it waits for the slot
                return
            self.running = True
            try:
                result = await self._passes.run_pass(self, ask)
                self.last = result.brief()
            finally:
                self.running = False
        self._plan_next(result)
        self._passes.pass_done(self, result)

    def _seconds_left(self) -> float | None:
        if self._asked != NOTHING and self._retry_at is None:
            return 0
        return self._timer_left()

    def _timer_left(self) -> float | None:
        if self._retry_at is not None:
            return self._retry_at - self._clock.monotonic()
        if self._moment is not None:
            now = self._clock.monotonic()
            left = min(self._moment - self._clock.now(), self._moment_after - now)
            return max(left, self._not_before - now)
        return None

    def _forget(self) -> None:
        self._asked, self._moment, self._retry_at = NOTHING, None, None

    def _take(self) -> PendingTriggers:
        ask, left = self._asked, self._timer_left()
        if left is not None and left <= 0:
            ask = ask.add(Trigger.TIMER if self._retry_at is None else Trigger.RETRY)
        self._forget()
        return ask

    def _plan_next(self, result: PassResult) -> None:
        if self.must_stop:
            return
        self._retry_later(result)
        self._moment, self._not_before = result.next_moment, 0.0
        left = 0.0 if self._moment is None else self._moment - self._clock.now()
        self._moment_after = self._clock.monotonic() + left
        if self._moment is None or left > 0:
            self._overdue.reset()
        else:
            self._not_before = self._clock.monotonic() + self._overdue.fail(MIN_GAP)

    def _retry_later(self, result: PassResult) -> None:
        if self._asked.triggers - PATIENT:  # someone did something meanwhile: look again at once
            return
        if result.retryable:
            delay = self._backoff.fail(result.retry_after)
        elif result.unavailable:
            delay = self._backoff.give_up()
        else:  # done, or held: then only a change of the files helps, and renewals do not wait for it
            self._backoff.reset()
            return
        self._retry_at = self._clock.monotonic() + delay
