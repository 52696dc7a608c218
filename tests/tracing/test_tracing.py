"""Traces: one span a pass, a store call each below, taken by a real receiver of OTLP over HTTP."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from kvsync.tracing import is_wanted, span, use
from tests.status.support import process, repository, want
from tests.support.command import ROOT

RUN = "run: {every: 1h, tracing: {endpoint: 'URL'}}\n"


@dataclass
class Collector:
    """Takes traces, and keeps their spans, with their attributes."""

    url: str = ""
    spans: list[Any] = field(default_factory=list)
    raw: bytes = b""

    async def handle(self, request: web.Request) -> web.Response:
        assert request.path == "/v1/traces"
        body = await request.read()
        body = gzip.decompress(body) if body.startswith(b"\x1f\x8b") else body
        self.raw += body
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.spans += [one for scope in resource.scope_spans for one in scope.spans]
        return web.Response(body=b"", content_type="application/x-protobuf")

    def named(self, name: str) -> list[Any]:
        return [one for one in self.spans if one.name == name]


def attributes(one: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in one.attributes}


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    collector = Collector()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", collector.handle)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    collector.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield collector
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("through", ["configuration", "environment"])
async def test_a_pass_is_a_span_with_store_calls_below(tmp_path: Path, through: str) -> None:
    """A daemon sends a span for each pass and one for each call of the store below it, with names and counts, and neither keys
    nor values; what is left is sent when it leaves."""
    async with collecting() as collector:
        is_configured = through == "configuration"
        repository(tmp_path, RUN.replace("URL", collector.url) if is_configured else "")
        want(tmp_path, the_key="the-value")
        environ = {} if is_configured else {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
        async with process(tmp_path, **environ) as daemon:
            await daemon.logged("daemon.ready")
            daemon.process.send_signal(signal.SIGTERM)
            assert await daemon.over() == 0
    (one,) = collector.named("pass")
    told = attributes(one)
    assert (told["kvsync.store"], told["kvsync.namespace"], told["kvsync.trigger"]) == ("main", "web", "start")
    assert (told["kvsync.ok"], told["kvsync.applied"], told["kvsync.pending"]) == (True, 1, 0)
    calls = [call for call in collector.spans if call.name.startswith("store.")]
    assert {"store.observe", "store.write"} <= {call.name for call in calls}
    assert {call.parent_span_id for call in calls} == {one.span_id}
    assert attributes(collector.named("store.write")[0])["kvsync.entries"] == 1
    assert b"the_key" not in collector.raw
    assert b"the-value" not in collector.raw


def test_an_error_leaves_its_type_alone() -> None:
    """A span that ends in an exception is marked with its type; its text, which may name a key, is not kept."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    use(provider.get_tracer("test"))
    try:
        with pytest.raises(ValueError, match="the-key"), span("pass", store="main"):
            raise ValueError("the-key")
    finally:
        use(None)
    (one,) = exporter.get_finished_spans()
    assert one.status.status_code.name == "ERROR"
    assert dict(one.attributes or {}) == {"kvsync.store": "main", "error.type": "ValueError"}
    assert not one.events
    assert "the-key" not in one.to_json()


def test_off_unless_asked_for(tmp_path: Path) -> None:
    """Nothing of OpenTelemetry is imported by a pass that nobody wants traced."""
    repository(tmp_path, "")
    command = [sys.executable, "-X", "importtime", "-m", "kvsync", "run", "--once"]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60, check=True)
    assert "kvsync.tracing" in done.stderr
    assert "opentelemetry" not in done.stderr


@pytest.mark.parametrize(
    ("endpoint", "environ", "wanted"),
    [
        (None, {}, False),
        ("http://127.0.0.1:4318", {}, True),
        (None, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, True),
        (None, {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, True),
        ("http://127.0.0.1:4318", {"OTEL_SDK_DISABLED": "true"}, False),
    ],
)
def test_who_asks(endpoint: str | None, environ: dict[str, str], wanted: bool) -> None:
    """The configuration and the usual variables ask for traces, and OTEL_SDK_DISABLED ends that."""
    assert is_wanted(endpoint, environ) is wanted
