"""Decides whether a pass may apply (observe mode, pauses, maintenance windows, leadership)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from kvsync.config.model import Window
from kvsync.daemon.waiting import wait_until
from kvsync.daemon.windows import is_denied, next_change
from kvsync.logs import get_logger
from kvsync.model.entry import Target
from kvsync.planning.permit import PermitInputs, hold_of
from kvsync.util.clock import Clock
from kvsync.util.values import dataclass

LONGEST_TRUST = 3600.0
"""Seconds after which the windows are asked again although they knew of no change."""

_log = get_logger()


@dataclass(frozen=True, slots=True)
class _WindowState:
    """Which window denies from `since` until `until`, at the earliest, and the next change that is known."""

    since: float
    until: float
    change: float | None
    denied_by: Window | None


class Gate:
    """Knows the windows, the pauses, whether this replica leads, and whether the daemon only observes. Shut means: plan yes,
    apply no."""

    def __init__(
        self, windows: tuple[Window, ...], *, observe: bool, clock: Clock, leads: Callable[[], bool] = lambda: True
    ) -> None:
        self.observe, self.leads = observe, leads
        self._paused: set[Target] = set()
        self._windows, self._clock = windows, clock
        self._replaced = asyncio.Event()
        self._known: _WindowState | None = None

    def replace_windows(self, windows: tuple[Window, ...]) -> None:
        """Put other windows into force."""
        self._windows, self._known = windows, None
        self._replaced.set()

    def set_paused(self, target: Target, *, paused: bool) -> bool:
        """Note whether a target is paused. Returns whether that is news."""
        if paused == (target in self._paused):
            return False
        (self._paused.add if paused else self._paused.discard)(target)
        emit = _log.warning if paused else _log.info
        emit("target.paused" if paused else "target.resumed", store=target.store, namespace=target.namespace)
        return True

    def is_paused(self, target: Target) -> bool:
        """True if the target was paused when that was last noted."""
        return target in self._paused

    @property
    def denied_by(self) -> Window | None:
        """The window that denies applying now."""
        return self._now().denied_by

    @property
    def changes_at(self) -> float | None:
        """When the windows next begin or end to deny (epoch seconds); None when never."""
        return self._now().change

    def may_apply(self, target: Target) -> bool:
        """True if a pass of this target may write at this moment."""
        now = PermitInputs(
            observes=self.observe,
            is_paused=target in self._paused,
            is_denied=self.denied_by is not None,
            leads=self.leads(),
        )
        return hold_of(now) is None

    async def watch(self, on_change: Callable[[], None]) -> None:
        """Call `on_change` whenever the windows begin or end to deny, also if they do at first; until cancelled."""
        denied = False
        while True:
            self._replaced.clear()
            if denied != (self.denied_by is not None):
                denied = not denied
                on_change()
            await wait_until(self._replaced, partial(self._seconds_left, denied), self._clock)

    def _seconds_left(self, was_denied: bool) -> float:
        """Seconds until there may be another answer; 0 once there is, also because the wall clock was set."""
        now = self._now()
        return 0 if was_denied != (now.denied_by is not None) else now.until - self._clock.now()

    def _now(self) -> _WindowState:
        """What holds now. Asked at every batch, so it is worked out once for each stretch of time."""
        now = self._clock.now()
        if self._known is None or not self._known.since <= now < self._known.until:
            change = next_change(self._windows, now)
            until = now + LONGEST_TRUST if change is None else change
            self._known = _WindowState(now, until, change, is_denied(self._windows, now))
        return self._known
