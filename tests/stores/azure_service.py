"""An App Configuration service for tests: the emulator in a thread, and the vendor's own SDK as another program."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from azure.appconfiguration import AzureAppConfigurationClient, ConfigurationSetting
from azure.core.exceptions import ResourceNotFoundError

from kvsync.config.model import Credential, CredentialKind, StoreConfig
from kvsync.emulators.server import Running
from kvsync.stores.base import Store, StoreContext
from kvsync.stores.registry import open_store
from kvsync.util.clock import Clock
from tests.stores.emulated import EmulatedService

SECRET = Credential(CredentialKind.ENV, "AZURE_APPCONFIG_CONNECTION_STRING")


class Service(EmulatedService):
    """One running emulator."""

    type = "azure-appconfig"

    def __init__(self, server: Running) -> None:
        super().__init__(server)
        self.sdk = AzureAppConfigurationClient.from_connection_string(self.env[SECRET.name])

    def open_store(self, *arguments: Any, env: Mapping[str, str] | None = None, **options: Any) -> Store:
        """A connection of kvsync's to it, or to what another environment names."""
        return azure_store(self.env if env is None else env, *arguments, **options)

    def store_options(self, folder: Path) -> dict[str, Any]:
        """With a cache of its own."""
        return {"cache": folder / "cache"}

    def close(self) -> None:
        """Close the vendor's client."""
        self.sdk.close()

    def reset(self) -> None:
        """Empty, healed, counters at nought."""
        self.prepare()

    def requests(self) -> list[tuple[str, int]]:
        """Method and status of the requests since `clear_requests`, without those of the other program."""
        return [(one["method"], one["status"]) for one in self.control("GET", "log")]

    def set(self, key: str, value: str, label: str | None = None, **fields: Any) -> None:
        """Write as another program would."""
        self.sdk.set_configuration_setting(ConfigurationSetting(key=key, value=value, label=label, **fields))

    def get(self, key: str, label: str | None = None) -> ConfigurationSetting | None:
        """Read as another program would."""
        try:
            return self.sdk.get_configuration_setting(key, label=label)
        except ResourceNotFoundError:
            return None

    def must_get(self, key: str, label: str | None = None) -> ConfigurationSetting:
        """Read what must be there."""
        found = self.get(key, label)
        assert found is not None, f"{key} is not there"
        return found

    def values(self) -> dict[tuple[str, str | None], str]:
        """Everything there is."""
        return {(one.key, one.label): one.value for one in self.sdk.list_configuration_settings()}


def azure_store(
    env: Mapping[str, str],
    clock: Clock | None = None,
    *,
    cache: Path | None = None,
    read_only: bool = False,
    options: Mapping[str, Any] | None = None,
    **fields: Any,
) -> Store:
    """A connection to a service that was started with this environment."""
    given = {"connection_string": SECRET} if options is None else options
    context = StoreContext(Path(), cache, lambda one: env[one.name], clock or Clock(), read_only, "conformance")
    return open_store(StoreConfig("settings", "azure-appconfig", given, **fields), context)
