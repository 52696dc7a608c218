"""The proxy that the environment sets for an origin."""

from __future__ import annotations

from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from kvsync.errors import PermanentError


class Proxy(NamedTuple):
    """A proxy: its URL, which may hold a password, and its name in messages."""

    url: str
    label: str

    @property
    def refusal(self) -> str:
        """The message if it requires a password."""
        return (
            f"{self.label} asks for a password (status 407); write it into the variable: http://user:password@host:port"
        )


def proxy_for(origin: str) -> Proxy | None:
    """The proxy that HTTPS_PROXY, HTTP_PROXY and NO_PROXY set for this origin, None for a direct connection. Raises
    PermanentError for a proxy that kvsync cannot use.

    A link-local address, such as that of a cloud's identity service, is always reached directly: no proxy can reach the one of
    this machine, and its answers are credentials."""
    parts = urlsplit(origin)
    if _is_link_local(parts.hostname or ""):
        return None
    written = None if proxy_bypass(parts.netloc) else getproxies().get(parts.scheme)
    if not written:
        return None
    variable = f"{parts.scheme.upper()}_PROXY"
    url = written if "://" in written else f"http://{written}"
    try:
        named = urlsplit(url)
        host, port = named.hostname, named.port
    except ValueError:
        host, port = None, None
    if not host or named.scheme not in ("http", "https"):
        raise PermanentError(
            f"the proxy in {variable} is not a URL such as http://proxy.example:3128; correct {variable}"
        )
    shown = f"{named.scheme}://{f'[{host}]' if ':' in host else host}" + ("" if port is None else f":{port}")
    return Proxy(url, f"the proxy {shown} (from {variable})")


def _is_link_local(host: str) -> bool:
    try:
        return ip_address(host).is_link_local
    except ValueError:
        return False
