"""OpenTelemetry spans: one per pass, with a child span per store call. OpenTelemetry is imported only after
`kvsync.tracing.export` starts it.

    with span("pass", store="edge", namespace="web") as note:
        note(pending=3)

Attributes are names of stores and namespaces, counts and words of kvsync's own: never a key, a value, or the text of an error.
Nothing of it is sent to stores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

Attribute = str | int | float | bool
Note = Callable[..., None]
"""Adds attributes to a span."""

VARIABLES: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
"""Either of these variables asks for traces, as it does elsewhere."""

_tracer: list[Tracer] = []  # of this process, one or none


def is_wanted(endpoint: str | None, environ: Mapping[str, str]) -> bool:
    """True when the configuration (`endpoint`) or the environment asks for traces."""
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    return endpoint is not None or any(environ.get(name) for name in VARIABLES)


def use(tracer: Tracer | None) -> None:
    """Make spans with this from now on; None: no more."""
    _tracer[:] = [tracer] if tracer is not None else []


@contextmanager
def span(name: str, **attributes: Attribute) -> Iterator[Note]:
    """A span around a block. An exception leaves its type there, and not its text."""
    if not _tracer:
        yield _nothing
        return
    from opentelemetry.trace import StatusCode

    named = _named(attributes)
    with _tracer[0].start_as_current_span(
        name, attributes=named, record_exception=False, set_status_on_exception=False
    ) as made:
        try:
            yield lambda **more: made.set_attributes(_named(more))
        except BaseException as error:
            made.set_attribute("error.type", type(error).__name__)
            made.set_status(StatusCode.ERROR)
            raise


def _named(attributes: Mapping[str, Attribute]) -> dict[str, Attribute]:
    return {f"kvsync.{name}": value for name, value in attributes.items()}


def _nothing(**_attributes: Attribute) -> None:
    """Add nothing to no span."""
