"""Console format of log events."""

from __future__ import annotations

import time
from typing import Any, Final

from structlog.typing import EventDict, WrappedLogger

_FOR_MACHINES: Final = frozenset(
    {"etag", "before", "after", "run", "store", "namespace", "key", "label", "file", "line", "column"}
)
_FIRST: Final = ("timestamp", "level", "event")


def for_people(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Join the names of an entry or a place into one field, show moments as times, and leave out what says nothing."""
    rest = {name: value for name, value in event.items() if name not in _FIRST and name not in _FOR_MACHINES}
    if "next" in rest and isinstance(rest["next"], float):
        rest["next"] = _moment(rest["next"])
    head = {name: event[name] for name in _FIRST if name in event}
    shown = head | _named(event) | rest
    return {name: value for name, value in shown.items() if value not in (None, "", [], (), {}) and value is not False}


def _moment(epoch: float) -> str:
    """A moment of this day as a time alone, any other with its day: a renewal may be weeks away."""
    moment, now = time.localtime(epoch), time.localtime()
    return time.strftime("%H:%M:%S" if moment[:3] == now[:3] else "%Y-%m-%dT%H:%M:%S", moment)


def _named(event: EventDict) -> dict[str, Any]:
    names: dict[str, Any] = {}
    if event.get("file"):
        numbers = (event.get("line"), event.get("column"))
        names["at"] = ":".join(str(part) for part in (event["file"], *numbers) if part is not None)
    target = "/".join(str(part) for part in (event.get("store"), event.get("namespace")) if part)
    if event.get("key") is not None:
        label = event.get("label")
        names["entry"] = f"{target}/{event['key']}" + (f" [{label}]" if label is not None else "")
    elif target:
        names["target"] = target
    return names
