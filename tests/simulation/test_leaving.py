"""SIGTERM in the middle of a bulk call: `kvsync run` as a process, over Cloudflare's API with latency."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from kvsync.daemon.parts import LEAVE_WITHIN
from kvsync.emulators.model import Options
from kvsync.emulators.server import Running, running
from tests.status.support import DaemonProcess, process, repository, want
from tests.support.command import Repository

pytestmark = pytest.mark.system  # waits for the end of long calls

ENTRIES, BATCH = 400, 10
RUN = "run: {every: 1h, watch: false}\n"
BOUND = 60.0
"""Seconds that a test waits at most. The contract is 10 s, of which the daemon grants `LEAVE_WITHIN` to the calls in flight."""


@dataclass
class CloudflareDeployment:
    """A repository whose store is Cloudflare's emulator."""

    folder: Path
    api: Running
    session: aiohttp.ClientSession

    @property
    def environ(self) -> dict[str, str]:
        return {"CF": self.api.env["CLOUDFLARE_API_TOKEN"]}

    async def control(self, method: str, path: str, body: Any = None) -> Any:
        """Talk to the emulator itself."""
        url = f"http://{self.api.url.split('/')[2]}/_emulator/{path}"
        async with self.session.request(method, url, data=None if body is None else json.dumps(body)) as answer:
            return await answer.json()

    async def bulk_calls(self) -> int:
        """How many bulk writes were answered."""
        routes = (await self.control("GET", "stats"))["routes"]
        return sum(count for route, count in routes.items() if route.startswith("PUT") and route.endswith("/bulk"))

    async def held(self) -> int:
        """How many entries the store holds."""
        account = self.api.env["CLOUDFLARE_ACCOUNT_ID"]
        root = f"{self.api.url}/accounts/{account}/storage/kv/namespaces"
        headers = {"Authorization": f"Bearer {self.environ['CF']}"}
        async with self.session.get(root, headers=headers) as answer:
            found = (await answer.json())["result"][0]["id"]
        async with self.session.get(f"{root}/{found}/keys?limit=1000", headers=headers) as answer:
            return len((await answer.json())["result"])

    async def terminate(self, daemon: DaemonProcess) -> int:
        """Wait until the first bulk call is answered, so that another one is under way; end the daemon, and wait for it."""
        async with asyncio.timeout(BOUND):
            while not await self.bulk_calls():  # noqa: ASYNC110 - it is over there
                await asyncio.sleep(0.02)
        daemon.process.terminate()
        async with asyncio.timeout(BOUND):
            return await daemon.over()

    def journal(self) -> tuple[str, int, int]:
        """Of the last run: its status, how many of its changes have an outcome, and how many have none."""
        (file,) = (self.folder / ".kvsync").glob("state.db")
        with closing(sqlite3.connect(file)) as database:
            (status,) = database.execute("SELECT status FROM runs ORDER BY seq DESC LIMIT 1").fetchone()
            count = "SELECT count(*) FILTER (WHERE outcome = 'applied'), count(*) FILTER (WHERE outcome IS NULL) FROM changes"
            return (status, *database.execute(count).fetchone())

    async def converges(self) -> None:
        """Heal the store, let one more run do the rest, and another one find nothing."""
        await self.control("PUT", "faults", {})
        again = Repository(self.folder, (self.folder / "kvsync.yaml").read_text())
        await asyncio.to_thread(again.run, "apply", "--yes", env=self.environ, code=0)
        assert await self.held() == ENTRIES
        await asyncio.to_thread(again.run, "plan", "--exit-code", env=self.environ, code=0)


@asynccontextmanager
async def site(folder: Path, latency: str) -> AsyncIterator[CloudflareDeployment]:
    """Everything is to be written, and each write takes its time."""
    async with running(Options("cloudflare-kv")) as api, aiohttp.ClientSession() as session:
        account = api.env["CLOUDFLARE_ACCOUNT_ID"]
        edge = f"type: cloudflare-kv, endpoint: '{api.url}', account_id: '{account}', token: {{env: CF}}"
        repository(folder, RUN, f"edge: {{{edge}, create_namespaces: true, batch_size: {BATCH}, concurrency: 1}}")
        (folder / "state" / "main-web.yaml").unlink()
        want(folder, "edge", "web", **{f"k{number:03}": "x" for number in range(ENTRIES)})
        found = CloudflareDeployment(folder, api, session)
        await found.control("PUT", "faults", {"spec": f"latency:{latency}", "methods": ["PUT"]})
        yield found


async def test_sigterm_lets_the_bulk_call_end(tmp_path: Path) -> None:
    """The bulk call in flight is answered and journalled, none after it is begun, and the next run does the rest."""
    async with site(tmp_path, "1s") as place, process(tmp_path, **place.environ) as daemon:
        code = await place.terminate(daemon)
        status, applied, unknown = place.journal()
        held = await place.held()
        await place.converges()
    assert code == 0
    assert (status, applied, unknown) == ("finished", held, 0)
    assert BATCH <= held < ENTRIES
    assert daemon.events("daemon.stopped", unfinished=0)


async def test_sigterm_does_not_wait_for_a_store_that_does_not_answer(tmp_path: Path) -> None:
    """A bulk call that goes on for longer than there is time is given up; the journal tells its intents from what is known to
    be done, and the next run finds out and does the rest."""
    async with site(tmp_path, "1s") as place, process(tmp_path, **place.environ) as daemon:
        async with asyncio.timeout(BOUND):
            while not await place.bulk_calls():  # noqa: ASYNC110 - it is over there
                await asyncio.sleep(0.02)
        await place.control("PUT", "faults", {"spec": "latency:1h", "methods": ["PUT"]})
        async with asyncio.timeout(BOUND):
            while (done := await place.bulk_calls()) != await _settled(
                place
            ):  # the ones before the change are answered
                assert done < ENTRIES // BATCH
        code = await place.terminate(daemon)
        status, applied, unknown = place.journal()
        await place.converges()
    assert code == 1
    assert daemon.events("daemon.stopped", unfinished=1)
    assert LEAVE_WITHIN < 10
    assert applied % BATCH == 0
    assert unknown in (0, BATCH)
    assert status in ("finished", "running", "interrupted")


async def _settled(place: CloudflareDeployment) -> int:
    """How many bulk writes were answered, a while later than the longest of them takes."""
    await asyncio.sleep(1.2)
    return await place.bulk_calls()
