"""Real signals to a real process, and what systemd hears of it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.daemon.support import BOUND, until


class ScriptProcess:
    """`tests.daemon.script`, running."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[str] = []

    async def line(self, wanted: str) -> None:
        """Read on until it says this."""
        assert self.process.stdout is not None
        async with asyncio.timeout(BOUND):
            while wanted not in self.lines:
                line = await self.process.stdout.readline()
                assert line, f"{wanted!r} was not said, but {self.lines}"
                self.lines.append(line.decode().strip())

    async def wait_until(self) -> list[str]:
        """Wait for the end, and return everything that it said."""
        assert self.process.stdout is not None
        async with asyncio.timeout(BOUND):
            self.lines += (await self.process.stdout.read()).decode().splitlines()
            await self.process.wait()
        return self.lines


@asynccontextmanager
async def script(mode: str, **environ: str) -> AsyncIterator[ScriptProcess]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.daemon.script", mode, stdin=PIPE, stdout=PIPE, env=os.environ | environ
    )
    try:
        yield ScriptProcess(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_stop_signal_ends_the_batch_and_the_process(number: signal.Signals) -> None:
    """SIGTERM or SIGINT in the middle of a batch lets it end, begins no other, and the process leaves with 0."""
    async with script("batches") as run:
        await run.line("batch begun")
        run.process.send_signal(number)
        lines = await run.wait_until()
    assert lines[-2:] == ["batch ended", f"left {number.name} 0"]
    assert lines.count("batch begun") == lines.count("batch ended")
    assert run.process.returncode == 0


async def test_a_pass_that_does_not_listen_is_cancelled_in_time() -> None:
    """A pass that does not end within the time to leave is cancelled, and the process leaves with 0 all the same."""
    async with script("deaf") as run:
        await run.line("batch begun")
        run.process.terminate()
        assert (await run.wait_until())[-1] == "left SIGTERM 1"
    assert run.process.returncode == 0


async def test_sigusr1_and_sighup_reach_the_process() -> None:
    """The process hears SIGUSR1 and SIGHUP, and lives."""
    async with script("quick") as run:
        await run.line("pass start")
        run.process.send_signal(signal.SIGUSR1)
        await run.line("pass signal")
        run.process.send_signal(signal.SIGHUP)
        await run.line("pass config")
        run.process.terminate()
        await run.wait_until()
    assert run.process.returncode == 0


class NotifySocket:
    """The other end of `$NOTIFY_SOCKET`."""

    def __init__(self, channel: socket.socket, name: str) -> None:
        self.channel, self.name = channel, name

    def heard(self) -> list[str]:
        """Return the messages that came since the last time."""
        messages = []
        while True:
            try:
                messages.append(self.channel.recv(4096).decode())
            except BlockingIOError:
                return messages


@pytest.fixture(params=["path", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[NotifySocket]:
    name = str(tmp_path / "notify") if request.param == "path" else f"@kvsync-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind("\0" + name[1:] if name.startswith("@") else name)
        channel.setblocking(False)
        yield NotifySocket(channel, name)


async def test_systemd_hears_of_the_whole_life(systemd: NotifySocket) -> None:
    """READY after the first pass, RELOADING with its time and READY again around a reload, STOPPING at the end; a status."""
    async with script("quick", NOTIFY_SOCKET=systemd.name) as run:
        await run.line("pass start")
        run.process.send_signal(signal.SIGHUP)
        await run.line("pass config")
        run.process.terminate()
        await run.wait_until()
    heard = systemd.heard()
    reloading = next(message for message in heard if message.startswith("RELOADING=1"))
    assert int(reloading.partition("\nMONOTONIC_USEC=")[2]) > 0
    milestones = [message for message in heard if not message.startswith("STATUS=")]
    assert milestones == ["READY=1", reloading, "READY=1", "STOPPING=1"]
    assert "STATUS=1 targets" in heard


async def test_the_watchdog_is_fed_by_the_loop_itself(systemd: NotifySocket) -> None:
    """While the loop works the watchdog is fed at twice its rate; while the loop is stuck it is not."""
    async with script("stuck", NOTIFY_SOCKET=systemd.name, WATCHDOG_USEC="100000") as run:
        await run.line("stuck")
        assert "WATCHDOG=1" in systemd.heard()
        await asyncio.sleep(0.3)  # six times as long as the loop takes to feed it
        assert systemd.heard() == []
        assert run.process.stdin is not None
        run.process.stdin.write(b"\n")
        await until(lambda: "WATCHDOG=1" in systemd.heard())
        run.process.terminate()
        await run.wait_until()


async def test_a_watchdog_of_another_process_is_not_fed(systemd: NotifySocket) -> None:
    """`WATCHDOG_PID` says whom the watchdog watches."""
    async with script("quick", NOTIFY_SOCKET=systemd.name, WATCHDOG_USEC="1000", WATCHDOG_PID="1") as run:
        await run.line("pass start")
        run.process.terminate()
        await run.wait_until()
    assert "WATCHDOG=1" not in systemd.heard()


async def test_a_socket_that_nobody_reads_is_borne() -> None:
    """That nobody listens any more is not a reason to stop."""
    async with script("quick", NOTIFY_SOCKET="/nonexistent/notify", WATCHDOG_USEC="10000") as run:
        await run.line("pass start")
        run.process.terminate()
        assert (await run.wait_until())[-1] == "left SIGTERM 0"
