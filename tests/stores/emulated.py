"""What the services of the tests have in common, and the repository of a store with which whole passes are tried."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, ClassVar, Self

import pytest

from kvsync.app import Report, TargetSelection, Workspace, open_workspace
from kvsync.emulators.clock import VirtualClock
from kvsync.emulators.faults import Faults, InjectedFaults
from kvsync.emulators.server import Running
from kvsync.model.pass_options import PassOptions
from kvsync.model.plan import Plan, TargetPlan
from kvsync.stores.base import Store
from kvsync.testing import FakeClock
from kvsync.util.clock import Clock
from kvsync.util.redaction import Redactor
from tests.cli.runner import run_command
from tests.support.emulator import emulator

BOUND = 60.0
"""Seconds that a test waits at most for something real."""

FREELY = "{prune: owned, guard: {max_delete_pct: 100, max_update_pct: 100}}"
"""A policy whose guard holds nothing back."""


def ask(
    method: str, url: str, body: bytes | None, headers: Mapping[str, str] | None = None
) -> tuple[Mapping[str, str], bytes]:
    """Ask over plain HTTP, as a program that knows nothing of kvsync. Raises HTTPError."""
    request = urllib.request.Request(url, body, dict(headers or {}), method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.headers, answer.read()


def as_json(body: Any) -> bytes | None:
    """A body as JSON, none for None."""
    return None if body is None else json.dumps(body).encode()


class EmulatedService(ABC):
    """One running emulator."""

    type: ClassVar[str]

    def __init__(self, server: Running) -> None:
        self.url, self.env = server.url, server.env

    @classmethod
    @contextmanager
    def serve(cls, **options: Any) -> Iterator[Self]:
        """Serve in a thread until the end of the block."""
        with emulator(cls.type, **options) as server:
            found = cls(server)
            try:
                yield found
            finally:
                found.close()

    @abstractmethod
    def open_store(self, *arguments: Any, **options: Any) -> Store:
        """A connection of kvsync's to it."""

    def store_options(self, folder: Path) -> dict[str, Any]:
        """How the tests of this store open it where they do not say; `folder` is the test's own."""
        return {}

    def close(self) -> None:  # noqa: B027 - most hold nothing
        """Release what talks to it."""

    def prepare(self) -> None:
        """Healed, counters at nought, and empty but for the namespace `web` where there are such."""
        self.control("POST", "reset")

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return "/".join(self.url.split("/")[:3])

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """Talk to `/_emulator/`."""
        return json.loads(ask(method, f"{self.origin}/_emulator/{path}", as_json(body))[1])

    def faults(self, spec: str, **settings: Any) -> None:
        """Inject faults from now on; an empty text heals."""
        self.control("PUT", "faults", {"spec": spec, **settings})

    def time(self, moment: float) -> None:
        """Let time stand still at this moment."""
        self.control("PUT", "clock", {"frozen": True, "now": moment})

    def clear_requests(self) -> None:
        """Count from here."""
        self.control("POST", "reset", {"only": ["stats"]})


class ContainerService(EmulatedService):
    """One running emulator of a store whose namespaces are containers of their own, with a name and an id."""

    ids: dict[str, str]

    def prepare(self) -> None:
        """Healed, counters at nought, and nothing but an empty container `web`."""
        self.reset("web")

    def reset(self, *names: str) -> None:
        """Healed, counters at nought, and no other containers than these."""
        self.control("POST", "reset")
        self.ids = {name: self.make(name) for name in names}
        self.clear_requests()

    @abstractmethod
    def make(self, name: str, /) -> str:
        """Make a container; gives its id."""

    @abstractmethod
    def rename(self, name: str, new: str, /) -> None:
        """Give a container another name."""

    @abstractmethod
    def put(self, name: str, key: str, value: bytes, /) -> None:
        """Write one entry."""

    @abstractmethod
    def delete(self, name: str, key: str, /) -> None:
        """Delete one entry."""

    @abstractmethod
    def requests(self) -> dict[str, int]:
        """Requests since `clear_requests` by method and route, below the containers."""

    def total(self) -> int:
        """All requests since `clear_requests`."""
        return sum(self.requests().values())


async def apply_broken_listing(workspace: Workspace, service: EmulatedService, fault: str, **settings: Any) -> None:
    """Let a listing break off after its first page, and approve and apply what is planned by it: nothing is done."""
    await workspace.plan()  # what is asked from here on is the listing
    for seed in range(100):
        service.faults(fault, seed=seed, **settings)
        plan = await workspace.plan()
        if plan.targets[0].parked:
            break
    service.faults("")
    (reason,) = plan.targets[0].parked
    assert "it ended early, after" in reason
    report = await workspace.apply(plan, command="test", approvals=[plan.digest])
    assert "applied" not in outcomes(report).values()


class FastForwardClock(Clock):
    """The present is as it is, `ahead` seconds later, and waiting takes no time."""

    def __init__(self, ahead: float = 0.0) -> None:
        self.ahead, self.waited = ahead, 0.0

    def now(self) -> float:
        return time.time() + self.ahead

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead + self.waited

    async def sleep(self, seconds: float) -> None:
        self.waited += seconds
        await asyncio.sleep(0)


class SharedClock(FakeClock):
    """A clock that the service goes by as well."""

    def __init__(self, service: EmulatedService) -> None:
        super().__init__(float(int(time.time())))
        self._service = service
        service.time(self.now())

    def advance(self, seconds: float) -> None:
        super().advance(seconds)
        self._service.time(self.now())


Connect = Callable[..., Store]
"""Opens a connection to the service of a test, or to the one given first."""


class StoreRepo(ABC):
    """A folder with `kvsync.yaml` and state files for one store. A machine is known by its state directory."""

    store: ClassVar[str]
    """The store's name in `kvsync.yaml`."""

    def __init__(self, root: Path, service: Any, *, policy: str = "{prune: owned}", extra: str = "") -> None:
        self.root, self.service = root, service
        self.clock: Clock = FastForwardClock()
        self.redactor = Redactor()
        (root / "state").mkdir(parents=True, exist_ok=True)
        self._policy = policy
        self.configure(extra)

    @abstractmethod
    def options(self) -> str:
        """The lines of the store in `kvsync.yaml`, its type first, each with four spaces."""

    def configure(self, extra: str = "") -> None:
        """Write `kvsync.yaml`; `extra` are more lines."""
        (self.root / "kvsync.yaml").write_text(
            f"version: 1\nowner: team-a\npolicy: {self._policy}\nauthors: {{env: [API_TOKEN, TOKEN]}}\n"
            f"stores:\n  {self.store}:\n{self.options()}{extra}"
        )

    def want(self, keys: Mapping[str, Any] | str, more: str = "", namespace: str = "web") -> None:
        """Ask for these entries, given as YAML texts."""
        lines = keys if isinstance(keys, str) else "".join(f"  {key}: {value}\n" for key, value in keys.items())
        block = f"keys:\n{lines}" if lines else "keys: {}\n"
        file = self.root / "state" / f"{namespace.replace(':', '-')}.yaml"
        file.write_text(f"store: {self.store}\nnamespace: {namespace}\n{more}{block}")

    @asynccontextmanager
    async def open(self, writing: str | None = "test", machine: str = ".kvsync") -> AsyncIterator[Workspace]:
        """Open the workspace, as a command does."""
        environ = {**self.service.env, "API_TOKEN": "very-secret-token"}
        async with open_workspace(
            self.root / "kvsync.yaml",
            writing=writing,
            environ=environ,
            clock=self.clock,
            redactor=self.redactor,
            state_dir=self.root / machine,
        ) as workspace:
            yield workspace

    async def plan_all(self, writing: str | None = None, machine: str = ".kvsync", *, deep: bool = False) -> Plan:
        """Plan all targets, as a process of its own."""
        async with self.open(writing, machine) as workspace:
            return await workspace.plan(TargetSelection(ask=PassOptions(deep=deep)))

    async def plan(self, writing: str | None = None, machine: str = ".kvsync", *, deep: bool = False) -> TargetPlan:
        """Plan the one target, as a process of its own."""
        (plan,) = (await self.plan_all(writing, machine, deep=deep)).targets
        return plan

    async def apply(
        self,
        between: Callable[[], None] = lambda: None,
        *,
        machine: str = ".kvsync",
        deep: bool = False,
        ask: PassOptions | None = None,
    ) -> Report:
        """Plan, let something happen, and apply, as a process of its own."""
        async with self.open(machine=machine) as workspace:
            plan = await workspace.plan(TargetSelection(ask=ask or PassOptions(deep=deep)))
            assert all(target.error is None for target in plan.targets), [target.error for target in plan.targets]
            between()
            return await workspace.apply(plan, command="test", approvals=[plan.digest])

    async def attempt(self, machine: str = ".kvsync", *, approved: bool = False) -> Plan:
        """Plan and apply whatever comes of it, approved by a person or not; gives the plan."""
        async with self.open(machine=machine) as workspace:
            plan = await workspace.plan()
            await workspace.apply(plan, command="test", approvals=[plan.digest] if approved else [])
            return plan

    async def converge(self, most: int = 12, machine: str = ".kvsync", *, approved: bool = False) -> int:
        """Apply until there is nothing left to do; says how many runs it took."""
        for number in range(1, most + 1):
            plan = await self.attempt(machine, approved=approved)
            if not any(target.error or target.changes or target.parked for target in plan.targets):
                return number
        raise AssertionError(f"not converged after {most} runs")

    async def settle(self, keys: Mapping[str, Any] | str, more: str = "", namespace: str = "web") -> None:
        """Bring the store to this state, undisturbed."""
        self.want(keys, more, namespace)
        report = await self.apply()
        assert set(outcomes(report).values()) <= {"applied"}, outcomes(report)
        self.service.clear_requests()

    def command(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run kvsync, with more in its environment."""
        return run_command(self.words(*arguments)[3:], self.root, self.environ() | more)

    def words(self, *arguments: str) -> list[str]:
        """The words of a command line."""
        return [sys.executable, "-m", "kvsync", "-c", str(self.root / "kvsync.yaml"), *arguments]

    def environ(self) -> dict[str, str]:
        """The environment of a command."""
        return {**os.environ, **self.service.env, "API_TOKEN": "very-secret-token"}


def kill_while_writing(repo: StoreRepo, writes: int) -> None:
    """Kill an apply after so many writes were done, in the middle of the next ones. These arrive after its death."""
    with _held_after(writes) as held:
        with subprocess.Popen(repo.words("apply", "--yes"), env=repo.environ(), stdout=subprocess.DEVNULL) as process:
            is_held = held.wait(BOUND)
            process.kill()
            assert process.wait() == -signal.SIGKILL, "it was over before"
        assert is_held


@contextmanager
def _held_after(most: int) -> Iterator[threading.Event]:
    """Let the emulators carry out so many writes, and hold further ones until the end of the block; gives the event that one
    is held."""
    is_held, goes_on, number, waiting = threading.Event(), threading.Event(), count(), list[object]()
    next_faults, sleep = Faults.next_faults, VirtualClock.sleep

    def deal_so_many(faults: Faults, method: str, *, writes: bool, pages: bool = False) -> InjectedFaults:
        fate = next_faults(faults, method, writes=writes, pages=pages)
        return replace(fate, latency=_HELD) if writes and next(number) >= most else fate

    async def hold(clock: VirtualClock, seconds: float) -> None:
        if seconds != _HELD:
            return await sleep(clock, seconds)
        waiting.append(clock)
        is_held.set()
        while not goes_on.is_set():  # noqa: ASYNC110 - the test is in another thread
            await asyncio.sleep(0.01)
        waiting.pop()
        return None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Faults, "next_faults", deal_so_many)
        patch.setattr(VirtualClock, "sleep", hold)
        try:
            yield is_held
        finally:
            goes_on.set()
            while waiting:
                time.sleep(0.01)


_HELD = 1e9


def changes(plan: Plan | TargetPlan) -> list[tuple[str, str, str]]:
    """Action, class and identity of each change."""
    targets = plan.targets if isinstance(plan, Plan) else (plan,)
    return [(one.action.value, one.cause.value, str(one.identity)) for target in targets for one in target.changes]


def outcomes(report: Report) -> dict[str, str]:
    """What became of each change, by identity."""
    return {str(one.identity): one.kind.value for target in report.targets for one in target.outcomes}


def many(count: int, value: str = "v") -> str:
    """The lines of so many keys."""
    return "".join(f"  key-{number:05}: {value}{number}\n" for number in range(count))
