"""An App Configuration service for tests: the emulator in a thread, and the vendor's own SDK as another program."""

from __future__ import annotations

import asyncio
import json
import threading
import urllib.request
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from azure.appconfiguration import AzureAppConfigurationClient, ConfigurationSetting
from azure.core.exceptions import ResourceNotFoundError

from kvsync.config.model import Credential, CredentialKind, StoreConfig
from kvsync.emulators.model import Options
from kvsync.emulators.server import Running, running
from kvsync.stores.base import Store, StoreContext
from kvsync.stores.registry import open_store
from kvsync.util.clock import Clock

SECRET = Credential(CredentialKind.ENV, "AZURE_APPCONFIG_CONNECTION_STRING")


class Service:
    """One running emulator."""

    def __init__(self, server: Running) -> None:
        self.url, self.env = server.url, server.env
        self.sdk = AzureAppConfigurationClient.from_connection_string(self.env[SECRET.name])

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """Talk to `/_emulator/`."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/_emulator/{path}", data, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def reset(self) -> None:
        """Empty, healed, counters at nought."""
        self.control("POST", "reset")

    def faults(self, spec: str, **settings: Any) -> None:
        """Inject faults from now on; an empty text heals."""
        self.control("PUT", "faults", {"spec": spec, **settings})

    def requests(self) -> list[tuple[str, int]]:
        """Method and status of the requests since `forget_requests`, without those of the other program."""
        return [(one["method"], one["status"]) for one in self.control("GET", "log")]

    def forget_requests(self) -> None:
        """Count from here."""
        self.control("POST", "reset", {"only": ["stats"]})

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


@contextmanager
def service(**options: Any) -> Iterator[Service]:
    """Serve in a thread until the end of the block."""
    ready: Future[tuple[Running, asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def serve() -> None:
        stop = asyncio.Event()
        async with running(Options("azure-appconfig", **options)) as server:
            ready.set_result((server, asyncio.get_running_loop(), stop))
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    server, loop, stop = ready.result(30)
    found = Service(server)
    try:
        yield found
    finally:
        found.sdk.close()
        loop.call_soon_threadsafe(stop.set)
        thread.join(30)


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
