"""An emulator that runs next to the test, in this process or in a separate one, and raw HTTP to it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from typing import Any

import httpx
import pytest

from kvsync.emulators.model import Options
from kvsync.emulators.server import Running, running
from tests.emulators.apify_api import ApifyApi
from tests.emulators.kv_api import KvApi
from tests.emulators.vox_api import VoxApi
from tests.support.emulator import emulator

TYPE = "azure-appconfig"
KV = "cloudflare-kv"
VOX = "voximplant"


def azure_emulator(**options: Any) -> AbstractContextManager[Running]:
    """Serve App Configuration in a thread."""
    return emulator(TYPE, **options)


@pytest.fixture(scope="module")
def shared() -> Iterator[Running]:
    """One emulator for the tests of a file; `azure` empties it before every one."""
    with azure_emulator(anonymous=True) as server:
        yield server


@pytest.fixture
def azure(shared: Running) -> Running:
    """An empty emulator, its clock and faults as at the start."""
    with Http(shared) as client:
        client.control("POST", "reset")
    return shared


class Http(httpx.Client):
    """Raw HTTP without a credential, which the emulators of these tests accept; adds the api-version where there is none."""

    def __init__(self, server: Running, version: str | None = "2026-04-01", **options: Any) -> None:
        options = {
            "verify": False,
            "trust_env": False,
        } | options  # plain HTTP needs no certificates, and loading them is slow
        super().__init__(base_url=server.url, **options)
        self._version = version

    def build_request(self, *args: Any, **options: Any) -> httpx.Request:
        """As httpx does it, and with an api-version."""
        request = super().build_request(*args, **options)
        if self._version and "api-version" not in request.url.params:
            request.url = request.url.copy_add_param("api-version", self._version)
        return request

    def set(self, path: str, value: str | None = "v", label: str | None = None, **members: Any) -> dict[str, Any]:
        """PUT a key-value that must be accepted."""
        params = {"label": label} if label else None
        answer = self.put(f"/kv/{path}", params=params, json={"value": value, **members})
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """Talk to `/_emulator/`."""
        answer = self.request(method, f"/_emulator/{path}", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def pages(self, path: str, **params: Any) -> list[dict[str, Any]]:
        """The documents of all pages, found by following `@nextLink`."""
        found = [self.get(path, params=params or None).json()]
        while link := found[-1].get("@nextLink"):
            found.append(self.get(link).json())
        return found

    def keys(self, **params: Any) -> list[str]:
        """The keys of a list of key-values."""
        return [item["key"] for page in self.pages("/kv", **params) for item in page["items"]]


@pytest.fixture
def http(azure: Running) -> Iterator[Http]:
    """Raw HTTP to an empty emulator."""
    with Http(azure) as client:
        yield client


@contextmanager
def process(*arguments: str, type_: str = TYPE) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """`kvsync emulate` in a process of its own, and what its ready line says."""
    command = [sys.executable, "-m", "kvsync", "emulate", type_, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        line = child.stdout.readline()
        try:
            yield child, json.loads(line) if line else {"error": child.stderr.read()}
        finally:
            child.kill()
            child.wait(60)


@asynccontextmanager
async def in_loop(**options: Any) -> AsyncIterator[Running]:
    """Serve in the loop of the test."""
    async with running(Options(TYPE, **options)) as server:
        yield server


def kv_emulator(**options: Any) -> AbstractContextManager[Running]:
    """Serve Workers KV in a thread."""
    return emulator(KV, **options)


@pytest.fixture(scope="module")
def shared_kv() -> Iterator[Running]:
    """One emulator of Workers KV for the tests of a file; `cloudflare` empties it before every one."""
    with kv_emulator() as server:
        yield server


@pytest.fixture
def cloudflare(shared_kv: Running) -> Running:
    """An empty emulator of Workers KV, its clock and faults as at the start."""
    with KvApi(shared_kv) as client:
        client.control("POST", "reset")
    return shared_kv


@pytest.fixture
def kv(cloudflare: Running) -> Iterator[KvApi]:
    """Raw HTTP to an emulator of Workers KV that holds one namespace, which is empty."""
    with KvApi(cloudflare) as client:
        client.use(client.create("test"))
        yield client


def apify_emulator(**options: Any) -> AbstractContextManager[Running]:
    """Serve Apify key-value stores in a thread."""
    return emulator("apify", **options)


@pytest.fixture(scope="module")
def shared_apify() -> Iterator[Running]:
    """One emulator of Apify for the tests of a file; `apify` empties it before every one."""
    with apify_emulator() as server:
        yield server


@pytest.fixture
def apify(shared_apify: Running) -> Running:
    """An empty emulator of Apify, its clock and faults as at the start."""
    with ApifyApi(shared_apify) as client:
        client.control("POST", "reset")
    return shared_apify


@pytest.fixture
def kvs(apify: Running) -> Iterator[ApifyApi]:
    """Raw HTTP to an emulator of Apify that holds one store, which is empty."""
    with ApifyApi(apify) as client:
        client.use(client.create("test")["id"])
        yield client


def vox_emulator(**options: Any) -> AbstractContextManager[Running]:
    """Serve Voximplant's key-value storage in a thread."""
    return emulator(VOX, **options)


@contextmanager
def vox_with(**switches: str) -> Iterator[VoxApi]:
    """Raw HTTP to an emulator of Voximplant's with switches of its own; `_` represents `-` in their names."""
    named = {name.replace("_", "-"): value for name, value in switches.items()}
    with vox_emulator(switches=named) as server, VoxApi(server) as client:
        yield client


@pytest.fixture(scope="module")
def shared_vox() -> Iterator[Running]:
    """One emulator of Voximplant's storage for the tests of a file; `voximplant` empties it before every one."""
    with vox_emulator() as server:
        yield server


@pytest.fixture
def voximplant(shared_vox: Running) -> Running:
    """An empty emulator of Voximplant's storage, its clock and faults as at the start."""
    with VoxApi(shared_vox, authorized=False) as client:
        client.control("POST", "reset")
    return shared_vox


@pytest.fixture
def vox(voximplant: Running) -> Iterator[VoxApi]:
    """Raw HTTP to an empty emulator of Voximplant's storage."""
    with VoxApi(voximplant) as client:
        yield client
