"""From an event to a line, by structlog: ours and other libraries' alike, redacted last before they are rendered."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import Any, Final, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from kvsync.logs.people import for_people
from kvsync.secrets import Redactor

_FIRST: Final = ("timestamp", "level", "event")


class Pipeline:
    """Turns events into records of the standard library's logging, and records into lines."""

    def __init__(self, log_format: str, redactor: Redactor, stream: TextIO) -> None:
        stamp: Sequence[Processor] = (structlog.stdlib.add_log_level, _timestamp(log_format))
        self._logger = structlog.wrap_logger(
            logging.getLogger("kvsync"),
            processors=[*stamp, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
            wrapper_class=structlog.stdlib.BoundLogger,
        )
        self._formatter = structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *stamp],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _exceptions(log_format),
                _order,
                _redaction(redactor),
                *_rendering(log_format, stream),
            ],
        )

    def emit(self, level: str, event: str, fields: dict[str, Any]) -> None:
        """Send one of our events on its way."""
        getattr(self._logger, level)(event, **fields)

    def render(self, record: logging.LogRecord) -> str:
        """The line (or lines, with an exception for people) of a record, ours or foreign."""
        return self._formatter.format(record)


def _timestamp(log_format: str) -> Processor:
    if log_format == "json":
        return structlog.processors.TimeStamper(fmt="iso", utc=True)
    return structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False)


def _exceptions(log_format: str) -> Processor:
    """Exceptions without the values of local variables, which may be secret."""
    if log_format == "json":
        transform = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        return structlog.processors.ExceptionRenderer(transform)
    return structlog.processors.format_exc_info


def _order(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return {**{name: event[name] for name in _FIRST if name in event}, **event}


def _redaction(redactor: Redactor) -> Processor:
    def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        clean: dict[str, Any] = redactor.redact_data(event)
        return clean

    return redact


def _rendering(log_format: str, stream: TextIO) -> Sequence[Processor]:
    if log_format == "json":
        return [structlog.processors.JSONRenderer(default=str)]
    colors = stream.isatty() and not os.environ.get("NO_COLOR")
    renderer = structlog.dev.ConsoleRenderer(
        colors=colors, sort_keys=False, pad_event_to=18, exception_formatter=structlog.dev.plain_traceback
    )
    return [for_people, _for_terminals, renderer]


def _for_terminals(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Without control characters: a key must not steer the terminal it is shown on."""
    return {name: _printable(value, keep="\n" if name == "exception" else "") for name, value in event.items()}


def _printable(value: Any, keep: str) -> Any:
    if isinstance(value, list | tuple):
        value = ",".join(map(str, value))
    if not isinstance(value, str | dict):
        return value
    return "".join(char if char.isprintable() or char in keep else _escaped(char) for char in str(value))


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode()
