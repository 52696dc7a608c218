"""Exports spans to a collector, as OTLP over HTTP. The only module that imports the OpenTelemetry SDK."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from kvsync import __version__
from kvsync.errors import UsageError
from kvsync.tracing import is_wanted, use


@asynccontextmanager
async def exporting(endpoint: str | None, environ: Mapping[str, str]) -> AsyncIterator[None]:
    """Send spans while inside, to `endpoint` (the base URL of a collector) or where the environment says, if either asks for
    it. What is left is sent at the end. Raises UsageError when the extra is not installed."""
    if not is_wanted(endpoint, environ):
        yield
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise UsageError(
            "run.tracing or OTEL_EXPORTER_OTLP_ENDPOINT is set, but the packages for tracing are not installed; "
            "run pip install 'kvsync[tracing]'"
        ) from None
    named = {"service.name": environ.get("OTEL_SERVICE_NAME", "kvsync"), "service.version": __version__}
    provider = TracerProvider(resource=Resource.create(named), shutdown_on_exit=False)
    address = None if endpoint is None else f"{endpoint}/v1/traces"
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=address, timeout=5)))
    use(provider.get_tracer("kvsync", __version__))
    try:
        yield
    finally:
        use(None)
        await asyncio.to_thread(provider.shutdown)
