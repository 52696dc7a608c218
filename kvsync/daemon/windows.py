"""Maintenance windows, in which a plan is made but not applied. Pure.

Deny wins. Where there are allow windows, applying is denied outside of them. A window lasts its duration in real seconds from
the moment its cron expression fires in its time zone, whatever the clock does meanwhile; it covers its first moment and not
its last.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from zoneinfo import ZoneInfo

from kvsync.config.model import Window
from kvsync.planning.cron import Cron

_MAX_EDGES = 1000
"""Edges to look at before giving up: windows that overlap without end never change."""


def is_denied(windows: Sequence[Window], now: float) -> Window | None:
    """Return the window that denies applying at `now` (epoch seconds), None when applying is allowed.

    Outside all allow windows, that is the allow window which opens next.
    """
    for window in windows:
        if window.deny and _is_open(window, now):
            return window
    allowing = [window for window in windows if not window.deny]
    if not allowing or any(_is_open(window, now) for window in allowing):
        return None
    return min(allowing, key=lambda window: _opens_after(window, now) or float("inf"))


def next_change(windows: Sequence[Window], now: float) -> float | None:
    """Return the first moment after `now` at which `is_denied` turns from a window to None or back.

    None when that never happens, or not before windows have opened and closed a thousand times.
    """
    denied = is_denied(windows, now) is not None
    moment = now
    for _ in range(_MAX_EDGES):
        edges = [edge for window in windows if (edge := _next_edge(window, moment)) is not None]
        if not edges:
            return None
        moment = min(edges)
        if (is_denied(windows, moment) is not None) != denied:
            return moment
    return None


def _is_open(window: Window, now: float) -> bool:
    opened = _opens_after(window, now - window.duration)
    return opened is not None and opened <= now


def _next_edge(window: Window, now: float) -> float | None:
    """Return the next moment at which the window may open or close: the end of the earliest opening in force, or an opening."""
    closing = _opens_after(window, now - window.duration)
    opening = _opens_after(window, now)
    edges = [opening] if opening is not None else []
    if closing is not None:
        edges.append(closing + window.duration)
    return min(edges, default=None)


def _opens_after(window: Window, moment: float) -> float | None:
    cron, zone = _parsed(window)
    return cron.after(moment, zone)


@lru_cache(maxsize=128)
def _parsed(window: Window) -> tuple[Cron, ZoneInfo]:
    return Cron.parse(window.cron), ZoneInfo(window.timezone)
