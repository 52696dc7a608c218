"""Listener of the HTTP server, in the daemon's event loop, at an address that can change on reload."""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from kvsync.config.model import Credential, RunConfig
from kvsync.config.values import host_and_port, is_loopback
from kvsync.errors import KvsyncError
from kvsync.logs import get_logger
from kvsync.status.http.app import application
from kvsync.status.http.connections import Listener, most_connections
from kvsync.status.http.parts import AppParts
from kvsync.status.http.shared_secret import Secret
from kvsync.status.page.paths import EVENTS_PATH

IDLE: Final = 30.0
"""Seconds after which a connection is closed on which no request came, or only half of one."""

LEAVE_WITHIN: Final = 0.5
"""Seconds that requests have to end when the daemon leaves."""

_CURES: Final = {
    errno.EADDRINUSE: "another program is using that port; stop it, or set another port",
    errno.EADDRNOTAVAIL: "this machine does not have that address",
    errno.EACCES: "ports below 1024 need privileges; set another port",
}

_log = get_logger()


class Server:
    """HTTP server of the daemon. Call `use` with the settings at the start, and whenever they change."""

    def __init__(self, parts: AppParts, resolve: Callable[[Credential], str]) -> None:
        self._parts, self._resolve = parts, resolve
        self._listener = Listener(self._protocol, streams=frozenset({EVENTS_PATH}))
        app = application(parts)
        app.middlewares.insert(0, self._listener.tracking())
        self._runner = web.AppRunner(
            app,
            access_log=None,
            logger=_library_log(),
            handle_signals=False,
            keepalive_timeout=IDLE,
            lingering_time=1.0,
            shutdown_timeout=LEAVE_WITHIN,
        )
        self._listen: str | None = None

    @property
    def url(self) -> str | None:
        """Where it listens, None while it does not."""
        address = self._listener.address
        if address is None:
            return None
        host, port = address
        return f"http://{f'[{host}]' if ':' in host else host}:{port}"

    async def use(self, run: RunConfig) -> None:
        """Listen where these settings say, to those whom they say. Raises KvsyncError, and changes nothing, when that cannot
        be."""
        token = self._secret(run.token, "run.token")
        secret = self._secret(run.hook.secret, "run.hook.secret") if run.hook is not None else None
        access, hook = self._parts.access, self._parts.hook
        before = access.token, access.loopback, self._listener.most
        # From the first request on: nothing that others can reach is ever open to them.
        access.token = token
        self._listener.most = most_connections(run.connections)
        access.loopback = run.listen is None or is_loopback(host_and_port(run.listen)[0])
        try:
            await self._move(run.listen)
        except KvsyncError:
            access.token, access.loopback, self._listener.most = before
            raise
        hook.secret, hook.branches = secret, run.hook.branches if run.hook is not None else ()

    async def reuse(self, run: RunConfig) -> None:
        """The same after a reload: what cannot be is logged, and all stays as it was."""
        try:
            await self.use(run)
        except KvsyncError as error:
            _log.error("http.unavailable", listen=run.listen, error=str(error), code=error.code)

    async def close_on_shutdown(self) -> None:
        """Close as soon as the daemon begins to leave."""
        await self._parts.collector.leaving.wait()
        await self.aclose()

    async def aclose(self) -> None:
        """Stop listening and end all connections, within a second or so. Idempotent."""
        self._listener.stop()
        self._listen = None
        await self._parts.hook.aclose()
        await self._runner.cleanup()

    def _secret(self, credential: Credential | None, what: str) -> Secret | None:
        if credential is None:
            return None
        secret = Secret(credential, self._resolve, what)
        secret.text()  # what cannot be read must be known now, and not at the first request
        return secret

    async def _move(self, listen: str | None) -> None:
        if listen == self._listen:
            return
        if listen is None:
            self._listener.stop()
        else:
            await self._begin(listen)
        self._listen = listen
        if listen is not None:
            access = self._parts.access
            _log.info("http.listening", url=self.url, loopback=access.loopback, token=access.token is not None)

    async def _begin(self, listen: str) -> None:
        if self._runner.server is None:
            await self._runner.setup()
        host, port = host_and_port(listen)
        try:
            await self._listener.listen(host, port)
        except OSError as error:
            cure = _CURES.get(error.errno or 0, error.strerror or str(error))
            raise KvsyncError(f"run.listen: cannot listen on {listen}: {cure}") from None

    def _protocol(self) -> web.RequestHandler:
        assert self._runner.server is not None
        return self._runner.server()


def _library_log() -> logging.Logger:
    """The library's log, without what is not HTTP: whoever sends that must not fill ours with it, and it may hold a token."""
    log = logging.getLogger("aiohttp.server.kvsync")
    log.addFilter(_is_ours)
    return log


def _is_ours(record: logging.LogRecord) -> bool:
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


@asynccontextmanager
async def closing(server: Server) -> AsyncIterator[Server]:
    """Close it at the end of the block, or as soon as the daemon begins to leave."""
    leaving = asyncio.create_task(server.close_on_shutdown())
    try:
        yield server
    finally:
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        await server.aclose()
