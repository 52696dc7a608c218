"""Log handler that writes lines to a stream, with priorities for the systemd journal."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from typing import Final, TextIO

_PRIORITIES: Final = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (logging.NOTSET, 7))


class LogHandler(logging.StreamHandler[TextIO]):
    """Writes what `render` makes of a record. A stream that is gone, or a record that cannot be rendered, ends no one."""

    def __init__(self, render: Callable[[logging.LogRecord], str], stream: TextIO, *, journal: bool) -> None:
        super().__init__(stream)
        self._render, self._journal = render, journal

    def format(self, record: logging.LogRecord) -> str:
        """The text of a record; each of its lines begins with its priority when the journal reads it."""
        text = self._render(record)
        if not self._journal:
            return text
        priority = next(number for level, number in _PRIORITIES if record.levelno >= level)
        return "\n".join(f"<{priority}>{line}" for line in text.splitlines())

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # the standard library's name
        """Say nothing: what logging would print here is neither redacted nor of use to people."""


def stream_descriptor() -> int | None:
    """The descriptor of the stream that our handler writes to; None without a handler, or for a stream that has none."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, LogHandler):
            try:
                handler.stream.flush()
                return handler.stream.fileno()
            except (OSError, ValueError, AttributeError):
                return None
    return None


def replace_stream(stream: TextIO) -> TextIO | None:
    """Have our handler write to this stream from now on. Returns the stream from before; None when we have no handler."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, LogHandler):
            before, handler.stream = handler.stream, stream
            return before
    return None


def install(render: Callable[[logging.LogRecord], str], stream: TextIO, environ: Mapping[str, str]) -> None:
    """Make this the only handler of ours: for our events of every level, for other libraries from WARNING on."""
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, LogHandler)]:
        root.removeHandler(handler)
    root.addHandler(LogHandler(render, stream, journal=_is_journal(stream, environ)))
    root.setLevel(logging.WARNING)  # httpx logs whole URLs at INFO, apscheduler every tick
    logging.getLogger("kvsync").setLevel(logging.DEBUG)  # `Log` has its own threshold


def _is_journal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """True when $JOURNAL_STREAM names this very stream; children inherit the variable, also with another stream."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError, AttributeError):
        return False
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
