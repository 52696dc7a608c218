"""HTTP connections to one origin. The only module that imports an HTTP client library.

The code uses httpx's transport interface, with the transport of `httpx-aiohttp`. It does not need what httpx's client adds:
redirects, cookies, merging of URLs. An aiohttp session of our own, passed to that transport, settles what the transport leaves
to aiohttp: the proxy, headers that nobody asked for, cookies, and the two things that `_send_once_and_as_written` prevents.

CPU time of a small PUT on a kept connection, relative to aiohttp without httpx, with 16 requests in flight: this module 1.6,
`httpx-aiohttp` with httpx's client 3, httpx with its own transport 11.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from errno import errorcode
from os import strerror
from typing import Final
from urllib.parse import urlsplit

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport
from yarl import URL

from kvsync import __version__
from kvsync.errors import NotLeader, PermanentError
from kvsync.http.abort import AbortableConnector, aborted_on_failure
from kvsync.http.body import in_pieces, length_header
from kvsync.http.model import NotAnsweredError, NotSentError, Request, Response
from kvsync.http.proxy import Proxy, proxy_for
from kvsync.http.received import ReceivedBody, sink_receiver
from kvsync.http.route import USUAL, Route
from kvsync.http.trust import not_trusted, trusting
from kvsync.model.answer_limits import AnswerLimits
from kvsync.util.write_fence import Fence

_CONNECT: Final = 10.0
"""Seconds in which a connection must be made."""

_UNREACHABLE: Final = "check the endpoint and the network"
_NO_TLS: Final = "check that the endpoint speaks HTTPS"

_IDLE: Final = 60.0
"""Seconds for which an unused connection is kept."""

_PROXY_PASSWORD: Final = 407
"""The status with which a proxy requires a password."""

_OWN: Final = ("Accept", "Accept-Encoding", "User-Agent")
"""Headers that aiohttp would add automatically."""

_ALWAYS: Final = {"User-Agent": f"kvsync/{__version__}"}

_AS_WRITTEN: ContextVar[tuple[URL, Mapping[str, str]]] = ContextVar("_AS_WRITTEN")
"""The URL of the request that this task is sending, with path and query exactly as written, and its headers."""


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
        self._transport = AiohttpTransport(verify=context, client=_session(connections, context, self._proxy))

    async def exchange(self, call: Request, headers: Mapping[str, str], seconds: float) -> Response:
        """Send once, and receive the whole response within so many seconds. Raises NotSentError, NotAnsweredError,
        NotLeader, and PermanentError if the server's certificate is not trusted."""
        request = self._request(call)
        # httpx and aiohttp would both rewrite the URL, but a signature covers it exactly as it is sent. They would also copy,
        # encode and decode each header three times.
        _AS_WRITTEN.set((URL(self._origin + call.target, encoded=True), _checked({**_ALWAYS, **headers})))
        body = ReceivedBody(self._limits)
        try:
            with aborted_on_failure(self._check if call.writes else None):
                async with asyncio.timeout(seconds) as limit:
                    keep = None if call.sink is None else sink_receiver(call.sink, limit, seconds)
                    response = await self._receive(request, body, keep)
        except TimeoutError:
            raise NotAnsweredError(f"no response from {self._host} within {seconds:g} s") from None
        except (httpx.TransportError, aiohttp.ClientError, OSError, EOFError) as error:
            raise self._failed(error) from error
        if response.status_code == _PROXY_PASSWORD and self._proxy is not None:
            raise PermanentError(self._proxy.refusal)
        headers_by_name = _by_name(response.headers.raw)
        return Response(response.status_code, headers_by_name, b"".join(body.pieces), host=self._host)

    async def _receive(
        self, request: httpx.Request, body: ReceivedBody, keep: Callable[[bytes], bool] | None
    ) -> httpx.Response:
        """Send a request, and receive the body: that of a 200 with `keep` if it is given, any other in `body`."""
        response = await self._transport.handle_async_request(request)
        try:
            assert isinstance(response.stream, httpx.AsyncByteStream)
            is_good = response.status_code == 200
            take = keep if keep is not None and is_good else body.take_whole if is_good else body.take_start
            async for piece in response.stream:
                if not take(piece):
                    break
        finally:
            await response.aclose()
        return response

    async def aclose(self) -> None:
        """Close all connections. Idempotent."""
        await self._transport.aclose()

    def _check(self) -> None:
        """Raise NotLeader if no write may be sent now."""
        if self._fence is not None:
            self._fence.check()

    def _request(self, call: Request) -> httpx.Request:
        """Return the request with the headers of its body only."""
        fence = self._fence if call.writes and self._fence is not None and self._fence.follows_lease else None
        return httpx.Request(
            call.method,
            self._url,
            headers=length_header(call.body, fence),
            content=in_pieces(call.body, fence),
            extensions={"timeout": {"connect": _CONNECT}},
        )

    def _failed(self, error: Exception) -> PermanentError | NotSentError | NotAnsweredError:
        """Return the error that says what became of a request, by aiohttp's error class: the transport reports a broken
        connection as ConnectTimeout."""
        cause = error.__cause__ if isinstance(error, httpx.TransportError) else error
        to = f"to {self._host}" if self._proxy is None else f"to {self._host} through {self._proxy.label}"
        if isinstance(cause, aiohttp.ClientConnectorCertificateError):
            return not_trusted(cause.certificate_error)
        if isinstance(cause, aiohttp.ClientHttpProxyError) and self._proxy is not None:
            if cause.status == _PROXY_PASSWORD:
                return PermanentError(self._proxy.refusal)
            return NotSentError(f"no connection {to}: the proxy answered with status {cause.status}; check the proxy")
        if isinstance(cause, aiohttp.ClientProxyConnectionError) and self._proxy is not None:
            return NotSentError(f"no connection to {self._proxy.label}: {_reason(cause)}; check the proxy")
        if isinstance(cause, aiohttp.ConnectionTimeoutError):
            return NotSentError(f"no connection {to}: no answer within {_CONNECT:g} s; {_UNREACHABLE}")
        if isinstance(cause, aiohttp.ClientConnectorError):
            remedy = _NO_TLS if isinstance(cause.os_error, ssl.SSLError) else _UNREACHABLE
            return NotSentError(f"no connection {to}: {_reason(cause)}; {remedy}")
        if cause is not None and isinstance(cause.__cause__, NotLeader):
            return NotAnsweredError(
                "the lease ended before the request was sent completely; the next leader tries again"
            )
        broken = f"the connection {to} was lost before the response arrived"
        return NotAnsweredError(f"{broken} ({type(cause or error).__name__})")


def _session(connections: int, context: ssl.SSLContext, proxy: Proxy | None) -> aiohttp.ClientSession:
    """Return the session that sends requests."""
    return aiohttp.ClientSession(
        connector=AbortableConnector(limit=connections, keepalive_timeout=_IDLE, ssl=context),
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=_OWN,
        proxy=None
        if proxy is None
        else proxy.url,  # found once: aiohttp's own way looks for one, and for a netrc file, at every request
        middlewares=(_send_once_and_as_written,),
    )


async def _send_once_and_as_written(
    request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Set the URL and the headers of the request, and keep aiohttp from repeating it.

    aiohttp sends a GET, PUT or DELETE again after `ClientOSError` or `ServerDisconnectedError` on a kept connection, so a write
    could take place twice. Other errors pass.
    """
    request.url, headers = _AS_WRITTEN.get()
    request.headers.update(headers)
    try:
        return await send(request)
    except aiohttp.ClientConnectorError:  # a ClientOSError that means that nothing was sent, and is not retried
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise httpx.ReadError(type(error).__name__) from error


def _checked(headers: Mapping[str, str]) -> Mapping[str, str]:
    """The headers. Raises PermanentError if HTTP cannot carry them."""
    text = "".join([*headers, *headers.values()])
    if text.isascii() and text.isprintable():
        return headers
    raise PermanentError("a header contains characters that HTTP cannot carry; check the credential")


def _url(origin: str) -> httpx.URL:
    try:
        return httpx.URL(origin)
    except (httpx.InvalidURL, ValueError):
        raise PermanentError(f"no connection can be made to {origin!r}; correct the endpoint") from None


def _by_name(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers by lower-case name; several of one name are joined by commas."""
    headers: dict[str, str] = {}
    for name, value in raw:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return headers


def _reason(error: aiohttp.ClientConnectorError) -> str:
    """Why a connection failed, without the address, which the caller names."""
    system = error.os_error
    if isinstance(system, ssl.SSLError):  # its errno is OpenSSL's own number, not one of the system
        return f"the TLS handshake failed ({system.reason or system.strerror or str(system)})"
    if system.errno is not None and system.errno in errorcode:
        return strerror(system.errno)
    return system.strerror or str(error)  # strerror: a name that cannot be resolved


def host_of(origin: str) -> str:
    """The Host header for an origin: with the port if it is not the default of the scheme."""
    parts = urlsplit(origin)
    usual = {"https": 443, "http": 80}.get(parts.scheme)
    name = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    return name if parts.port in (None, usual) else f"{name}:{parts.port}"
