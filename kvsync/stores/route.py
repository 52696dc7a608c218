"""Route to the servers of a store, from its configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from kvsync.config.credentials import describe
from kvsync.config.model import Credential, StoreConfig
from kvsync.http.route import ProxySetting, Route
from kvsync.http.trust import ClientCertificate
from kvsync.stores.base import StoreContext

_REMEDY: Final = "write a reference, such as proxy: {env: NAME}, to a URL with user and password"


def route_of(
    config: StoreConfig,
    context: StoreContext,
    own_ca: str | None = None,
    certificate: ClientCertificate | None = None,
) -> Route:
    """The proxy and the authorities of a store. `own_ca` is the CA file that an option of its type names."""
    ca = own_ca or config.ca_file
    return Route(_proxy(config, context), context.root / Path(ca).expanduser() if ca else None, certificate)


def _proxy(config: StoreConfig, context: StoreContext) -> ProxySetting | None:
    proxy = config.proxy
    if proxy is None:
        return None
    if isinstance(proxy, Credential):
        source = describe(proxy)
        return ProxySetting(
            lambda: context.resolve(proxy), source, "add user and password to the URL there", is_secret=True
        )
    return ProxySetting(lambda: proxy, f"stores.{config.name}.proxy", _REMEDY, is_secret=False)
