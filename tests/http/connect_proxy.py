"""A small HTTP proxy on real sockets that opens tunnels (CONNECT)."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field


@dataclass
class ConnectProxy:
    """`seen` are the hosts and ports that were asked for. With `user` (`name:password`), it asks for them. Every name leads to
    `destination`; without one, tunnels are refused."""

    user: str | None = None
    destination: tuple[str, int] | None = None
    address: str = ""
    seen: list[str] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request, and carry what follows in both directions."""
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            self.seen.append(head.split()[1])
            proof = None if self.user is None else b64encode(self.user.encode()).decode()
            if proof is not None and f"Basic {proof}" not in head:
                writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            elif self.destination is None:
                writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            else:
                far_reader, far_writer = await asyncio.open_connection(*self.destination)
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                await asyncio.gather(_carry(reader, far_writer), _carry(far_reader, writer))
        writer.close()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while piece := await reader.read(65536):
            writer.write(piece)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def tunnelling(
    user: str | None = None, destination: tuple[str, int] | None = None, host: str = "127.0.0.1"
) -> AsyncIterator[ConnectProxy]:
    """Serve until the end of the block."""
    proxy = ConnectProxy(user, destination)
    server = await asyncio.start_server(proxy.serve, host, 0)
    shown = f"[{host}]" if ":" in host else host
    proxy.address = f"{shown}:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
