"""A real daemon in virtual time: its repository, five stores, and an observer of every write."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from urllib.parse import quote

import aiohttp
import pytest

from kvsync.app import Workspace, open_workspace
from kvsync.app.reconciler import WorkspaceReconciler
from kvsync.config.model import RunConfig
from kvsync.daemon.loop import Daemon, DaemonResult
from kvsync.daemon.observer import DaemonObserver
from kvsync.daemon.parts import DaemonOptions
from kvsync.daemon.ports import PassRequest
from kvsync.daemon.systemd import SystemdNotifier
from kvsync.emulators.clock import VirtualClock
from kvsync.emulators.model import Options
from kvsync.emulators.server import Running, running
from kvsync.errors import TransientError
from kvsync.model.entry import Target
from kvsync.model.result import PassResult, Trigger
from kvsync.stores.base import Store, Write, WriteResult
from kvsync.stores.memory.store import _SHARED
from kvsync.testing import MemoryServer
from kvsync.util.redaction import Redactor
from tests.simulation.virtual import LoopClock

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0

LOCAL, EDGE, SETTINGS = Target("local", "web"), Target("edge", "web"), Target("settings", "web")
FLAPPING, DEAD = Target("flapping", "web"), Target("dead", "web")
HEALTHY = (LOCAL, EDGE, SETTINGS)

RUN = "every: 1h, deep_every: 6h, watch: false"

CONFIG = """\
version: 1
owner: team-a
state: ["state/*.yaml"]
policy: {{prune: owned, guard: {{max_delete_pct: 100, max_update_pct: 100}}}}
stores:
  local: {{type: sqlite, path: store.db}}
  edge: {{type: cloudflare-kv, endpoint: "{edge.url}", account_id: "{account}", token: {{file: token}}}}
  settings: {{type: azure-appconfig, connection_string: {{file: azure}}}}
  flapping: {{type: memory, shared: "{root}/flapping"}}
  dead: {{type: memory, shared: "{root}/dead"}}
run: {{{run}}}
"""


class FlappingServer(MemoryServer):
    """Is not there in the first twenty minutes of each hour and a half."""

    def _arrive(self, method: str, namespace: str, slots: Sequence[object]) -> None:
        if self.clock.now() % (1.5 * HOUR) < 20 * MINUTE:
            raise TransientError("no route to host")

    def value_of(self, key: str) -> bytes | None:
        """What it holds."""
        return next((held.content.value for slot, held in self.held["web"].items() if slot.key == key), None)


class UnreachableServer(MemoryServer):
    """Is never there."""

    def _arrive(self, method: str, namespace: str, slots: Sequence[object]) -> None:
        raise TransientError("connection refused")


@dataclass(frozen=True, slots=True)
class RecordedWrite:
    """One write call of a store, and when (epoch seconds) it began."""

    at: float
    target: Target
    writes: tuple[Write, ...]


@dataclass
class PromiseChecker(DaemonObserver):
    """What was seen of the daemon. `wrongs` are promises that it broke, in words."""

    clock: LoopClock
    passes: list[PassResult] = field(default_factory=list)
    triggers: Counter[Trigger] = field(default_factory=Counter)
    written: list[RecordedWrite] = field(default_factory=list)
    wrongs: list[str] = field(default_factory=list)

    def triggered(self, trigger: Trigger) -> None:
        self.triggers[trigger] += 1

    def pass_done(self, result: PassResult) -> None:
        self.passes.append(result.brief())

    def of(self, target: Target) -> list[PassResult]:
        """The passes of one target, in order."""
        return [one for one in self.passes if one.target == target]

    def wrong(self, text: str) -> None:
        """Note a broken promise."""
        self.wrongs.append(f"{self.hours:.2f} h: {text}")

    @property
    def hours(self) -> float:
        """How long it has been going on."""
        return self.clock.monotonic() / HOUR

    def listen_to(self, name: str, store: Store) -> None:
        """Note every write call of a store from now on."""
        write = store.write

        async def noted(namespace: str, writes: Sequence[Write]) -> Sequence[WriteResult]:
            self.written.append(RecordedWrite(self.clock.now(), Target(name, namespace), tuple(writes)))
            return await write(namespace, writes)

        store.write = noted  # type: ignore[method-assign]


class CheckedReconciler(WorkspaceReconciler):
    """The real one; what it must never do is noted."""

    def watch_with(self, watch: PromiseChecker, workspace: Workspace) -> CheckedReconciler:
        self.watch, self.under_way = watch, set[Target]()
        for name, store in workspace.stores.items():
            watch.listen_to(name, store)
        return self

    async def reload_config(self) -> RunConfig:
        """As always; and the new connections are watched too."""
        settings = await super().reload_config()
        for name, store in self.workspace.stores.items():
            self.watch.listen_to(name, store)
        return settings

    async def reconcile(self, request: PassRequest, stop: Callable[[], bool]) -> PassResult:
        """One pass, and after one that changed something, another look at what is left to do."""
        if request.target in self.under_way:
            self.watch.wrong(f"two passes of {request.target} at once")
        self.under_way.add(request.target)
        try:
            result = await super().reconcile(request, stop)
            if result.ok and result.changes.get("applied") and not result.pending:
                again = await super().reconcile(replace(request, apply=False, grace=0), stop)
                if again.error is None and (again.pending or any(again.drift.values())):
                    self.watch.wrong(f"a second pass of {request.target} is not empty: {again}")
            return result
        finally:
            self.under_way.discard(request.target)


@dataclass
class Deployment:
    """Everything around the daemon."""

    root: Path
    clock: LoopClock
    watch: PromiseChecker
    session: aiohttp.ClientSession
    edge_server: RestartableEmulator
    edge: Running
    settings: Running
    flapping: FlappingServer
    daemon: Daemon | None = None

    def configure(self, run: str = RUN) -> None:
        """Write the configuration."""
        account = self.edge.env["CLOUDFLARE_ACCOUNT_ID"]
        text = CONFIG.format(edge=self.edge, root=self.root, account=account, run=run)
        (self.root / "kvsync.yaml").write_text(text)
        (self.root / "azure").write_text(self.settings.env["AZURE_APPCONFIG_CONNECTION_STRING"])

    @classmethod
    @asynccontextmanager
    async def founded(cls, root: Path, clock: LoopClock, token: str) -> AsyncIterator[Deployment]:
        """Serve the stores until the end of the block. In each that can be reached there is an entry of someone else's."""
        (root / "state").mkdir(parents=True)
        (root / "edge").mkdir()
        async with AsyncExitStack() as stack:
            session = await stack.enter_async_context(aiohttp.ClientSession())
            edge_server = RestartableEmulator(root / "edge", clock)
            stack.push_async_callback(edge_server.aclose)
            settings = running(Options("azure-appconfig", anonymous=True), VirtualClock(clock))
            server = await stack.enter_async_context(settings)
            flapping, dead = FlappingServer(clock), UnreachableServer(clock)
            patch = stack.enter_context(pytest.MonkeyPatch.context())
            patch.setitem(_SHARED, f"{root}/flapping", flapping)
            patch.setitem(_SHARED, f"{root}/dead", dead)
            yield cls(
                root,
                clock,
                PromiseChecker(clock),
                session,
                edge_server,
                await edge_server.serve(token),
                server,
                flapping,
            )

    def let_in_with(self, token: str) -> None:
        """Write the file that holds Cloudflare's token."""
        (self.root / "token").write_text(token + "\n")

    def want(self, target: Target, lines: str) -> None:
        """Write the state file of a target; `lines` are of its mapping `keys`, each indented by two."""
        text = f"store: {target.store}\nnamespace: {target.namespace}\nkeys:\n{lines}"
        (self.root / "state" / f"{target.store}.yaml").write_text(text)

    @asynccontextmanager
    async def daemon_at_work(self) -> AsyncIterator[asyncio.Task[DaemonResult]]:
        """Start it, as `kvsync run` does; at the end of the block it is told to leave, and has left."""
        config, options = self.root / "kvsync.yaml", {"environ": {}, "redactor": Redactor(), "clock": self.clock}
        async with open_workspace(config, writing="run", **options) as workspace:  # type: ignore[arg-type]
            reconciler = CheckedReconciler(workspace, workspace.pass_context, {}).watch_with(self.watch, workspace)
            self.daemon = Daemon(
                reconciler,
                workspace.state.passes,
                workspace.config.run,
                DaemonOptions(notifier=SystemdNotifier({}), clock=self.clock, rng=Random(1), observers=[self.watch]),
            )
            task = asyncio.create_task(self.daemon.run())
            async with aclosing(reconciler):
                try:
                    yield task
                finally:
                    os.kill(os.getpid(), signal.SIGTERM)
                    async with asyncio.timeout(HOUR):
                        await task

    async def until(self, hours: float) -> None:
        """Let time pass until so many hours after the beginning."""
        await asyncio.sleep(hours * HOUR - self.clock.monotonic())

    # -- the stores, as others see them -------------------------------------------------------------------------------

    def row(self, key: str) -> tuple[object, ...] | None:
        """A whole row of the SQLite store."""
        with closing(sqlite3.connect(self.root / "store.db")) as connection:
            row: tuple[object, ...] | None = connection.execute(
                "SELECT * FROM entries WHERE namespace = 'web' AND key = ?", (key,)
            ).fetchone()
            return row

    def is_alive(self, key: str) -> bool:
        """Whether the SQLite store has an entry that has not ended."""
        with closing(sqlite3.connect(self.root / "store.db")) as connection:
            alive = "SELECT 1 FROM entries WHERE key = ? AND (expires_at IS NULL OR expires_at > ?)"
            return connection.execute(alive, (key, self.clock.now())).fetchone() is not None

    def by_hand(self, statement: str) -> None:
        """Change the SQLite store."""
        with closing(sqlite3.connect(self.root / "store.db")) as connection, connection:
            connection.execute(statement)

    async def kv(self, method: str, path: str, token: str, body: bytes | None = None) -> tuple[int, bytes]:
        """Ask Cloudflare's API below `namespaces`."""
        account = self.edge.env["CLOUDFLARE_ACCOUNT_ID"]
        url = f"{self.edge.url}/accounts/{account}/storage/kv/namespaces{path}"
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        async with self.session.request(method, url, data=body, headers=headers) as answer:
            return answer.status, await answer.read()

    async def namespace(self, token: str) -> str:
        """The id of Cloudflare's namespace."""
        _, body = await self.kv("GET", "", token)
        found: str = json.loads(body)["result"][0]["id"]
        return found

    async def kv_value(self, key: str, token: str) -> bytes | None:
        """A value that Cloudflare holds."""
        status, body = await self.kv("GET", f"/{await self.namespace(token)}/values/{key}", token)
        return body if status == 200 else None

    async def setting(self, key: str, value: str | None = None) -> bytes | None:
        """A setting of Azure's as its API tells it, None when there is none; with `value` it is written first."""
        url = f"{self.settings.url}/kv/{quote(f'web:{key}', safe='')}?api-version=1.0"
        if value is not None:
            headers = {"Content-Type": "application/vnd.microsoft.appconfig.kv+json"}
            async with self.session.put(url, json={"value": value}, headers=headers) as answer:
                assert answer.status == 200, await answer.text()
        async with self.session.get(url) as answer:
            return await answer.read() if answer.status == 200 else None


class RestartableEmulator:
    """Cloudflare's emulator, which can be exchanged for one that knows another token."""

    def __init__(self, folder: Path, clock: LoopClock) -> None:
        self._folder, self._clock, self._port = folder, clock, 0
        self._open = AsyncExitStack()

    async def serve(self, token: str) -> Running:
        """From now on this token alone is good."""
        await self._open.aclose()
        options = Options("cloudflare-kv", port=self._port, data=self._folder, token=token)
        server = await self._open.enter_async_context(running(options, VirtualClock(self._clock)))
        self._port = int(server.url.split(":")[2].split("/")[0])
        return server

    async def aclose(self) -> None:
        """Serve no more."""
        await self._open.aclose()
