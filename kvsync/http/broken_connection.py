"""Errors of aiohttp in kvsync's terms: whether a request may have arrived, and what to do."""

from __future__ import annotations

import ssl
from errno import errorcode
from os import strerror
from typing import Final

import aiohttp

from kvsync.errors import NotLeader, PermanentError
from kvsync.http.model import NotAnsweredError, NotSentError
from kvsync.http.proxy import Proxy
from kvsync.http.trust import not_trusted

CONNECT_SECONDS: Final = 10.0
"""Seconds in which a connection must be made."""

PROXY_PASSWORD: Final = 407
"""The status with which a proxy requires a password."""

_UNREACHABLE: Final = "check the endpoint and the network"
_NO_TLS: Final = "check that the endpoint speaks HTTPS"


def connection_error(
    cause: BaseException, host: str, proxy: Proxy | None
) -> PermanentError | NotSentError | NotAnsweredError:
    """The error that says what became of a request to `host` after this one."""
    to = f"to {host}" if proxy is None else f"to {host} through {proxy.label}"
    if isinstance(cause, aiohttp.ClientConnectorCertificateError):
        return not_trusted(cause.certificate_error)
    if isinstance(cause, aiohttp.ClientHttpProxyError) and proxy is not None:
        if cause.status == PROXY_PASSWORD:
            return PermanentError(proxy.refusal)
        return NotSentError(f"no connection {to}: the proxy answered with status {cause.status}; check the proxy")
    if isinstance(cause, aiohttp.ClientProxyConnectionError) and proxy is not None:
        return NotSentError(f"no connection to {proxy.label}: {_reason(cause)}; check the proxy")
    if isinstance(cause, aiohttp.ConnectionTimeoutError):
        return NotSentError(f"no connection {to}: no answer within {CONNECT_SECONDS:g} s; {_UNREACHABLE}")
    if isinstance(cause, aiohttp.ClientConnectorError):
        remedy = _NO_TLS if isinstance(cause.os_error, ssl.SSLError) else _UNREACHABLE
        return NotSentError(f"no connection {to}: {_reason(cause)}; {remedy}")
    if isinstance(cause.__cause__, NotLeader):
        return NotAnsweredError("the lease ended before the request was sent completely; the next leader tries again")
    broken = f"the connection {to} was lost before the response arrived"
    return NotAnsweredError(f"{broken} ({type(cause).__name__})")


def _reason(error: aiohttp.ClientConnectorError) -> str:
    """Why a connection failed, without the address, which the caller names."""
    system = error.os_error
    if isinstance(system, ssl.SSLError):  # its errno is OpenSSL's own number, not one of the system
        return f"the TLS handshake failed ({system.reason or system.strerror or str(system)})"
    if system.errno is not None and system.errno in errorcode:
        return strerror(system.errno)
    return system.strerror or str(error)  # strerror: a name that cannot be resolved
