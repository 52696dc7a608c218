"""HTTP transport: the only module that imports an HTTP library.

The code is written to httpx's transport interface, and the transport under it stands on aiohttp. Measured, in microseconds of
CPU for a small PUT on a connection that is kept, at 1 / 8 / 32 in flight:

    httpx as it comes                                                           1,900 / 1,500 / 4,200
    httpx's client over aiohttp                                                 830 / 630 / 460
    httpx's transport interface over aiohttp, the target handed through as is   220 / 170 / 160
    aiohttp without httpx                                                       210 / 150 / 145

Of httpx's client nothing is needed here: no redirects, no cookies, no merging of URLs.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterable, Mapping
from errno import errorcode
from io import BytesIO
from os import strerror
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx
from yarl import URL

from kvsync import __version__
from kvsync.errors import PermanentError
from kvsync.http.model import Answer, Call, NotAnsweredError, NotSentError, Sink

_CONNECT: Final = 10.0
"""Seconds in which a connection must be made."""

_IDLE: Final = 60.0
"""Seconds for which an unused connection is kept."""

_PIECE: Final = 512 * 1024
"""Bytes of a body that go out, or come in, at once."""

_OWN: Final = ("Accept", "Accept-Encoding", "User-Agent")
"""Headers that aiohttp would add automatically."""

_ALWAYS: Final = {"User-Agent": f"kvsync/{__version__}"}


class Wire:
    """Connections to one origin (`https://host:port`), at most `connections` at once. `ca_file` names the authorities to
    trust in place of the system's. Made inside a running event loop."""

    def __init__(self, origin: str, connections: int, ca_file: Path | None = None) -> None:
        self._url = httpx.URL(origin)
        self._transport = AiohttpTransport(
            connections, is_encrypted=origin.startswith("https:"), proxy=_proxy_for(origin), ca_file=ca_file
        )

    async def exchange(self, call: Call, headers: Mapping[str, str], seconds: float) -> Answer:
        """Send once, and have all of the answer within so many seconds, however slowly it drips. Raises NotSentError,
        NotAnsweredError, and PermanentError when the server's certificate is not trusted."""
        request = httpx.Request(
            call.method,
            self._url,
            headers={**_ALWAYS, **headers},
            content=call.body,
            extensions={"target": call.target.encode("ascii")},
        )
        try:
            async with asyncio.timeout(seconds) as limit:
                if call.sink is not None:
                    request.extensions["keep"] = _keeper(call.sink, limit, seconds)
                response = await self._transport.handle_async_request(request)
                assert isinstance(response.stream, httpx.AsyncByteStream)
                body = b"".join([chunk async for chunk in response.stream])
        except TimeoutError:
            raise NotAnsweredError(f"no response within {seconds:g} s") from None
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise _not_connected(error) from error
        except httpx.TransportError as error:
            raise NotAnsweredError(f"the connection was lost before the response arrived ({_named(error)})") from error
        return Answer(response.status_code, _by_name(response.headers.raw), body)

    async def aclose(self) -> None:
        """Close all connections. Idempotent."""
        await self._transport.aclose()


class AiohttpTransport(httpx.AsyncBaseTransport):
    """httpx's transport interface over aiohttp's connections. Honours the request extensions `target` and `keep`, which takes
    the pieces of a body that comes with 200."""

    def __init__(
        self, connections: int, *, is_encrypted: bool, proxy: str | None = None, ca_file: Path | None = None
    ) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=connections,
                keepalive_timeout=_IDLE,
                ssl=_trusting(ca_file) if is_encrypted else True,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=_OWN,
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT),
            proxy=proxy,  # found once: aiohttp's own way looks for one, and for a netrc file, at every request
            middlewares=(_send_once,),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """One exchange, read to its end. Raises httpx.TransportError."""
        try:
            async with self._session.request(
                request.method,
                _url(request),
                headers=[(name.decode("ascii"), value.decode("latin-1")) for name, value in request.headers.raw],
                data=_body(request.content),
                allow_redirects=False,
            ) as response:
                keep = request.extensions.get("keep")
                if keep is not None and response.status == 200:
                    async for piece in response.content.iter_chunked(_PIECE):
                        keep(piece)
                body = await response.read()
                return httpx.Response(response.status, headers=response.raw_headers, stream=httpx.ByteStream(body))
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise httpx.ConnectError(str(error)) from error
        except (aiohttp.ClientError, OSError, EOFError) as error:
            raise httpx.ReadError(type(error).__name__) from error

    async def aclose(self) -> None:
        """Close all connections. Idempotent."""
        await self._session.close()


async def _send_once(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Keep aiohttp from repeating a request. aiohttp sends a GET, PUT or DELETE again after `ClientOSError` or
    `ServerDisconnectedError` on a kept connection, so a write could take place twice. It lets other errors pass."""
    try:
        return await send(request)
    except aiohttp.ClientConnectorError:  # a ClientOSError that means that nothing was sent, and is not retried
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise httpx.ReadError(type(error).__name__) from error


def _keeper(sink: Sink, limit: asyncio.Timeout, seconds: float) -> Callable[[bytes], None]:
    """Fills a sink again. As long as something comes, time does not run out."""
    clock = asyncio.get_running_loop().time

    def keep(piece: bytes) -> None:
        sink.write(piece)
        limit.reschedule(clock() + seconds)

    sink.begin()
    return keep


def _trusting(ca_file: Path | None) -> ssl.SSLContext:
    return httpx.create_ssl_context() if ca_file is None else ssl.create_default_context(cafile=ca_file)


def _by_name(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers by lower-case name, several of one name joined by commas."""
    headers: dict[str, str] = {}
    for name, value in raw:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return headers


def _url(request: httpx.Request) -> URL:
    """The URL with the target as it was given, byte for byte: whoever signs it must know what is sent."""
    target = request.extensions.get("target", request.url.raw_path).decode("ascii")
    port = "" if request.url.port is None else f":{request.url.port}"
    return URL(f"{request.url.scheme}://{request.url.raw_host.decode('ascii')}{port}{target}", encoded=True)


def _body(content: bytes) -> bytes | BytesIO | None:
    """A body in pieces where it is long, so that sending it stops nothing else."""
    if not content:
        return None
    return BytesIO(content) if len(content) > _PIECE else content


def _proxy_for(origin: str) -> str | None:
    """The proxy that the environment names for this origin: HTTPS_PROXY, HTTP_PROXY, NO_PROXY."""
    parts = urlsplit(origin)
    return None if proxy_bypass(parts.netloc) else getproxies().get(parts.scheme)


def _not_connected(error: Exception) -> PermanentError | NotSentError:
    cause = error.__cause__
    if isinstance(cause, aiohttp.ClientConnectorCertificateError):
        refused = cause.certificate_error
        reason = refused.verify_message if isinstance(refused, ssl.SSLCertVerificationError) else str(refused)
        return PermanentError(
            f"the server's certificate is not trusted: {reason}; correct the endpoint, or set SSL_CERT_FILE to its CA file"
        )
    return NotSentError(f"no connection: {_reason(error)}")


def _reason(error: Exception) -> str:
    """Why no connection came about, without the address, which the caller names."""
    cause = error.__cause__
    system = getattr(cause, "os_error", None)
    if isinstance(cause, aiohttp.ConnectionTimeoutError):
        return f"no connection within {_CONNECT:g} s"
    if isinstance(system, OSError) and system.errno is not None and system.errno in errorcode:
        return strerror(system.errno)
    if isinstance(system, OSError) and system.strerror:  # a name that cannot be resolved
        return system.strerror
    return str(cause or error)


def _named(error: Exception) -> str:
    return str(error) or type(error).__name__


def host_of(origin: str) -> str:
    """The Host header for an origin: with the port where it is not the scheme's own."""
    parts = urlsplit(origin)
    usual = {"https": 443, "http": 80}.get(parts.scheme)
    name = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    return name if parts.port in (None, usual) else f"{name}:{parts.port}"
