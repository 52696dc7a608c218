"""Shared by the tests of the lease: a real etcd, replicas as processes, and a network connection between them to cut."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from time import monotonic
from typing import Any

from tests.support.etcd import BOUND, wait_until

ROOT = Path(__file__).parent.parent.parent


class Replica:
    """`kvsync run` in a folder and a state directory of its own."""

    def __init__(self, root: Path, config: str) -> None:
        self.root = root
        (root / "state").mkdir(parents=True)
        (root / "kvsync.yaml").write_text(config)
        self.process: subprocess.Popen[bytes] | None = None

    def want(self, text: str) -> None:
        """Write the one state file, at once and whole."""
        (self.root / "state/new").write_text(text)
        (self.root / "state/new").rename(self.root / "state/web.yaml")

    def start(self, **environ: str) -> None:
        """Begin to run; what it logs is added to what it logged before."""
        with (self.root / "log").open("ab") as log:
            command = [sys.executable, "-m", "kvsync", "--log-format", "json", "run"]
            self.process = subprocess.Popen(command, cwd=self.root, env=_environment(environ), stderr=log)

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def end(self, number: signal.Signals = signal.SIGKILL) -> int:
        """End it, and give its exit code."""
        assert self.process is not None
        for each in (number, signal.SIGCONT):
            self.process.send_signal(each)
        return self.process.wait(BOUND)

    def events(self, name: str) -> list[dict[str, Any]]:
        """What it logged under this name."""
        lines = (self.root / "log").read_bytes().splitlines() if (self.root / "log").exists() else []
        return [event for line in lines if (event := _parsed(line))["event"] == name]

    def heard(self, name: str, times: int = 1) -> dict[str, Any]:
        """Wait until it logged this so many times; gives the last one."""
        found: list[dict[str, Any]] = wait_until(lambda: self._at_least(name, times))
        return found[-1]

    def journal(self) -> list[tuple[float, str | None]]:
        """When it was about to write each entry, and what became of it."""
        with closing(sqlite3.connect(self.root / ".kvsync/state.db")) as connection:
            return list(connection.execute("SELECT intended_at, outcome FROM changes ORDER BY intended_at"))

    def command(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Another command next to it."""
        command = [sys.executable, "-m", "kvsync", *arguments]
        return subprocess.run(
            command, cwd=self.root, env=_environment(environ), capture_output=True, text=True, timeout=BOUND
        )

    def _at_least(self, name: str, times: int) -> list[dict[str, Any]]:
        assert self.process is not None
        assert self.process.poll() is None, (self.root / "log").read_text()[-3000:]
        found = self.events(name)
        return found if len(found) >= times else []


def _environment(more: dict[str, str]) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1", **more}


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        event: dict[str, Any] = json.loads(line)
    except ValueError:  # it is still being written
        return {"event": None}
    return event


class BreakableConnection:
    """A TCP connection through this process, which can be cut so that nobody notices: nothing comes through any more. `delay`
    is how many seconds everything takes on its way."""

    def __init__(self, host: str, port: int) -> None:
        self._there = host, port
        self._open = asyncio.Event()
        self._open.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.url, self.delay = "", 0.0

    def cut(self) -> None:
        """Let nothing through."""
        self._open.clear()

    def mend(self) -> None:
        """Let everything through, also what waits."""
        self._open.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        far_reader, far_writer = await asyncio.open_connection(*self._there)
        try:
            await asyncio.gather(self._carry(reader, far_writer), self._carry(far_reader, writer))
        except asyncio.CancelledError:
            pass  # the test is over; a stream's own task may not end as cancelled
        finally:
            writer.close()
            far_writer.close()

    async def aclose(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Bring over what comes, each part `delay` after it came: parts that follow each other do not wait for each other."""
        on_the_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        taking_in = asyncio.create_task(self._take_in(reader, on_the_way))
        try:
            while (sent := await on_the_way.get())[1]:
                await asyncio.sleep(sent[0] + self.delay - monotonic())
                await self._open.wait()
                writer.write(sent[1])
                await writer.drain()
        except OSError:
            pass
        finally:
            taking_in.cancel()
            writer.close()

    @staticmethod
    async def _take_in(reader: asyncio.StreamReader, on_the_way: asyncio.Queue[tuple[float, bytes]]) -> None:
        data = b"-"
        while data:
            try:
                data = await reader.read(65536)
            except OSError:
                data = b""
            on_the_way.put_nowait((monotonic(), data))


@asynccontextmanager
async def wire_to(url: str) -> AsyncIterator[BreakableConnection]:
    """A wire to an `http://` URL, until the end of the block."""
    host, _, port = url.removeprefix("http://").partition(":")
    wire = BreakableConnection(host, int(port))
    server = await asyncio.start_server(wire.serve, "127.0.0.1", 0)
    wire.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield wire
    finally:
        server.close()
        await wire.aclose()
