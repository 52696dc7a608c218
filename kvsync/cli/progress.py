"""Progress on stderr if the work takes long: on a terminal a bar with what is being waited for, elsewhere a line for each long
wait.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Lock, Thread, Timer
from typing import TYPE_CHECKING, Final

from kvsync.cli.output import print_message
from kvsync.util.escaping import escape_text
from kvsync.util.waits import WAITS

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_PATIENCE: Final = 0.5
"""Seconds of work that need no bar."""

_FIRST_LINE: Final = 3.0
"""Seconds between looks for a wait where there is no terminal."""

_NEXT_LINE: Final = 30.0
"""Seconds after a line about a wait until the next one."""

_MANY: Final = 200
"""Entries from which on the work is long, without waiting to see."""


class ProgressBar:
    """One bar. rich takes a while to import, so it is there only once there is something to show."""

    def __init__(self, what: str, total: int | None) -> None:
        self._what, self._total, self._done = what, total, 0
        self._lock = Lock()
        self._shown: tuple[Progress, TaskID] | None = None
        self._over = False

    def advance(self, count: int) -> None:
        """Say that `count` more entries are done."""
        with self._lock:
            self._done += count
            if self._shown:
                self._shown[0].update(self._shown[1], completed=self._done)

    def show(self) -> None:
        """Put the bar on the screen."""
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            ProgressColumn,
            SpinnerColumn,
            Task,
            TextColumn,
        )
        from rich.text import Text

        class WaitColumn(ProgressColumn):
            """What is being waited for, and how long still."""

            def render(self, task: Task) -> Text:
                wait = WAITS.longest()
                return Text("" if wait is None else escape_text(str(wait)), style="dim")

        columns: list[ProgressColumn] = [SpinnerColumn(), TextColumn("{task.description}")]
        if self._total is not None:
            columns += [BarColumn(), MofNCompleteColumn()]
        columns.append(WaitColumn())
        with self._lock:
            if self._over or self._shown:
                return
            progress = Progress(*columns, console=Console(file=sys.stderr), transient=True)
            self._shown = progress, progress.add_task(self._what, total=self._total, completed=self._done)
            progress.start()

    def end(self) -> None:
        """Take it off the screen."""
        with self._lock:
            self._over = True
            if self._shown:
                self._shown[0].stop()


def _report_waits(ended: Event) -> None:
    """Print what is being waited for, until `ended`: at first and then from time to time."""
    pause = _FIRST_LINE
    while not ended.wait(pause):
        wait = WAITS.longest()
        if wait is not None:
            print_message(f"kvsync: {wait}")
        pause = _FIRST_LINE if wait is None else _NEXT_LINE


@contextmanager
def _wait_lines() -> Iterator[None]:
    """Lines about waits while inside."""
    ended = Event()
    reporter = Thread(target=_report_waits, args=(ended,), name="waits", daemon=True)
    reporter.start()
    try:
        yield
    finally:
        ended.set()
        reporter.join()


@contextmanager
def progress(what: str, total: int | None = None) -> Iterator[ProgressBar]:
    """A bar while inside; one without an end when `total` is not known. Without a terminal, lines about long waits."""
    bar = ProgressBar(what, total)
    if not sys.stderr.isatty():
        with _wait_lines():
            yield bar
        return
    timer = Timer(_PATIENCE, bar.show)
    timer.daemon = True
    if total is not None and total > _MANY:
        bar.show()
    timer.start()
    try:
        yield bar
    finally:
        timer.cancel()
        bar.end()
