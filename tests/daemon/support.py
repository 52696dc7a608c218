"""What the daemon's tests share: a clock moved by hand, a scripted reconciler, and a recorder that keeps what it
receives."""

from __future__ import annotations

import asyncio
import io
import json
import math
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from kvsync.config.model import RunConfig
from kvsync.daemon.ports import LoadedTargets, PassRequest
from kvsync.model.entry import Target
from kvsync.model.result import PassResult
from kvsync.state.passes import DaemonRecord
from kvsync.util.clock import Clock

A, B, C = Target("edge", "a"), Target("edge", "b"), Target("core", "c")

QUIET = RunConfig(every=None, deep_every=None, watch=False)
"""Settings with which nothing happens on its own."""

BOUND = 60.0
"""Seconds that a test waits at most for something real."""


class ManualClock(Clock):
    """Stands still until it is moved; who sleeps wakes when the moment is passed."""

    def __init__(self, start: float = 1_800_000_000.0) -> None:
        self._now = self._start = start
        self._stepped = 0.0
        self._sleepers: dict[asyncio.Future[None], float] = {}

    def now(self) -> float:
        return self._now + self._stepped

    def monotonic(self) -> float:
        return self._now - self._start

    def step(self, seconds: float) -> None:
        """Set the wall clock forward, while no time passes."""
        self._stepped += seconds

    async def sleep(self, seconds: float) -> None:
        sleeper: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers[sleeper] = max(self._now + seconds, math.nextafter(self._now, math.inf))  # some time does pass
        try:
            await sleeper
        finally:
            del self._sleepers[sleeper]

    async def advance(self, seconds: float) -> None:
        """Move to each sleeper's moment in turn, letting everybody act, until `seconds` have passed."""
        end = self._now + seconds
        await turns()
        while due := [moment for moment in self._sleepers.values() if moment <= end]:
            self._now = max(self._now, min(due))
            for sleeper, moment in list(self._sleepers.items()):
                if moment <= self._now and not sleeper.done():
                    sleeper.set_result(None)
            await turns()
        self._now = end
        await turns()


async def turns(count: int = 50) -> None:
    """Let everybody who can act do so."""
    for _ in range(count):
        await asyncio.sleep(0)


async def until(condition: Callable[[], Any]) -> None:
    """Wait until it holds; fail when that takes longer than is reasonable for anything real."""
    async with asyncio.timeout(BOUND):
        while not condition():  # noqa: ASYNC110 - what is waited for is outside of the loop: files, processes
            await asyncio.sleep(0.005)


Script = Callable[[PassRequest, Callable[[], bool]], Awaitable[PassResult]]


async def succeed(request: PassRequest, stop: Callable[[], bool]) -> PassResult:
    return PassResult(request.target, digest="sha256:1")


class FakeReconciler:
    """Answers as told, and remembers what it was asked. `scripts` may give a target a behaviour of its own."""

    def __init__(self, targets: Iterable[Target] = (A,)) -> None:
        self.loaded = LoadedTargets(dict.fromkeys(targets, "1"))
        self.loads = self.reloads = 0
        self.touched: list[frozenset[Path] | None] = []
        self.requests: list[PassRequest] = []
        self.finished: list[Target] = []
        self.paused: set[Target] = set()
        self.scripts: dict[Target, Script] = {}
        self.on_load: Callable[[], LoadedTargets] = lambda: self.loaded
        self.on_reload: Callable[[], RunConfig] = lambda: QUIET
        self.has_new_config = False
        self.delay = 0.0

    async def load(self, touched: Collection[Path] | None = None) -> LoadedTargets:
        self.loads += 1
        self.touched.append(None if touched is None else frozenset(touched))
        return self.on_load()

    async def config_changed(self) -> bool:
        return self.has_new_config

    async def reload_config(self) -> RunConfig:
        self.reloads += 1
        self.has_new_config = False
        return self.on_reload()

    def state_delay(self) -> float:
        return self.delay

    def read_ahead(self, target: Target) -> None:
        """Nothing to read."""

    def is_paused(self, target: Target) -> bool:
        return target in self.paused

    def paused_among(self, targets: Collection[Target]) -> Collection[Target]:
        return self.paused.intersection(targets)

    async def reconcile(self, request: PassRequest, stop: Callable[[], bool]) -> PassResult:
        self.requests.append(request)
        result = await self.scripts.get(request.target, succeed)(request, stop)
        self.finished.append(request.target)
        return result

    def asked(self, target: Target) -> list[PassRequest]:
        return [request for request in self.requests if request.target == target]


class FakeRecorder:
    """Keeps the rows that `kvsync status` would show."""

    def __init__(self) -> None:
        self.rows: dict[Target, dict[str, Any]] = {}
        self.daemon: DaemonRecord | None = None
        self.lost: Exception | None = None
        self.restored: str | None = None
        self.seen: list[DaemonRecord] = []

    def record(
        self,
        target: Target,
        at: float,
        *,
        error: str | None = None,
        drift: Mapping[str, int] | None = None,
        changes: Mapping[str, int] | None = None,
        next_at: float | None = None,
    ) -> None:
        self.rows[target] = {"at": at, "error": error, "drift": drift, "changes": changes, "next_at": next_at}

    def keep(self, targets: Iterable[Target]) -> None:
        self.rows = {target: row for target, row in self.rows.items() if target in set(targets)}

    def set_daemon(self, daemon: DaemonRecord) -> None:
        self.daemon = daemon
        self.seen.append(daemon)

    def clear_daemon(self) -> None:
        self.daemon = None

    def check(self) -> str | None:
        if self.lost is not None:
            raise self.lost
        return self.restored


class Log:
    """The events logged since it was made."""

    def __init__(self, stream: io.StringIO) -> None:
        self._stream = stream

    def events(self, name: str | None = None) -> list[dict[str, Any]]:
        events = [json.loads(line) for line in self._stream.getvalue().splitlines()]
        return [event for event in events if name in (None, event["event"])]
