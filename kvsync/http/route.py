"""Route to a server: proxy, trusted authorities, and client certificate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from kvsync.http.trust import ClientCertificate


class ProxySetting(NamedTuple):
    """A proxy that is configured: `read` returns its URL, which is never shown if it is secret. `source` says where the URL is
    written, and `remedy` how to add a password."""

    read: Callable[[], str]
    source: str
    remedy: str
    is_secret: bool


@dataclass(frozen=True, slots=True)
class Route:
    """The proxy to use instead of that of the environment, the authorities to trust instead of the system's, and the
    certificate for a server that asks for one."""

    proxy: ProxySetting | None = None
    ca_file: Path | None = None
    certificate: ClientCertificate | None = None


USUAL: Final = Route()
"""The proxy of the environment, the authorities of the system, and no certificate."""
