"""File watcher: reports in which directories something changed, and which paths the events named.

Built on watchfiles' notifier, directory by directory. What inotify cannot see is covered by looking at the directories'
identities after every burst, and by a scan now and then; where inotify has no watches left, by looking every other second.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path

from watchfiles._rust_notify import RustNotify, WatchfilesRustInternalError

from kvsync.daemon.watch_plan import WatchPlan, plan_watches
from kvsync.logs import get_logger
from kvsync.util.values import dataclass

STEP_MS = 50
"""How often the notifier's queue is looked at: a change is seen within 100 ms. Each look wakes the process: at 100 looks a
second, they were more than half of the CPU time of an idle daemon."""

_OUTPUTS = (1, 2)
"""The descriptors that the log may be written to."""

_log = get_logger()


@dataclass(frozen=True, slots=True)
class WatchTiming:
    """Times in seconds: no event for `quiet` ends a burst, `longest` ends one that does not stop; without any event
    everything is looked at every `scan`, without a notifier every `poll`."""

    quiet: float = 0.03
    longest: float = 0.3
    scan: float = 30.0
    poll: float = 2.0


ChangeCallback = Callable[[frozenset[Path], frozenset[Path] | None], None]
"""Called with the armed directories in which something may have changed, and the real paths that events named; None if anything
in these directories may have changed."""


class Watcher:
    """Calls `on_change` with those of the armed directories in which something may have changed."""

    def __init__(self, on_change: ChangeCallback, pace: WatchTiming | None = None) -> None:
        self.pace = pace or WatchTiming()
        self._on_change = on_change
        self._directories: frozenset[Path] = frozenset()
        self._own: frozenset[Path] = frozenset()
        self._interrupt = threading.Event()
        self._polling = False

    def arm(self, directories: Iterable[Path], own: frozenset[Path] = frozenset()) -> None:
        """Watch exactly these absolute directories, whether they exist yet or not, from now on. Events of the `own` paths,
        which have no links in them, are ours and not reported."""
        wanted, self._own = frozenset(directories), own
        if wanted != self._directories:
            self._directories = wanted
            self._interrupt.set()

    def set_longest(self, seconds: float) -> None:
        """Hold a burst that does not stop no longer than this."""
        self.pace = replace(self.pace, longest=seconds, quiet=min(self.pace.quiet, seconds))

    async def run(self) -> None:
        """Watch until cancelled. Whatever was just armed is reported once, for what happened before."""
        try:
            while True:
                await self._run_armed()
        finally:
            self._interrupt.set()  # a thread that still waits would keep the process from leaving

    async def _run_armed(self) -> None:
        self._interrupt.clear()
        directories = self._directories
        watched = plan_watches(directories)
        notifier = self._notifier(watched)
        self._on_change(directories, None)
        if notifier is None:
            await asyncio.to_thread(self._interrupt.wait, self.pace.poll)
        else:
            await self._watch(notifier, watched, directories)

    def _notifier(self, watched: WatchPlan) -> RustNotify | None:
        try:
            notifier = RustNotify(
                watched.paths, False, False, 0, False, False
            )  # no debug, polling, delay, recursion, denial
        except (OSError, WatchfilesRustInternalError) as error:
            if not self._polling:
                _log.warning("watch.polling", error=str(error), directories=len(watched.paths), seconds=self.pace.poll)
            self._polling = True
            return None
        self._polling = False
        _log.info("watch.armed", directories=len(watched.paths))
        return notifier

    async def _watch(self, notifier: RustNotify, watched: WatchPlan, directories: frozenset[Path]) -> None:
        """Report bursts until other directories are armed, or these are no longer what they were."""
        scan_at = time.monotonic() + self.pace.scan
        with notifier:
            while True:
                events = await asyncio.to_thread(self._collect, notifier, max(scan_at - time.monotonic(), 0))
                if self._interrupt.is_set():
                    return
                news = frozenset(event for event in map(Path, events) if event not in self._own)
                is_scan = time.monotonic() >= scan_at  # also where events never pause
                if not news and not is_scan:
                    continue
                if plan_watches(directories) != watched:
                    return
                touched = directories if is_scan else watched.touched(news)
                scan_at = time.monotonic() + self.pace.scan if is_scan else scan_at
                if touched:
                    self._on_change(touched, None if is_scan else news)

    def _collect(self, notifier: RustNotify, seconds: float) -> set[str]:
        """Return the paths of one burst of events; nothing when there was none for so many seconds."""
        paths = self._events(notifier, seconds)
        ends = time.monotonic() + self.pace.longest
        more = paths
        while more and time.monotonic() < ends:
            more = self._events(notifier, self.pace.quiet)
            paths |= more
        return paths

    def _events(self, notifier: RustNotify, timeout: float) -> set[str]:
        found = notifier.watch(int(self.pace.longest * 1000), STEP_MS, max(1, int(timeout * 1000)), self._interrupt)
        return set() if isinstance(found, str) else {path for _, path in found}


def own_paths(paths: Iterable[Path]) -> frozenset[Path]:
    """These paths as events show them, with links in their folders resolved, and the files that this process logs to."""
    outputs = (Path(f"/proc/self/fd/{number}") for number in _OUTPUTS)
    resolve = cache(os.path.realpath)  # most of the paths are in the same few folders
    found = {Path(resolve(path.parent)) / path.name for path in paths}
    return frozenset(found | {Path(os.path.realpath(output)) for output in outputs if output.is_file()})
