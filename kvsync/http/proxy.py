"""The proxy to an origin: the one that is configured, or that of the environment."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from kvsync.errors import PermanentError
from kvsync.http.route import ProxySetting
from kvsync.util.redaction import REDACTOR

_REMEDY: Final = "add user and password to the URL in the variable"


class Proxy(NamedTuple):
    """A proxy: its URL, which may hold a password, its name in messages, and how to give it a password."""

    url: str
    label: str
    remedy: str

    @property
    def refusal(self) -> str:
        """The message if it requires a password."""
        return f"{self.label} requires a password (status 407); {self.remedy}"


def proxy_for(origin: str, setting: ProxySetting | None = None) -> Proxy | None:
    """The proxy of the setting, otherwise the one that HTTPS_PROXY, HTTP_PROXY and NO_PROXY set for this origin; None for a
    direct connection. Raises PermanentError for a proxy that kvsync cannot use, AuthError for a URL that cannot be read.

    A link-local address, such as that of a cloud's identity service, is always reached directly: no proxy can reach the one of
    this machine, and its answers are credentials."""
    parts = urlsplit(origin)
    if _is_link_local(parts.hostname or ""):
        return None
    if setting is not None:
        url, shown = _checked(setting.read(), setting.source)
        whole = f"the proxy {shown} (from {setting.source})"
        return Proxy(url, f"the proxy from {setting.source}" if setting.is_secret else whole, setting.remedy)
    written = None if proxy_bypass(parts.netloc) else getproxies().get(parts.scheme)
    if not written:
        return None
    variable = f"{parts.scheme.upper()}_PROXY"
    url, shown = _checked(written, variable)
    return Proxy(url, f"the proxy {shown} (from {variable})", _REMEDY)


def _checked(written: str, source: str) -> tuple[str, str]:
    """The URL of a proxy, and how it is shown. Raises PermanentError."""
    url = written if "://" in written else f"http://{written}"
    try:
        named = urlsplit(url)
        host, port = named.hostname, named.port
    except ValueError:
        host, port = None, None
    if not host or named.scheme not in ("http", "https"):
        raise PermanentError(f"the proxy in {source} is not a URL such as http://proxy.example:3128; correct {source}")
    shown = f"{named.scheme}://{f'[{host}]' if ':' in host else host}" + ("" if port is None else f":{port}")
    if named.password:
        REDACTOR.register(unquote(named.password))
    return url, shown


def _is_link_local(host: str) -> bool:
    try:
        return ip_address(host).is_link_local
    except ValueError:
        return False
