"""Host check of requests: this machine, or an allowed name.

A page in a browser can have its own name lead to this machine (DNS rebinding), or simply send requests here. Both show: the
`Host` of a request is the name that the browser was asked for, the `Origin` that of the page.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Collection
from urllib.parse import urlsplit

from kvsync.emulators.model import Answer


def is_loopback(host: str) -> bool:
    """True for `localhost`, a name below it, and addresses of this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def refusal(host: str | None, origin: str | None, allowed: Collection[str]) -> Answer | None:
    """The answer to a request with these headers that must not be made, None to one that may. A request without them comes from
    no browser."""
    if host is not None and not _is_known(_host_of(f"//{host}"), allowed):
        return _refused(421, "Host", host)
    if origin is not None and not _is_known(_host_of(origin), allowed):
        return _refused(403, "Origin", origin)
    return None


def _is_known(host: str, allowed: Collection[str]) -> bool:
    return is_loopback(host) or host in allowed


def _host_of(address: str) -> str:
    """The host in an address, in lower case; empty for what is none, such as the origin `null`."""
    try:
        return (urlsplit(address).hostname or "").removesuffix(".")
    except ValueError:
        return ""


def _refused(status: int, header: str, value: str) -> Answer:
    hint = "only requests from this machine are answered; --allow-host allows another name"
    body = json.dumps({"error": f"{header} {value[:100]!r} is not allowed; {hint}"}) + "\n"
    return Answer(status, {"Content-Type": "application/json"}, body.encode())
