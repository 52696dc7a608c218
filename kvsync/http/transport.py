"""HTTP connections to one origin. The only module that imports an HTTP client library.

The code uses httpx's transport interface. It does not need what httpx's client adds: redirects, cookies, merging of URLs. The
transport is our own, straight on a session of aiohttp that kvsync configures: the proxy, no headers that nobody asked for, no
cookies, and no request that is repeated.

CPU time of a small PUT on a kept connection, relative to aiohttp without httpx, with 16 requests in flight: this module 1.5,
the transport of `httpx-aiohttp` in its place 2.0, `httpx-aiohttp` with httpx's client 3, httpx with its own transport 11.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Final
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from kvsync import __version__
from kvsync.errors import PermanentError
from kvsync.http.abort import AbortableConnector, aborted_on_failure
from kvsync.http.body import in_pieces, length_header
from kvsync.http.broken_connection import CONNECT_SECONDS, PROXY_PASSWORD, connection_error
from kvsync.http.headers import checked_headers, headers_by_name
from kvsync.http.model import NotAnsweredError, Request, Response
from kvsync.http.proxy import Proxy, proxy_for
from kvsync.http.received import ReceivedBody, sink_receiver
from kvsync.http.route import USUAL, Route
from kvsync.http.trust import trusting
from kvsync.model.answer_limits import AnswerLimits
from kvsync.util.imports import left_out
from kvsync.util.write_fence import Fence

with left_out("httpx._main"):  # its command-line program, with all of rich, is a third of what the connections import
    import httpx

_IDLE: Final = 60.0
"""Seconds for which an unused connection is kept."""

_OWN: Final = ("Accept", "Accept-Encoding", "User-Agent")
"""Headers that aiohttp would add automatically."""

_ALWAYS: Final = {"User-Agent": f"kvsync/{__version__}"}

_URL: Final = "kvsync.url"
_HEADERS: Final = "kvsync.headers"
"""Extensions in which the transport finds the URL and the headers of a request, and leaves the headers of the response, all
exactly as they go over the wire. httpx would rewrite the URL, and copy, encode and decode each header three times."""

_TIMEOUT: Final = aiohttp.ClientTimeout(sock_connect=CONNECT_SECONDS)
"""The only time that aiohttp measures: `exchange` bounds the request as a whole."""


class Transport:
    """Connections to one origin (`https://host:port`), at most `connections` at once.

    The `fence` is checked before a write is sent, and before each chunk of a long one. Must be made in a running event loop.
    Raises PermanentError for an origin, a CA file, a certificate or a proxy that cannot be used, AuthError for a URL of a proxy
    that cannot be read.
    """

    def __init__(
        self,
        origin: str,
        connections: int,
        route: Route = USUAL,
        limits: AnswerLimits | None = None,
        fence: Fence | None = None,
    ) -> None:
        self._origin, self._url, self._host = origin, _url(origin), host_of(origin)
        self._proxy, self._limits = proxy_for(origin, route.proxy), limits or AnswerLimits()
        self._fence = fence
        # A context without authorities costs nothing; no TLS is spoken with it.
        context = (
            trusting(route.ca_file, httpx.create_ssl_context, route.certificate)
            if origin.startswith("https:")
            else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        )
        self._transport = _SessionTransport(_session(connections, context, self._proxy))

    async def exchange(self, call: Request, headers: Mapping[str, str], seconds: float) -> Response:
        """Send once, and receive the whole response within so many seconds. Raises NotSentError, NotAnsweredError,
        NotLeader, and PermanentError if the server's certificate is not trusted."""
        request = self._request(call, headers)
        body = ReceivedBody(self._limits)
        try:
            with aborted_on_failure(self._check if call.writes else None):
                async with asyncio.timeout(seconds) as limit:
                    keep = None if call.sink is None else sink_receiver(call.sink, limit, seconds)
                    response = await self._receive(request, body, keep)
        except (httpx.TransportError, aiohttp.ClientError) as error:  # some of aiohttp's are a TimeoutError, too
            cause = error.__cause__ if isinstance(error, httpx.TransportError) else error
            raise connection_error(cause or error, self._host, self._proxy) from error
        except TimeoutError:
            raise NotAnsweredError(f"no response from {self._host} within {seconds:g} s") from None
        except (OSError, EOFError) as error:
            raise connection_error(error, self._host, self._proxy) from error
        if response.status_code == PROXY_PASSWORD and self._proxy is not None:
            raise PermanentError(self._proxy.refusal)
        by_name = headers_by_name(response.extensions[_HEADERS])
        return Response(response.status_code, by_name, b"".join(body.pieces), host=self._host)

    async def _receive(
        self, request: httpx.Request, body: ReceivedBody, keep: Callable[[bytes], bool] | None
    ) -> httpx.Response:
        """Send a request, and receive the body: that of a 200 with `keep` if it is given, any other in `body`."""
        response = await self._transport.handle_async_request(request)
        stream = response.stream
        assert isinstance(stream, httpx.AsyncByteStream)
        try:
            is_good = response.status_code == 200
            take = keep if keep is not None and is_good else body.take_whole if is_good else body.take_start
            async for piece in stream:
                if not take(piece):
                    break
        finally:
            await stream.aclose()
        return response

    async def aclose(self) -> None:
        """Close all connections. Idempotent."""
        await self._transport.aclose()

    def _check(self) -> None:
        """Raise NotLeader if no write may be sent now."""
        if self._fence is not None:
            self._fence.check()

    def _request(self, call: Request, headers: Mapping[str, str]) -> httpx.Request:
        """Return the request. Its signature covers the target exactly as it is sent. Raises PermanentError."""
        fence = self._fence if call.writes and self._fence is not None and self._fence.follows_lease else None
        as_written = {**_ALWAYS, **headers, **length_header(call.body, fence)}
        return httpx.Request(
            call.method,
            self._url,
            stream=_SentBody(in_pieces(call.body, fence)),
            extensions={_URL: URL(self._origin + call.target, encoded=True), _HEADERS: checked_headers(as_written)},
        )


class _SentBody(httpx.AsyncByteStream):
    """The body of a request, which aiohttp takes as it is."""

    def __init__(self, content: bytes | AsyncIterator[bytes]) -> None:
        self.content = content


class _ReceivedStream(httpx.AsyncByteStream):
    """The body of a response, in the chunks in which it arrived."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        content = self._response.content
        while piece := await content.readany():
            yield piece

    async def aclose(self) -> None:
        """Give the connection back, or close it if something of the response is left."""
        self._response.release()
        await self._response.wait_for_close()


class _SessionTransport(httpx.AsyncBaseTransport):
    """httpx's transport interface on a session of aiohttp, for requests whose body is a `_SentBody`. Errors are those of
    aiohttp."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, and receive the head of the response."""
        assert isinstance(request.stream, _SentBody)
        response = await self._session.request(
            request.method,
            request.extensions[_URL],
            headers=request.extensions[_HEADERS],
            data=request.stream.content or None,
            allow_redirects=False,
            auto_decompress=False,
            timeout=_TIMEOUT,
        )
        stream, extensions = _ReceivedStream(response), {_HEADERS: response.raw_headers}
        return httpx.Response(response.status, stream=stream, extensions=extensions)

    async def aclose(self) -> None:
        """Close all connections. Idempotent."""
        await self._session.close()


def _session(connections: int, context: ssl.SSLContext, proxy: Proxy | None) -> aiohttp.ClientSession:
    """Return the session that sends requests."""
    return aiohttp.ClientSession(
        connector=AbortableConnector(limit=connections, keepalive_timeout=_IDLE, ssl=context),
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=_OWN,
        proxy=None
        if proxy is None
        else proxy.url,  # found once: aiohttp's own way looks for one, and for a netrc file, at every request
        middlewares=(_send_once,),
    )


async def _send_once(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Keep aiohttp from repeating a request.

    aiohttp sends a GET, PUT or DELETE again after `ClientOSError` or `ServerDisconnectedError` on a kept connection, so a write
    could take place twice. Other errors pass.
    """
    try:
        return await send(request)
    except aiohttp.ClientConnectorError:  # a ClientOSError that means that nothing was sent, and is not retried
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise httpx.ReadError(type(error).__name__) from error


def _url(origin: str) -> httpx.URL:
    try:
        return httpx.URL(origin)
    except (httpx.InvalidURL, ValueError):
        raise PermanentError(f"no connection can be made to {origin!r}; correct the endpoint") from None


def host_of(origin: str) -> str:
    """The Host header for an origin: with the port if it is not the default of the scheme."""
    parts = urlsplit(origin)
    usual = {"https": 443, "http": 80}.get(parts.scheme)
    name = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    return name if parts.port in (None, usual) else f"{name}:{parts.port}"
