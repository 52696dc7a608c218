"""Endpoint and authentication of a store, as configured."""

from __future__ import annotations

import os
from collections.abc import Mapping

from kvsync.config.model import StoreConfig
from kvsync.config.values import is_plain_http
from kvsync.errors import AuthError, PermanentError
from kvsync.http.model import Credentials
from kvsync.stores.azure_appconfig.entra import EntraToken, TokenRequest, ambient, audience_of, client_secret
from kvsync.stores.azure_appconfig.hmac_key import ConnectionString, HmacKey
from kvsync.stores.base import StoreContext


def connect(
    config: StoreConfig, context: StoreContext, environ: Mapping[str, str] = os.environ
) -> tuple[str, Credentials]:
    """The address of the API and the credentials for it. Raises AuthError, PermanentError."""
    endpoint = endpoint_of(config, context)
    if config.options.get("connection_string"):
        return endpoint, HmacKey(lambda: _connection_string(config, context), context.clock)
    return endpoint, EntraToken(_token_request(config, context, environ), f"store {config.name}", context.clock)


def endpoint_of(config: StoreConfig, context: StoreContext) -> str:
    """The address of the API, as configuration and credential give it now. Raises AuthError, PermanentError."""
    return config.endpoint or _endpoint(config, _connection_string(config, context))


def _connection_string(config: StoreConfig, context: StoreContext) -> ConnectionString:
    text = context.resolve(config.options["connection_string"])
    try:
        return ConnectionString.parse(text)
    except ValueError as problem:
        raise AuthError(f"store {config.name}: {problem}") from None


def _endpoint(config: StoreConfig, connection: ConnectionString) -> str:
    if is_plain_http(connection.endpoint) and not config.allow_insecure:
        raise PermanentError(
            f"store {config.name}: the connection string has plain http://, which sends everything unencrypted to other"
            " machine; write https://, or set allow_insecure: true"
        )
    return connection.endpoint


def _token_request(config: StoreConfig, context: StoreContext, environ: Mapping[str, str]) -> TokenRequest:
    options = config.options
    secret, audience = options.get("client_secret"), audience_of(config.endpoint or "")
    if secret is None:
        return ambient(options.get("client_id"), options.get("tenant_id"), environ, audience)
    authority = environ.get("AZURE_AUTHORITY_HOST")
    return client_secret(
        options["tenant_id"], options["client_id"], lambda: context.resolve(secret), authority, audience
    )
