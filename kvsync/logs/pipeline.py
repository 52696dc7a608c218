"""structlog pipeline that turns events of kvsync and other libraries into redacted lines."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Final

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from kvsync.logs.people import for_people
from kvsync.util.escaping import encode_json, escape_text
from kvsync.util.redaction import Redactor

_FIRST: Final = ("timestamp", "level", "event")


class Pipeline:
    """Turns events into records of the standard library's logging, and records into lines."""

    def __init__(self, log_format: str, redactor: Redactor, *, colors: bool) -> None:
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
                *_rendering(log_format, colors=colors),
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


def _rendering(log_format: str, *, colors: bool) -> Sequence[Processor]:
    if log_format == "json":
        return [structlog.processors.JSONRenderer(encode_json, default=str)]
    renderer = structlog.dev.ConsoleRenderer(
        colors=colors, sort_keys=False, pad_event_to=18, exception_formatter=structlog.dev.plain_traceback
    )
    return [for_people, _for_terminals, renderer]


def _for_terminals(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Escaped: a key must not steer the terminal it is shown on."""
    return {name: _indented(value) if name == "exception" else _escaped(value) for name, value in event.items()}


def _escaped(value: Any) -> Any:
    if isinstance(value, list | tuple):
        value = ",".join(map(str, value))
    return escape_text(str(value)) if isinstance(value, str | dict) else value


def _indented(exception: Any) -> str:
    """A traceback with every line set in: an exception's text may have lines of its own, which must not look like events."""
    return "\n".join(f"  | {escape_text(line)}" for line in str(exception).split("\n"))
