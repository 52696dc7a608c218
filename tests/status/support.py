"""Shared by the tests of the daemon's HTTP: a daemon in this process, a daemon in a separate one, and a client."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import aiohttp

from kvsync.app.monitoring import Serving
from kvsync.app.reconciler import WorkspaceReconciler
from kvsync.daemon.loop import Daemon
from kvsync.daemon.parts import DaemonOptions
from kvsync.util.clock import Clock
from kvsync.util.redaction import Redactor
from tests.daemon.support import BOUND, until
from tests.support.command import ROOT
from tests.support.memory_repository import MemoryRepository

TOKEN = "correct-horse-battery-staple"
SECRET = "it's a secret to everybody"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
RUN = "run: {every: 1h, listen: '127.0.0.1:0', token: {env: TOKEN}, hook: {secret: {env: SECRET}}}\n"
ENVIRON = {"TOKEN": TOKEN, "SECRET": SECRET}


@dataclass(frozen=True)
class Reply:
    """An answer that was read whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class HttpClient:
    """Asks a server; `url` is where it listens."""

    session: aiohttp.ClientSession
    url: str = ""

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        """Headers are given with `_` for `-`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.session.request(method, self.url + path, data=body, headers=named) as answer:
            return Reply(answer.status, answer.headers.copy(), await answer.read())

    async def get(self, path: str, **headers: str) -> Reply:
        return await self.ask("GET", path, **headers)

    async def post(self, path: str, body: Any = None, **headers: str) -> Reply:
        return await self.ask("POST", path, body, **headers)

    async def status(self) -> Any:
        return (await self.get("/status", **BEARER)).json

    async def target(self, name: str = "main/web") -> Any:
        """One target of `/status`; nothing before the files were read for the first time."""
        targets = (await self.status())["targets"]
        return next((one for one in targets if f"{one['store']}/{one['namespace']}" == name), {})

    async def becomes(self, state: str, name: str = "main/web", **fields: Any) -> Any:
        """Wait until a target is in a state, with these fields and not running, and return it."""
        wanted = {"state": state, "running": False, **fields}
        async with asyncio.timeout(BOUND):
            while not wanted.items() <= (found := await self.target(name)).items():  # noqa: ASYNC110 - it is over there
                await asyncio.sleep(0.02)
        return found

    async def metrics(self, **headers: str) -> dict[str, float]:
        """Every sample by its name with labels, as written."""
        lines = (await self.get("/metrics", **BEARER, **headers)).text.splitlines()
        samples = (line.rpartition(" ") for line in lines if not line.startswith("#"))
        return {name: float(number) for name, _, number in samples}


@dataclass
class InProcessDaemon(HttpClient):
    """A daemon in this very process, over the stores of a `MemoryRepository`."""

    serving: Serving | None = None
    daemon: Daemon | None = None
    redactor: Redactor = field(default_factory=Redactor)

    @property
    def collector(self) -> Any:
        assert self.serving is not None
        return self.serving.collector

    async def limit_connections(self, most: int) -> None:
        """Reload the configuration with another `run.connections`."""
        assert self.serving is not None
        run = replace(self.serving._workspace.config.run, connections=most)
        await self.serving.reload(run)


@asynccontextmanager
async def live(
    repo: MemoryRepository, environ: Mapping[str, str] = ENVIRON, *, observe: bool = False
) -> AsyncIterator[InProcessDaemon]:
    """Run the daemon until the end of the block, with the system's clock."""
    redactor = Redactor()
    async with aiohttp.ClientSession(auto_decompress=False, skip_auto_headers=["Accept-Encoding"]) as session:
        opening = repo.open(None if observe else "run", clock=Clock(), redactor=redactor, environ=dict(environ))
        async with opening as workspace:
            reconciler = WorkspaceReconciler(workspace, workspace.pass_context, dict(environ))
            serving = Serving(workspace, reconciler, dict(environ), observe=observe)
            daemon = Daemon(
                reconciler,
                workspace.state.passes,
                workspace.config.run,
                DaemonOptions(
                    control_dir=workspace.state.control_dir,
                    observe=observe,
                    observers=[serving.collector],
                    on_reload=serving.reload,
                    undo=reconciler,
                ),
            )
            async with serving.serving(daemon, workspace.config.run):
                running = asyncio.create_task(daemon.run())
                assert serving._server is not None
                try:
                    yield InProcessDaemon(session, serving._server.url or "", serving, daemon, redactor)
                finally:
                    os.kill(os.getpid(), signal.SIGTERM)
                    async with asyncio.timeout(BOUND):
                        await running


class DaemonProcess(HttpClient):
    """`kvsync run` in a process of its own. `log` is what it logged so far."""

    def __init__(self, session: aiohttp.ClientSession, process: asyncio.subprocess.Process) -> None:
        super().__init__(session)
        self.process = process
        self.log: list[dict[str, Any]] = []
        self.raw = ""
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            self.raw += line.decode()
            if line.startswith(b"{"):
                self.log.append(json.loads(line))

    def events(self, name: str, **fields: Any) -> list[dict[str, Any]]:
        """What was logged under a name, with these fields."""
        return [one for one in self.log if one["event"] == name and fields.items() <= one.items()]

    async def logged(self, name: str, count: int = 1, **fields: Any) -> dict[str, Any]:
        """Wait until this was logged so many times, and return the last."""
        await until(lambda: len(self.events(name, **fields)) >= count or self.process.returncode is not None)
        assert len(self.events(name, **fields)) >= count, self.raw
        return self.events(name, **fields)[-1]

    async def listens(self, count: int = 1) -> None:
        """Wait until it listens, for the n-th time, and ask there from now on."""
        self.url = (await self.logged("http.listening", count))["url"]

    async def over(self) -> int:
        """Wait for its end, and return its exit code."""
        async with asyncio.timeout(BOUND):
            code = await self.process.wait()
            await self._reading
        return code

    async def end(self) -> None:
        """End it, whatever it does."""
        if self.process.returncode is None:
            self.process.kill()
        await self.over()


@asynccontextmanager
async def process(folder: Path, through: Sequence[str] = (), **environ: str) -> AsyncIterator[DaemonProcess]:
    """Start `kvsync run` in a folder. `through` is a command that runs it in its place."""
    command = [*through, sys.executable, "-m", "kvsync", "--log-format", "json", "run"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **ENVIRON, **environ}
    pipe = asyncio.subprocess.PIPE
    started = await asyncio.create_subprocess_exec(*command, cwd=folder, env=environment, stderr=pipe, stdout=pipe)
    async with aiohttp.ClientSession() as session:
        running = DaemonProcess(session, started)
        try:
            yield running
        finally:
            await running.end()


def repository(folder: Path, run: str = RUN, stores: str = "main: {type: sqlite, path: store.db}") -> Path:
    """Write a small one; its target is main/web."""
    head = 'version: 1\nowner: team-a\nstate: ["state/*.yaml"]\npolicy: {prune: owned}\n'
    (folder / "state").mkdir(exist_ok=True)
    (folder / "kvsync.yaml").write_text(f"{head}stores: {{{stores}}}\n{run}")
    want(folder, a="1")
    return folder


def want(folder: Path, store: str = "main", namespace: str = "web", **keys: str) -> None:
    """Write the state file of a target."""
    lines = "".join(f"  {key}: {value}\n" for key, value in keys.items())
    text = f"store: {store}\nnamespace: {namespace}\nkeys:\n{lines}"
    (folder / "state" / f"{store}-{namespace}.yaml").write_text(text)
