"""Logging: one event per line on stderr, without secrets.

    log = get_logger()
    log.info("drift.detected", store="edge", namespace="web", key="greeting")

Events and their fields are registered in `kvsync.logs.events`. structlog costs a tenth of a second to import: nothing here
imports it before the first event of an enabled level.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TextIO, cast

from kvsync.util.lazy_names import lazy_names
from kvsync.util.redaction import REDACTOR, Redactor

if TYPE_CHECKING:
    from kvsync.logs.events import EVENTS, events_table
    from kvsync.logs.pipeline import Pipeline

__all__ = ["EVENTS", "LEVELS", "Format", "Log", "configure", "events_table", "get_logger", "in_background"]

Format = Literal["console", "json"]

LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}
"""Levels by name, with the numbers of the standard library."""


class Log:
    """The log of this process. Silent until `configure`."""

    __slots__ = ("_pipeline", "_settings", "_threshold")

    def __init__(self) -> None:
        self._pipeline: Pipeline | None = None
        self._settings: tuple[Format, Redactor, bool] | None = None
        self._threshold = 0

    def configure(self, log_format: Format, level: str, redactor: Redactor, stream: TextIO) -> None:
        """See `kvsync.logs.configure`."""
        from kvsync.logs.handler import install

        # Asked now: by the first event, the stream may be gone.
        self._settings = (log_format, redactor, stream.isatty() and not os.environ.get("NO_COLOR"))
        self._threshold = LEVELS[level]
        self._pipeline = None
        install(self._rendered, stream, os.environ)

    def debug(self, event: str, **fields: Any) -> None:
        """Log what helps to find a mistake."""
        self._emit("debug", event, fields)

    def info(self, event: str, **fields: Any) -> None:
        """Log what happened."""
        self._emit("info", event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        """Log what a person should look at."""
        self._emit("warning", event, fields)

    def error(self, event: str, **fields: Any) -> None:
        """Log what a person must look at. `exc_info=True` adds the exception at hand, without the values of variables."""
        self._emit("error", event, fields)

    def is_enabled(self, level: str) -> bool:
        """True when events of this level are written."""
        return self._settings is not None and LEVELS[level] >= self._threshold

    def _emit(self, level: str, event: str, fields: dict[str, Any]) -> None:
        assert _is_registered(event), f"{event} is not registered in kvsync.logs.events"
        if self.is_enabled(level):
            self._through().emit(level, event, fields)

    def _through(self) -> Pipeline:
        if self._pipeline is None:
            from kvsync.logs.pipeline import Pipeline

            assert self._settings is not None
            log_format, redactor, colors = self._settings
            self._pipeline = Pipeline(log_format, redactor, colors=colors)
        return self._pipeline

    def _rendered(self, record: Any) -> str:
        return self._through().render(record)


def _is_registered(event: str) -> bool:
    from kvsync.logs.events import EVENTS

    return event in EVENTS


@lru_cache(maxsize=1)
def get_logger() -> Log:
    """The log of this process."""
    return Log()


def configure(
    log_format: Format = "console", level: str = "info", redactor: Redactor = REDACTOR, stream: TextIO | None = None
) -> None:
    """Write events from `level` on (`debug`, `info`, `warning`, `error`) to `stream`, standard error by default.

    `console` is for people, `json` one object a line. Records of other libraries join from WARNING on. When systemd's journal
    reads the stream, each line begins with its priority. May be called again.
    """
    get_logger().configure(log_format, level, redactor, stream or sys.stderr)


@contextmanager
def in_background() -> Iterator[None]:
    """Inside, a thread writes the log, and logging never blocks: for a daemon. What is dropped is counted (`log.dropped`). A
    stream without a descriptor is written to as before."""
    from kvsync.logs.background import BackgroundStream
    from kvsync.logs.handler import replace_stream, stream_descriptor

    descriptor = stream_descriptor()
    if descriptor is None:
        yield
        return
    background = BackgroundStream(descriptor, lambda count: get_logger().warning("log.dropped", lines=count))
    before = replace_stream(cast(TextIO, background))
    try:
        yield
    finally:
        is_read = background.close()
        if before is not None:
            replace_stream(before)
        if not is_read and before is sys.stderr:  # else an error message at the end would never return
            sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115  # until the process ends


if not TYPE_CHECKING:  # else type checkers would accept every name
    __getattr__ = lazy_names(__name__, {"events": "EVENTS events_table"})
