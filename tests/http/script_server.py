"""A scripted server on real sockets without an HTTP library, so that a response can break off at any byte."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

_RESET = struct.pack("ii", 1, 0)

Act = Callable[["Exchange"], Awaitable[None]]
"""What is done with one request."""


@dataclass
class Exchange:
    """One request as it arrived, and the way back."""

    line: str
    headers: dict[str, str]
    body: bytes
    writer: asyncio.StreamWriter = field(repr=False)


@dataclass
class ScriptServer:
    """`seen` are the requests so far; the last act is repeated forever."""

    acts: Sequence[Act]
    origin: str = ""
    seen: list[Exchange] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                line, *rest = head.decode("latin-1").strip().split("\r\n")
                headers = {name.lower(): value.strip() for name, _, value in (one.partition(":") for one in rest)}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                exchange = Exchange(line, headers, body, writer)
                self.seen.append(exchange)
                await self.acts[min(len(self.seen), len(self.acts)) - 1](exchange)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def serving(*acts: Act, tls: ssl.SSLContext | None = None) -> AsyncIterator[ScriptServer]:
    """Serve until the end of the block."""
    script = ScriptServer(acts)
    server = await asyncio.start_server(script.serve, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    script.origin = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    try:
        yield script
    finally:
        server.close()


def says(status: int, body: bytes = b"{}", **headers: str) -> Act:
    """Answer whole. Underscores in the names of headers become dashes."""

    async def act(exchange: Exchange) -> None:
        lines = [f"HTTP/1.1 {status} Words", f"Content-Length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        exchange.writer.write("\r\n".join((*lines, "", "")).encode() + body)
        await exchange.writer.drain()

    return act


async def resets(exchange: Exchange) -> None:
    """End the connection with RST and no answer."""
    connection: socket.socket = exchange.writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    exchange.writer.transport.abort()


async def disconnects(exchange: Exchange) -> None:
    """Close the connection without a byte of an answer."""
    exchange.writer.close()


async def hangs_up(exchange: Exchange) -> None:
    """Promise more than is sent."""
    exchange.writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"a": ')
    await exchange.writer.drain()
    exchange.writer.close()


async def is_silent(_exchange: Exchange) -> None:
    """Never answer."""
    await asyncio.Event().wait()


async def drips(exchange: Exchange) -> None:
    """Answer so slowly that every single read has something to show for."""
    exchange.writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while True:
        exchange.writer.write(b" ")
        await exchange.writer.drain()
        await asyncio.sleep(0.01)
