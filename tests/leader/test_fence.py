"""Nothing is written once the lease is over: asked right before each write, wherever it comes from."""

from __future__ import annotations

import ast
import asyncio
import signal
import socket
import sys
from asyncio.subprocess import PIPE
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from math import inf
from pathlib import Path
from random import Random

import pytest

import kvsync
from kvsync.app.reconciler import WorkspaceReconciler
from kvsync.daemon.ports import PassRequest
from kvsync.errors import LostAnswer, NotLeader
from kvsync.http.client import Client
from kvsync.http.client_options import ClientLimits, ClientOptions
from kvsync.http.model import Request
from kvsync.leader.elector import Elector
from kvsync.leader.model import LeaseClaim, Timing
from kvsync.model.entry import Target
from kvsync.model.health import Traffic
from kvsync.testing import FakeClock
from kvsync.util.clock import Clock
from kvsync.util.write_fence import Fence
from tests.http.script_server import is_silent, says, serving
from tests.leader.test_elector import ScriptedKeeper
from tests.support.memory_repository import MemoryRepository

STORES = Path(kvsync.__file__).parent / "stores"
PUT = Request("PUT", "/a", "writing a", body=b"1")
LEASE = 6.0
"""Seconds of the lease of a process that begins to write meanwhile, however busy the machine is."""


def test_without_a_lease_it_is_open() -> None:
    """Where there are no replicas nothing is held back."""
    assert (Fence().is_open, Fence().allowance(30), Fence().allowance(inf)) == (True, 30, inf)


def test_it_gives_no_more_time_than_there_is() -> None:
    """A write may take as long as it could anyway, and never longer than the lease."""
    fence, left = Fence(), [9.0]
    fence.follow(lambda: left[0])
    assert (fence.allowance(30), fence.allowance(5)) == (9, 5)
    left[0] = 0
    assert not fence.is_open
    with pytest.raises(NotLeader, match="this replica is not the leader"):
        fence.allowance(30)


async def test_a_client_asks_after_it_has_waited() -> None:
    """Whatever a write waits for, the fence is asked afterwards: what was allowed when it began is not sent when it is over.
    Reading goes on."""
    clock, fence = FakeClock(), Fence()
    fence.follow(lambda: 3 - clock.monotonic())
    async with serving(says(200)) as server:
        limits = ClientLimits(writes_per_second=0.5)
        client = Client("store x", server.origin, clock, Traffic(), ClientOptions(limits=limits, fence=fence))
        await client.send(PUT)
        await client.send(PUT)  # two seconds later
        with pytest.raises(NotLeader, match="store x: writing a was not sent: this replica is not the leader"):
            await client.send(PUT)
        assert [one.line.split()[0] for one in server.seen] == ["PUT", "PUT"]
        await client.send(Request("GET", "/a", "reading a"))
        await client.aclose()


@pytest.mark.parametrize("call", [PUT, Request("DELETE", "/a", "deleting a")], ids=["put", "delete"])
async def test_a_write_whose_connection_took_longer_than_the_lease_is_not_sent(call: Request) -> None:
    """The fence is asked once more when there is a connection, whether a new one or one that was kept: a process that was
    stopped until then sends nothing, and the write counts as not sent."""
    fence, answers = Fence(), [9.0, 9.0]
    fence.follow(lambda: answers.pop(0) if answers else 0)
    async with serving(says(200)) as server:
        client = Client("store x", server.origin, Clock(), Traffic(), ClientOptions(fence=fence))
        await client.send(Request("PUT", "/a", "writing a"))
        for _ in range(2):
            answers.append(9.0)
            with pytest.raises(NotLeader, match="was not sent: this replica is not the leader"):
                await client.send(call)
        assert len(server.seen) == 1
        await client.aclose()


@pytest.mark.parametrize("checks", range(1, 4))
@pytest.mark.parametrize("call", [PUT, Request("DELETE", "/a", "deleting a")], ids=["put", "delete"])
async def test_between_the_last_check_and_the_sending_the_event_loop_does_not_turn(call: Request, checks: int) -> None:
    """A process that is stopped in a turn of its event loop, whichever of its checks came last, sends nothing when it goes on
    after its lease: what the server has not got by then it never gets."""
    loop, fence, asked, at_the_end = asyncio.get_running_loop(), Fence(), [0], list[bytes]()

    def seconds_left() -> float:
        asked[0] += 1
        if asked[0] == checks:
            loop.call_soon(lambda: at_the_end.append(wire.news()))
        return 0.0 if at_the_end else 0.2

    fence.follow(seconds_left)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        wire = Wire(listening)
        client = Client("store x", wire.origin, Clock(), Traffic(), ClientOptions(fence=fence))
        with pytest.raises((NotLeader, LostAnswer)):
            await client.send(call)
        late = wire.news() if at_the_end else b""
        await client.aclose()
        wire.close()
    assert late == b""


class Wire:
    """A server that accepts one connection and never answers. The kernel brings it what was sent, even to a stopped process."""

    def __init__(self, listening: socket.socket) -> None:
        listening.setblocking(False)
        self._listening = listening
        self._connection: socket.socket | None = None
        self.origin = f"http://127.0.0.1:{listening.getsockname()[1]}"

    def news(self) -> bytes:
        """What has arrived since the last time."""
        with suppress(BlockingIOError, ConnectionError):
            if self._connection is None:
                self._connection, _ = self._listening.accept()
                self._connection.setblocking(False)
            return self._connection.recv(2**16)
        return b""

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._connection is not None:
            self._connection.close()


async def test_a_write_in_flight_ends_before_the_lease() -> None:
    """However long a call may take otherwise, it is broken off when the lease is nearly over, and counts as lost."""
    fence, left = Fence(), [60.0]
    fence.follow(lambda: left[0])
    async with serving(says(200), is_silent) as server:
        client = Client(
            "store x", server.origin, Clock(), Traffic(), ClientOptions(limits=ClientLimits(timeout=60), fence=fence)
        )
        await client.send(PUT)  # so that there is a connection
        left[0] = 0.3
        with pytest.raises(
            LostAnswer, match=r"no response from \S+ within 0.3 s; .*; the request may or may not have been carried out"
        ):
            await client.send(PUT)
        await client.aclose()


class SlowServer:
    """Reads one request and never answers. `taken` is what it has of the body; it begins to read it once `goes_on`."""

    def __init__(self) -> None:
        self.taken, self.begun, self.goes_on, self.ended = (
            bytearray(),
            asyncio.Event(),
            asyncio.Event(),
            asyncio.Event(),
        )

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.begun.set()
        await self.goes_on.wait()
        with suppress(ConnectionError):
            while piece := await reader.read(2**16):
                self.taken.extend(piece)
        writer.close()
        self.ended.set()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """The origin under which it serves, on a way that holds little."""
        listening = socket.create_server(("127.0.0.1", 0))
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**15)
        async with await asyncio.start_server(self, sock=listening, limit=2**14):
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
            await self.ended.wait()


async def test_a_write_that_is_being_sent_ends_with_the_lease() -> None:
    """The fence is asked before each piece of a body, so a write that another leader overtakes is not sent to its end."""
    fence, size, server = Fence(), 24_000_000, SlowServer()
    fence.follow(lambda: 60 if len(server.taken) < size // 4 else 0)
    server.goes_on.set()
    async with server.serving() as origin:
        client = Client("store x", origin, Clock(), Traffic(), ClientOptions(fence=fence))
        with pytest.raises(LostAnswer, match="the lease ended before the request was sent completely"):
            await client.send(Request("PUT", "/a", "writing a", body=bytes(size)))
        await client.aclose()
    assert len(server.taken) < size


@pytest.mark.system
async def test_a_long_write_of_a_stopped_process_is_not_completed() -> None:
    """A leader is stopped in the middle of a body, on a slow way to the server, and goes on after its lease. Neither the kernel
    nor the process sends the rest: the server never has the whole write."""
    size, server = 200_000, SlowServer()
    async with server.serving() as origin:
        command = (sys.executable, "-m", "tests.leader.stopped_writer", origin, str(LEASE), str(size))
        writer = await asyncio.create_subprocess_exec(*command, stdout=PIPE)
        await server.begun.wait()
        writer.send_signal(signal.SIGSTOP)
        await asyncio.sleep(LEASE)
        server.goes_on.set()
        await asyncio.sleep(1)  # what the kernel holds arrives
        writer.send_signal(signal.SIGCONT)
        told, _ = await writer.communicate()
    assert len(server.taken) < size
    assert told.startswith(b"LostAnswer"), told


def test_every_store_hands_the_fence_to_its_client() -> None:
    """Stores make HTTP clients in one place, and that place hands the fence on. Vault has one more, which only signs in."""
    calls = [
        (file.relative_to(STORES).as_posix(), call)
        for file in sorted(STORES.rglob("*.py"))
        for call in ast.walk(ast.parse(file.read_text()))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name)
    ]
    made = [file for file, call in calls if ast.unparse(call.func) == "Client"]
    assert made == ["remote_store.py", "vault_kv/remote.py"]
    assert [file for file, call in calls if "fence" in {one.arg for one in call.keywords}] == ["remote_store.py"]


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MemoryRepository:
    """Over a store that takes one write a call, four at a time."""
    return MemoryRepository(tmp_path, monkeypatch, kind="memory-prefix")


async def test_a_lease_that_is_lost_in_the_middle_of_a_pass(repo: MemoryRepository) -> None:
    """No further call goes out; the rest counts as not attempted, the journal is complete, and the next leader goes on."""
    repo.want({f"k{number:02}": 1 for number in range(40)})
    async with repo.open("run") as workspace:
        workspace.pass_context.fence.follow(lambda: 10 if repo.writes() < 7 else 0)
        reconciler = WorkspaceReconciler(workspace, workspace.pass_context, {})
        await reconciler.load()
        result = await reconciler.reconcile(PassRequest(Target("main", "web")), lambda: False)
        (run,) = workspace.state.journal.runs()
        changes = workspace.state.journal.changes(run.id)
    applied = result.changes["applied"]
    assert 7 <= applied < 40
    assert result.changes["not-attempted"] == 40 - applied
    assert result.error is None
    assert all(change.outcome is not None for change in changes)
    assert len(repo.values()) == applied
    await repo.apply()
    assert len(repo.values()) == 40


async def test_a_write_that_the_fence_stops_was_not_attempted(repo: MemoryRepository) -> None:
    """A fence that closes between the plan and the first call: nothing is sent, and the reason is in the outcome."""
    repo.want({"a": 1})
    async with repo.open("run") as workspace:
        plan = await workspace.plan()
        workspace.pass_context.fence.follow(lambda: 0)
        report = await workspace.apply(plan, command="run")
    (outcome,) = report.targets[0].outcomes
    assert (outcome.kind, outcome.error) == (
        "not-attempted",
        "this replica is no longer the leader; the new leader continues",
    )
    assert repo.writes() == 0


async def test_a_process_that_was_paused_sends_nothing_before_it_has_asked(repo: MemoryRepository) -> None:
    """Time passed while nothing of this process ran, not even the election: the first write finds out by the clock alone."""
    elector = Elector(
        ScriptedKeeper(LeaseClaim("us", is_ours=True, duration=10)), "us", Timing(10, 7, 2), repo.clock, Random(1)
    )
    await elector.turn()
    repo.want({f"k{number}": 1 for number in range(9)})
    async with repo.open("run") as workspace:
        workspace.pass_context.fence.follow(elector.seconds_left)
        plan = await workspace.plan()

        def paused(_done: int) -> None:
            repo.clock.advance(8)

        report = await workspace.apply(plan, command="run", progress=paused)
    assert 1 <= repo.writes() <= 4, "those that were in flight together"
    kinds = Counter(one.kind.value for one in report.targets[0].outcomes)
    assert kinds == {"applied": repo.writes(), "not-attempted": 9 - repo.writes()}
