"""App Configuration: `python -m tests.benchmarks azure`. All clients speak to one emulator in a process of its own.

Creating 1,000 entries, 20 ms away: kvsync against bare aiohttp, the vendor's importer for Node, the vendor's asynchronous SDK
for Python at its best concurrency, and `az appconfig kv import` where it is installed.

Looking again at 10,000 entries: requests, and CPU against the same requests with bare aiohttp, and against decoding them once.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from kvsync.app import TargetSelection, open_workspace
from kvsync.http.client import Client
from kvsync.http.client_options import ClientOptions
from kvsync.http.model import Request
from kvsync.model.health import Traffic
from kvsync.stores.azure_appconfig.api import next_target
from kvsync.stores.azure_appconfig.auth import ConnectionString, HmacKey
from kvsync.stores.azure_appconfig.resources import ApiVersion, ListingFilter, key_values
from kvsync.util.clock import Clock
from tests.benchmarks.measure import NO_GOAL, Cost, Figure, kvsync, python, run
from tests.benchmarks.peers import packages

LATENCY = "latency:20ms"
CREATES = 1_000
ENTRIES = 10_000
WIDTHS = (16, 32, 64, 128)
CONNECTION = "AZURE_APPCONFIG_CONNECTION_STRING"

SDK = """
import asyncio, os, sys
from azure.appconfiguration import ConfigurationSetting
from azure.appconfiguration.aio import AzureAppConfigurationClient

async def main():
    gate = asyncio.Semaphore(int(sys.argv[1]))
    connection = os.environ["AZURE_APPCONFIG_CONNECTION_STRING"]
    async with AzureAppConfigurationClient.from_connection_string(connection) as client:
        async def put(number):
            async with gate:
                setting = ConfigurationSetting(key=f"web:key-{number:05}", value=f"value {number}")
                await client.add_configuration_setting(setting)
        await asyncio.gather(*(put(number) for number in range(int(sys.argv[2]))))

asyncio.run(main())
"""

BARE = """
import asyncio, base64, hashlib, hmac, json, os, sys
from email.utils import formatdate
import aiohttp

parts = dict(part.partition("=")[::2] for part in os.environ["AZURE_APPCONFIG_CONNECTION_STRING"].split(";"))
host, secret = parts["Endpoint"].partition("://")[2], base64.b64decode(parts["Secret"])

def signed(target, body):
    date, digest = formatdate(usegmt=True), base64.b64encode(hashlib.sha256(body).digest()).decode()
    text = "PUT\\n" + target + "\\n" + ";".join((date, host, digest))
    signature = base64.b64encode(hmac.digest(secret, text.encode(), "sha256")).decode()
    known = "Credential=" + parts["Id"] + "&SignedHeaders=x-ms-date;host;x-ms-content-sha256&Signature=" + signature
    return {"x-ms-date": date, "x-ms-content-sha256": digest, "Authorization": "HMAC-SHA256 " + known, "If-None-Match": "*"}

async def main():
    gate = asyncio.Semaphore(32)
    async with aiohttp.ClientSession(parts["Endpoint"]) as session:
        async def put(number):
            target = f"/kv/web%3Akey-{number:05}?api-version=2023-11-01"
            body = json.dumps({"value": f"value {number}"}).encode()
            headers = signed(target, body) | {"Content-Type": "application/vnd.microsoft.appconfig.kv+json"}
            async with gate, session.put(aiohttp.client.URL(target, encoded=True), data=body, headers=headers) as answer:
                assert answer.status == 200, await answer.text()
        await asyncio.gather(*(put(number) for number in range(int(sys.argv[1]))))

asyncio.run(main())
"""

IMPORTER = """
const { readFileSync } = require("node:fs");
const { AppConfigurationClient } = require("@azure/app-configuration");
const { AppConfigurationImporter, ConfigurationFormat, StringConfigurationSettingsSource } = require(
  "@azure/app-configuration-importer"
);

const client = new AppConfigurationClient(process.env.AZURE_APPCONFIG_CONNECTION_STRING, { allowInsecureConnection: true });
const data = readFileSync(process.argv[1], "utf8");
const source = new StringConfigurationSettingsSource({ data, format: ConfigurationFormat.Json });
new AppConfigurationImporter(client).Import(source, 300).catch((error) => {
  console.error(error);
  process.exit(1);
});
"""


def measure(folder: Path) -> Iterator[Figure]:
    """Yield the figures one by one."""
    with _emulator() as server:
        os.environ.update(server.env)
        yield from _creating(server, folder)
        yield from _looking_again(server, folder)


class Server:
    """The emulator, as its ready line tells."""

    def __init__(self, ready: dict[str, Any]) -> None:
        self.url, self.env = ready["url"], ready["env"]

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """Talk to it about itself."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/_emulator/{path}", data, method=method)
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)


@contextmanager
def _emulator() -> Iterator[Server]:
    with subprocess.Popen(kvsync("emulate", "azure-appconfig"), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Server(json.loads(process.stdout.readline()))
        finally:
            process.terminate()


def _creating(server: Server, folder: Path) -> Iterator[Figure]:
    server.control("PUT", "faults", {"spec": LATENCY})
    _write_repo(folder, CREATES)
    file = _write_import(folder)
    commands = [kvsync("apply", "--yes", "-o", "json"), python(BARE, str(CREATES)), *_importer(file)]
    rounds = [[_create(server, folder, command) for command in commands] for _ in range(3)]
    cpu = [min(cost.cpu for cost in costs) for costs in zip(*rounds, strict=True)]
    wall = [min(cost.wall for cost in costs) for costs in zip(*rounds, strict=True)]
    detail = f"{cpu[0]:.2f} s against {cpu[1]:.2f} s of CPU, whole processes"
    yield Figure(
        f"{CREATES:,} creates, CPU against bare aiohttp with HMAC, 32 in flight", cpu[0] / cpu[1], 1.5, detail=detail
    )
    if len(commands) > 2:
        detail = f"{wall[0]:.2f} s against {wall[2]:.2f} s, whole processes"
        yield Figure(f"{CREATES:,} creates, time against the JS importer", wall[0] / wall[2], 0.5, detail=detail)
        detail = f"{cpu[0]:.2f} s against {cpu[2]:.2f} s of CPU"
        yield Figure(f"{CREATES:,} creates, CPU against the JS importer", cpu[0] / cpu[2], NO_GOAL, detail=detail)
    yield from _against_python_tools(server, folder, file, wall[0])
    server.control("PUT", "faults", {"spec": ""})


def _against_python_tools(server: Server, folder: Path, file: Path, ours: float) -> Iterator[Figure]:
    theirs = {width: _create(server, folder, python(SDK, str(width), str(CREATES))).wall for width in WIDTHS}
    width, best = min(theirs.items(), key=lambda item: item[1])
    detail = f"{ours:.2f} s against {best:.2f} s with {width} in flight, whole processes"
    yield Figure(f"{CREATES:,} creates, time against the official SDK", ours / best, 1 / 1.5, detail=detail)
    if shutil.which("az") is None:
        print("az is not installed: `az appconfig kv import` is left out", flush=True)
        return
    words = ["az", "appconfig", "kv", "import", "-s", "file", "--path", str(file), "--format", "json", "--yes"]
    seconds = _create(server, folder, [*words, "--connection-string", server.env[CONNECTION]]).wall
    yield Figure(f"{CREATES:,} creates, time against az import", ours / seconds, 0.1, detail=f"{seconds:.2f} s")


def _importer(file: Path) -> list[list[str]]:
    """The command of the importer for Node, if it can be had."""
    modules = packages("importer.json", "the JS importer for App Configuration")
    if modules is None:
        return []
    os.environ["NODE_PATH"] = str(modules)
    return [["node", "-e", IMPORTER, str(file)]]


def _write_import(folder: Path) -> Path:
    file = folder / "import.json"
    file.write_text(json.dumps({f"web:key-{number:05}": f"value {number}" for number in range(CREATES)}))
    return file


def _create(server: Server, folder: Path, command: list[str]) -> Cost:
    """What it costs a command to fill the empty store."""
    server.control("POST", "reset", {"only": ["data"]})
    shutil.rmtree(folder / ".kvsync", ignore_errors=True)
    return run(command, folder)


def _looking_again(server: Server, folder: Path) -> Iterator[Figure]:
    server.control("POST", "reset")
    shutil.rmtree(folder / ".kvsync", ignore_errors=True)
    _write_repo(folder, ENTRIES)
    run(kvsync("apply", "--yes", "-o", "json"), folder)
    passing, stats = asyncio.run(_pass(server, folder))
    pages = ENTRIES // 100 + 1  # a full page always names a next one, so that an empty one tells the end
    detail = ", ".join(f"{count:,} responses with status {status}" for status, count in stats["statuses"].items())
    yield Figure("no-change pass, requests per page", stats["requests"] / pages, 1, detail=detail)
    listed = asyncio.run(_listed())
    asking = asyncio.run(_asking(listed))
    detail = f"{passing * 1000:.1f} ms against {asking * 1000:.1f} ms of CPU"
    yield Figure(
        "no-change pass against the same requests with bare aiohttp and HMAC", passing / asking, NO_GOAL, detail=detail
    )
    short = [page.body for page in listed]
    for what, bodies in (
        ("short values", short),
        ("values of 1 KB", [_with_values(body, "x" * 1000) for body in short]),
    ):
        decoding = _decoding(bodies)
        detail = f"{passing * 1000:.1f} ms against {decoding * 1000:.1f} ms of CPU"
        yield Figure(f"no-change pass against decoding the listing, {what}", passing / decoding, 1, detail=detail)


async def _pass(server: Server, folder: Path) -> tuple[float, dict[str, Any]]:
    """CPU seconds of a pass that finds nothing, in a process that has looked before, and what it asked for."""
    async with open_workspace(folder / "kvsync.yaml", writing="bench") as workspace:
        loaded = workspace.load()
        await workspace.plan(TargetSelection(), loaded)
        seconds = []
        for _ in range(7):
            server.control("POST", "reset", {"only": ["stats"]})
            started = time.process_time()
            plan = await workspace.plan(TargetSelection(), loaded)
            seconds.append(time.process_time() - started)
            assert plan.targets[0].unchanged == ENTRIES
        return min(seconds), server.control("GET", "stats")


def _with_values(body: bytes, value: str) -> bytes:
    """The same page with another value in every entry."""
    page = json.loads(body)
    for item in page["items"]:
        item["value"] = value
    return json.dumps(page, ensure_ascii=False, separators=(",", ":")).encode()


def _decoding(bodies: list[bytes]) -> float:
    """CPU seconds of decoding all pages of the listing once."""
    seconds = []
    for _ in range(7):
        started = time.process_time()
        for body in bodies:
            json.loads(body)
        seconds.append(time.process_time() - started)
    return min(seconds)


class ListedPage(NamedTuple):
    """A page of the listing: path and query, version, and body."""

    target: str
    etag: str
    body: bytes


async def _listed() -> list[ListedPage]:
    connection = ConnectionString.parse(os.environ[CONNECTION])
    key = HmacKey(lambda: connection, Clock())
    client = Client("bench", connection.endpoint, Clock(), Traffic(), ClientOptions(credentials=key))
    pages: list[ListedPage] = []
    target: str | None = key_values(ApiVersion.DESCRIPTIONS).listing(ListingFilter("web:"))
    while target:
        answer = await client.send(Request("GET", target, "listing", is_json=True))
        pages.append(ListedPage(target, answer.data["etag"], answer.body))
        target = next_target(answer, answer.data)
    await client.aclose()
    return pages


async def _asking(pages: list[ListedPage]) -> float:
    """CPU seconds of asking with aiohttp alone whether any page has changed."""
    connection = ConnectionString.parse(os.environ[CONNECTION])
    key, host, gate = HmacKey(lambda: connection, Clock()), urlsplit(connection.endpoint).netloc, asyncio.Semaphore(8)
    seconds = []
    async with aiohttp.ClientSession(connection.endpoint) as session:

        async def ask(page: ListedPage) -> None:
            signed = await key.sign(Request("GET", page.target, "listing"), host)
            headers = {**signed, "If-None-Match": f'"{page.etag}"'}
            async with gate, session.get(URL(page.target, encoded=True), headers=headers) as answer:
                assert answer.status == 304, answer.status

        for _ in range(7):
            started = time.process_time()
            await asyncio.gather(*map(ask, pages))
            seconds.append(time.process_time() - started)
    return min(seconds)


def _write_repo(folder: Path, entries: int) -> None:
    (folder / "state").mkdir(exist_ok=True)
    (folder / "kvsync.yaml").write_text(
        "version: 1\nowner: bench\npolicy: {prune: owned}\nstores:\n"
        f"  settings: {{type: azure-appconfig, connection_string: {{env: {CONNECTION}}}}}\n"
    )
    keys = "".join(f"  key-{number:05}: value {number}\n" for number in range(entries))
    (folder / "state" / "web.yaml").write_text(f"store: settings\nnamespace: web\nkeys:\n{keys}")
