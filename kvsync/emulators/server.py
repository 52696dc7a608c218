"""HTTP server of every emulator: reads requests, injects faults, and sends responses."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
import struct
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from random import Random
from typing import Final

from aiohttp import StreamReader, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_parser import RawRequestMessage

from kvsync.emulators import build
from kvsync.emulators.clock import VirtualClock
from kvsync.emulators.control import PREFIX, Control
from kvsync.emulators.faults import Faults, InjectedFaults
from kvsync.emulators.model import Address, Answer, Emulator, Options, Parts, Request
from kvsync.emulators.origins import is_loopback, refusal
from kvsync.emulators.quantities import http_date
from kvsync.emulators.stats import Stats
from kvsync.emulators.storage import Storage
from kvsync.errors import KvsyncError, UsageError
from kvsync.util.escaping import encode_json

_LARGEST_BODY: Final = 128 * 1024**2  # bytes; the largest bulk call that one of the stores takes has 100 MB
_LONGEST_TARGET: Final = 64 * 1024  # bytes
_RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER of zero seconds: closing sends RST


@dataclass(frozen=True, slots=True)
class Running:
    """An emulator that listens. `url` goes into a store's `endpoint`, `env` is what clients read."""

    options: Options
    url: str
    env: dict[str, str]

    def ready_line(self) -> str:
        """The one line of JSON that says so."""
        fields = {"event": "emulator.ready", "type": self.options.type, "url": self.url, "env": self.env}
        return encode_json(fields)


@asynccontextmanager
async def running(options: Options, clock: VirtualClock | None = None) -> AsyncIterator[Running]:
    """Serve until the end of the block. Raises UsageError for options that make no sense, KvsyncError when it cannot listen."""
    _check(options)
    async with AsyncExitStack() as stack:
        storage = Storage(options.data and options.data / f"{options.type}.db")
        stack.callback(storage.close)
        random = Random(options.seed)  # noqa: S311  (repeatable on purpose)
        parts = Parts(options, clock or VirtualClock(), storage, random)
        emulator = build(options.type, parts)
        stack.callback(emulator.close)
        address = await _listen(stack, options, _Handler(emulator, parts, _faults(options)))
        yield Running(options, emulator.url(address), emulator.env(address) | _trust(address))


async def serve(options: Options) -> None:
    """Serve until SIGTERM or SIGINT; prints the ready line on stdout. Raises what `running` raises."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with running(options) as server:
        sys.stdout.write(server.ready_line() + "\n")
        sys.stdout.flush()
        await stop.wait()


def _check(options: Options) -> None:
    if not is_loopback(options.host):
        raise UsageError(f"an emulator listens on loopback only, not on {options.host}: its credentials are not secret")


def _faults(options: Options) -> Faults:
    try:
        return Faults(options.fault, options.seed)
    except ValueError as error:
        raise UsageError(f"--fault: {error}") from None


async def _listen(stack: AsyncExitStack, options: Options, handler: _Handler) -> Address:
    server = web.Server(
        handler,
        access_log=None,
        request_factory=_request,
        max_line_size=_LONGEST_TARGET,
        auto_decompress=handler.decodes,
    )
    runner = web.ServerRunner(server, shutdown_timeout=0.5)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    certificates = None
    if options.tls:
        from kvsync.emulators.tls import Certificates

        certificates = Certificates.make(options.host)
        stack.callback(certificates.close)
        stack.callback(_abort_connections, server)
    context = certificates.context if certificates else None
    site = web.TCPSite(runner, options.host, options.port, ssl_context=context, reuse_address=True)
    try:
        await site.start()
    except OSError as error:
        # The loop's own words repeat the address.
        reason = os.strerror(error.errno) if error.errno in errno.errorcode and error.errno else str(error)
        raise KvsyncError(f"cannot listen on {options.host}:{options.port}: {reason}") from None
    host = f"[{options.host}]" if ":" in options.host else options.host
    scheme = "https" if context else "http"
    return Address(f"{scheme}://{host}:{runner.addresses[0][1]}", certificates.ca if certificates else None)


def _abort_connections(server: web.Server) -> None:
    """End connections without a goodbye: TLS would wait for that of clients that keep theirs open."""
    for connection in server.connections:
        if connection.transport is not None:
            connection.transport.abort()


def _trust(address: Address) -> dict[str, str]:
    ca = str(address.ca)
    names = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS")
    return dict.fromkeys(names, ca) if address.ca else {}


def _request(
    message: RawRequestMessage,
    payload: StreamReader,
    protocol: web.RequestHandler,
    writer: AbstractStreamWriter,
    task: asyncio.Task[None],
) -> web.BaseRequest:
    loop = asyncio.get_running_loop()
    return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=_LARGEST_BODY)


class _Handler:
    """What is done with every request."""

    def __init__(self, emulator: Emulator, parts: Parts, faults: Faults) -> None:
        self._emulator, self._storage, self._clock = emulator, parts.storage, parts.clock
        self._faults, self._stats = faults, Stats()
        self._control = Control(emulator, parts.clock, faults, self._stats)
        self._control_paths = (PREFIX, emulator.url(Address("")) + PREFIX)
        self._allowed = parts.options.allowed_hosts
        self.decodes = not emulator.takes_encoded

    async def __call__(self, raw: web.BaseRequest) -> web.StreamResponse:
        refused = refusal(raw.headers.get("Host"), raw.headers.get("Origin"), self._allowed)
        if refused is not None:
            return self._response(refused)
        body = await raw.read()
        request = Request(raw.method, raw.raw_path, raw.headers, body, raw.scheme)
        if request.path.startswith(self._control_paths):
            answer = self._control.answer(request)
            self._storage.commit()
            return self._response(answer)
        return await self._serve(raw, request)

    async def _serve(self, raw: web.BaseRequest, request: Request) -> web.StreamResponse:
        emulator = self._emulator
        fate = self._faults.next_faults(request.method, writes=emulator.writes(request), pages=emulator.pages(request))
        if fate.latency:
            await self._clock.sleep(fate.latency)
        answer = self._decide(request, fate)
        self._storage.commit()
        status = answer.status if answer else None
        route = emulator.route(request)
        self._stats.count(request.method, route, request.target, status, fate.names)
        if answer is None:
            return _reset_connection(raw)
        if "cut" in fate.names and answer.body and request.method != "HEAD":
            return await _cut(raw, self._response(answer))
        sent = b"" if request.method == "HEAD" else answer.body
        self._stats.add_bytes(len(request.body), len(sent))
        return self._response(answer)

    def _decide(self, request: Request, fate: InjectedFaults) -> Answer | None:
        """The answer; None when there must be none."""
        if status := self._injected(fate):
            return self._emulator.failure(request, status)
        if "drop" in fate.names:
            return None
        if "foreign-write" in fate.names:
            self._emulator.write_concurrently(request)
        if fate.stale or fate.partial:
            request = replace(request, stale=fate.stale, partial=fate.partial)
        answer = self._emulator.answer(request)
        for name in sorted(fate.names & {"page-expiry", "page-write"}):
            self._emulator.shift_listing(request, ends=name == "page-expiry")
        if "drop-after-write" in fate.names:
            return None
        if status := self._injected(fate, "-after-write"):
            return self._emulator.failure(request, status)
        if "truncate" in fate.names:
            return Answer(answer.status, answer.headers, answer.body[: len(answer.body) // 2])
        return answer

    def _injected(self, fate: InjectedFaults, suffix: str = "") -> int | None:
        status = fate.status(suffix)
        return status if status != 200 or self._emulator.fails_under_200 else None

    def _response(self, answer: Answer) -> web.Response:
        headers = {"Server": "kvsync-emulator", "Date": http_date(self._clock.server_time()), **answer.headers}
        return web.Response(status=answer.status, headers=headers, body=answer.body or None)


def _reset_connection(raw: web.BaseRequest) -> web.Response:
    """End the connection with RST, as a crashed server or a dropped route does."""
    if raw.transport is not None:
        connection: socket.socket | None = raw.transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        raw.transport.abort()
    return web.Response(status=500)


async def _cut(raw: web.BaseRequest, answer: web.Response) -> web.StreamResponse:
    """Promise the whole body, send half of it, and hang up."""
    body = answer.body
    assert isinstance(body, bytes)
    partial = web.StreamResponse(status=answer.status, headers=answer.headers)
    partial.content_length = len(body)
    await partial.prepare(raw)
    await partial.write(body[: len(body) // 2])
    if raw.transport is not None:
        raw.transport.close()
    return partial
