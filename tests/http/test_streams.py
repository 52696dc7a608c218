"""Bodies too long for memory, and calls that wait for a turn of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from kvsync.errors import PermanentError, TransientError
from kvsync.http.client import Client
from kvsync.http.client_options import ClientLimits, ClientOptions
from kvsync.http.model import Request
from kvsync.model.health import Traffic
from kvsync.testing import FakeClock
from tests.http.script_server import Exchange, hangs_up, says, serving


class LimitedSink:
    """Takes a body in, up to a limit."""

    def __init__(self, most: int = 10_000_000) -> None:
        self._most = most
        self.text, self.began = b"", 0

    @property
    def size(self) -> int:
        return len(self.text)

    def begin(self) -> None:
        self.text = b""
        self.began += 1

    def write(self, piece: bytes) -> None:
        if len(self.text) + len(piece) > self._most:
            raise PermanentError("too much")
        self.text += piece


class RecordingLimiter:
    """Counts who asked for a turn, and what answers said."""

    def __init__(self) -> None:
        self.taken = 0
        self.told: list[str | None] = []

    async def take(self) -> None:
        self.taken += 1

    def observe(self, headers: Mapping[str, str]) -> None:
        self.told.append(headers.get("x-ratelimit-limit"))


def client(origin: str, traffic: Traffic | None = None, timeout: float = 60) -> Client:
    return Client("store web", origin, FakeClock(), traffic or Traffic(), ClientOptions(limits=ClientLimits(timeout)))


async def test_a_body_goes_to_its_sink() -> None:
    """The body of a 200 goes into the sink and is counted, and not into the answer; any other body stays with its answer."""
    body = b"x" * 1_500_000
    async with serving(says(200, body), says(404, b"none")) as server:
        kept, traffic = LimitedSink(), Traffic()
        one = client(server.origin, traffic)
        answer = await one.send(Request("GET", "/", "fetching", sink=kept))
        assert (answer.body, kept.text, traffic.bytes_received) == (b"", body, len(body))
        answer = await one.send(Request("GET", "/", "fetching", expects=(404,), sink=kept))
        assert (answer.body, kept.text) == (b"none", b"")
        await one.aclose()


async def test_a_body_that_breaks_off_is_begun_again() -> None:
    """What a broken answer brought is forgotten before the call is sent again."""
    async with serving(hangs_up, says(200, b"whole")) as server:
        kept, one = LimitedSink(), client(server.origin)
        await one.send(Request("GET", "/", "fetching", sink=kept))
        assert (kept.text, kept.began) == (b"whole", 2)
        await one.aclose()


async def test_a_body_that_is_too_much_is_final() -> None:
    """A sink that refuses ends the call, and it is not repeated."""
    async with serving(says(200, b"x" * 100)) as server:
        one = client(server.origin)
        with pytest.raises(PermanentError, match="too much"):
            await one.send(Request("GET", "/", "fetching", sink=LimitedSink(50)))
        assert len(server.seen) == 1
        await one.aclose()


class SlowServer:
    """Sends a body in pieces that are 40 s apart by the clock of the event loop, which is moved once a piece was taken in."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, sink: LimitedSink) -> None:
        self._sink, self._ahead = sink, 0.0
        loop = asyncio.get_running_loop()
        real = loop.time
        monkeypatch.setattr(loop, "time", lambda: real() + self._ahead)

    async def __call__(self, exchange: Exchange) -> None:
        exchange.writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
        for number in range(5):
            exchange.writer.write(b"x")
            while self._sink.size <= number:  # noqa: ASYNC110 - the sink belongs to the client
                await asyncio.sleep(0)
            self._ahead += 40
            await asyncio.sleep(0)


async def _stops(exchange: Exchange) -> None:
    """Begin, and never go on."""
    exchange.writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\nx")
    await exchange.writer.drain()
    await asyncio.Event().wait()


async def test_a_long_body_may_take_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as something comes, a body with a sink is waited for beyond the time of a call; a pause as long ends it."""
    kept = LimitedSink()
    async with serving(SlowServer(monkeypatch, kept)) as server:
        one = client(server.origin, timeout=60)
        await one.send(Request("GET", "/", "fetching", sink=kept))
        assert (kept.size, kept.began) == (5, 1)
        await one.aclose()
    async with serving(_stops) as server:
        one = client(server.origin, timeout=0.1)
        with pytest.raises(TransientError, match="no response"):
            await one.send(Request("GET", "/", "fetching", sink=LimitedSink()))
        await one.aclose()


async def test_a_turn_is_taken_for_every_attempt() -> None:
    """A call with a turn of its own waits for it each time it is sent, and tells it what the answers say."""
    async with serving(says(503), says(200, X_RateLimit_Limit="50")) as server:
        turns, one = RecordingLimiter(), client(server.origin)
        await one.send(Request("GET", "/", "asking", limiter=turns))
        await one.send(Request("GET", "/", "asking"))
        assert (turns.taken, turns.told) == (2, [None, "50"])
        await one.aclose()
