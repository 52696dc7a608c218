"""A repository for one Workers KV account, as the tests of whole passes use it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from kvsync.app import Report, TargetSelection, Workspace, open_workspace
from kvsync.model.pass_options import PassOptions
from kvsync.model.plan import TargetPlan
from kvsync.testing import FakeClock
from kvsync.util.clock import Clock
from kvsync.util.redaction import Redactor
from tests.stores.cloudflare_service import Service


class HastyClock(Clock):
    """The present is as it is, but waiting takes no time."""

    def __init__(self) -> None:
        self._waited = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self._waited

    async def sleep(self, seconds: float) -> None:
        self._waited += seconds
        await asyncio.sleep(0)


class LaterClock(HastyClock):
    """Past the window in which a listing may be late."""

    def now(self) -> float:
        return super().now() + 61


class SharedClock(FakeClock):
    """A clock that the service goes by as well."""

    def __init__(self, kv: Service) -> None:
        super().__init__(float(int(time.time())))
        self._kv = kv
        kv.time(self.now())

    def advance(self, seconds: float) -> None:
        super().advance(seconds)
        self._kv.time(self.now())


class Repo:
    """A folder with `kvsync.yaml` and state files for one store."""

    def __init__(self, root: Path, kv: Service, extra: str = "", policy: str = "{prune: owned}") -> None:
        self.root, self.kv, self.clock = root, kv, HastyClock()
        self.redactor = Redactor()
        (root / "state").mkdir()
        (root / "kvsync.yaml").write_text(
            f"version: 1\nowner: team-a\npolicy: {policy}\nauthors: {{env: [API_TOKEN]}}\n"
            f"stores:\n  edge:\n    type: cloudflare-kv\n"
            f"    account_id: {kv.account}\n    token: {{env: CLOUDFLARE_API_TOKEN}}\n    endpoint: {kv.url}\n{extra}"
        )

    def want(self, keys: Mapping[str, Any] | str, more: str = "") -> None:
        """Ask for these entries, given as YAML texts."""
        lines = keys if isinstance(keys, str) else "".join(f"  {key}: {value}\n" for key, value in keys.items())
        block = f"keys:\n{lines}" if lines else "keys: {}\n"
        (self.root / "state/web.yaml").write_text(f"store: edge\nnamespace: web\n{more}{block}")

    @asynccontextmanager
    async def open(self, writing: str | None = "test") -> AsyncIterator[Workspace]:
        environ = {**self.kv.env, "API_TOKEN": "very-secret-token"}
        async with open_workspace(
            self.root / "kvsync.yaml", writing=writing, environ=environ, clock=self.clock, redactor=self.redactor
        ) as workspace:
            yield workspace

    async def plan(self, writing: str | None = None, *, deep: bool = False) -> TargetPlan:
        """Plan, as a process of its own."""
        async with self.open(writing) as workspace:
            return (await workspace.plan(TargetSelection(ask=PassOptions(deep=deep)))).targets[0]

    async def apply(self, between: Callable[[], None] = lambda: None, *, deep: bool = False) -> Report:
        """Plan, let something happen, and apply, as a process of its own."""
        async with self.open() as workspace:
            plan = await workspace.plan(TargetSelection(ask=PassOptions(deep=deep)))
            assert all(target.error is None for target in plan.targets), [target.error for target in plan.targets]
            between()
            return await workspace.apply(plan, command="test", approvals=[plan.digest])

    async def converge(self, most: int = 12) -> int:
        """Apply until there is nothing left to do; says how many runs it took."""
        for number in range(1, most + 1):
            async with self.open() as workspace:
                plan = await workspace.plan(TargetSelection())
                if not any(target.error or target.changes or target.parked for target in plan.targets):
                    return number
                await workspace.apply(plan, command="test")
        raise AssertionError(f"not converged after {most} runs")

    async def settle(self, keys: Mapping[str, Any] | str, more: str = "") -> None:
        """Bring the store to this state, undisturbed."""
        self.want(keys, more)
        report = await self.apply()
        assert set(outcomes(report).values()) <= {"applied"}, outcomes(report)
        self.kv.forget_requests()

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run kvsync."""
        return subprocess.run(self.words(*arguments), env=self.environ(), capture_output=True, text=True, check=False)

    def words(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "kvsync", "-c", str(self.root / "kvsync.yaml"), *arguments]

    def environ(self) -> dict[str, str]:
        return {**os.environ, **self.kv.env, "API_TOKEN": "very-secret-token"}


def changes(plan: TargetPlan) -> list[tuple[str, str, str]]:
    return [(one.action.value, one.cause.value, str(one.identity)) for one in plan.changes]


def outcomes(report: Report) -> dict[str, str]:
    return {str(one.identity): one.kind.value for target in report.targets for one in target.outcomes}


def many(count: int, value: str = "v") -> str:
    return "".join(f"  key-{number:05}: {value}{number}\n" for number in range(count))
