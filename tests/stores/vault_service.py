"""A real OpenBao for the tests of the store `vault-kv`."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from kvsync.config.model import Credential, CredentialKind, StoreConfig
from kvsync.errors import AuthError
from kvsync.stores.base import Store, StoreContext
from kvsync.stores.registry import open_store
from kvsync.util.clock import Clock
from tests.stores.emulated import StoreRepo
from tests.support.openbao import ROOT_TOKEN, Bao

TOKEN = Credential(CredentialKind.ENV, "VAULT_TOKEN")


def vault_store(
    address: str,
    *,
    clock: Clock | None = None,
    key_format: str | None = None,
    secrets: Any = None,
    timeout: float = 10,
    **options: Any,
) -> Store:
    """A connection of kvsync's; `secrets` has the credentials by name."""
    known = {"VAULT_TOKEN": ROOT_TOKEN} if secrets is None else secrets
    given = {"address": address, "mount": "secret"} | (options or {"token": TOKEN})
    config = StoreConfig("vault", "vault-kv", given, timeout=timeout)

    def resolve(credential: Credential) -> str:
        try:
            return str(known[credential.name])
        except KeyError:
            raise AuthError(f"{credential.name} is not set") from None

    return open_store(config, StoreContext(Path(), None, resolve, clock or Clock(), owner="conformance"))


def expire(server: Bao, now: float) -> None:
    """Delete the versions that have ended at a moment of a clock that the server does not know."""
    for path in server.paths():
        found = server.metadata(path)
        assert found is not None
        version = found["versions"].get(str(found["current_version"]))
        ends = version["deletion_time"] if version is not None else ""
        if ends and datetime.fromisoformat(ends[:26].rstrip("Z") + "+00:00").timestamp() <= now:
            server.delete(path)


class VaultRepo(StoreRepo):
    """A folder with `kvsync.yaml` and state files for one mount."""

    store = "vault"

    def options(self) -> str:
        return f"    type: vault-kv\n    address: {self.service.url}\n    token: {{env: VAULT_TOKEN}}\n"


class VaultService:
    """A server as a service that a repository is tried with."""

    def __init__(self, server: Bao) -> None:
        self.server, self.url = server, server.url
        self.env = {"VAULT_TOKEN": ROOT_TOKEN}

    def clear_requests(self) -> None:
        """Nothing is counted."""
