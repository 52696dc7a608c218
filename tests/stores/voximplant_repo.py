"""A repository, its machines and its clock, for one Voximplant application."""

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
from tests.stores.voximplant_service import Service

FREELY = "{prune: owned, guard: {max_delete_pct: 100, max_update_pct: 100}}"


class HastyClock(Clock):
    """The present is as it is, but waiting takes no time."""

    def __init__(self) -> None:
        self.waited = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.waited

    async def sleep(self, seconds: float) -> None:
        self.waited += seconds
        await asyncio.sleep(0)


class SharedClock(FakeClock):
    """A clock that the service goes by as well."""

    def __init__(self, vox: Service) -> None:
        super().__init__(float(int(time.time())))
        self._vox = vox
        vox.time(self.now())

    def advance(self, seconds: float) -> None:
        super().advance(seconds)
        self._vox.time(self.now())


class Repo:
    """A folder with `kvsync.yaml` and state files for one store. A machine is known by its state directory."""

    def __init__(
        self,
        root: Path,
        vox: Service,
        *,
        ledger: str = "local",
        application: str = "application_id: 1",
        extra: str = "",
        policy: str = FREELY,
    ) -> None:
        self.root, self.vox = root, vox
        self.clock: Clock = HastyClock()
        self.redactor = Redactor()
        self._ledger, self._policy = ledger, policy
        (root / "state").mkdir()
        self.configure(application, extra)

    def configure(self, application: str, extra: str = "") -> None:
        """Write `kvsync.yaml` with this application, of the service that `vox` is at the moment."""
        (self.root / "kvsync.yaml").write_text(
            f"version: 1\nowner: team-a\npolicy: {self._policy}\nauthors: {{env: [API_TOKEN]}}\n"
            f"stores:\n  telephony:\n    type: voximplant\n"
            f"    credentials: {{env: VOXIMPLANT_CREDENTIALS}}\n    {application}\n    requests_per_second: 100000\n"
            f"    ledger: {self._ledger}\n    endpoint: {self.vox.url}\n{extra}"
        )

    def want(self, keys: Mapping[str, Any] | str, more: str = "", namespace: str = "web") -> None:
        """Ask for these entries, given as YAML texts."""
        lines = keys if isinstance(keys, str) else "".join(f"  {key}: {value}\n" for key, value in keys.items())
        block = f"keys:\n{lines}" if lines else "keys: {}\n"
        file = self.root / "state" / f"{namespace.replace(':', '-')}.yaml"
        file.write_text(f"store: telephony\nnamespace: {namespace}\n{more}{block}")

    @asynccontextmanager
    async def open(self, writing: str | None = "test", machine: str = ".kvsync") -> AsyncIterator[Workspace]:
        environ = {**self.vox.env, "API_TOKEN": "very-secret-token"}
        async with open_workspace(
            self.root / "kvsync.yaml",
            writing=writing,
            environ=environ,
            clock=self.clock,
            redactor=self.redactor,
            state_dir=self.root / machine,
        ) as workspace:
            yield workspace

    async def plan(self, writing: str | None = None, machine: str = ".kvsync") -> TargetPlan:
        """Plan the one target, as a process of its own."""
        async with self.open(writing, machine) as workspace:
            (plan,) = (await workspace.plan()).targets
            return plan

    async def apply(
        self, between: Callable[[], None] = lambda: None, *, machine: str = ".kvsync", ask: PassOptions | None = None
    ) -> Report:
        """Plan, let something happen, and apply, as a process of its own."""
        async with self.open(machine=machine) as workspace:
            plan = await workspace.plan(TargetSelection(ask=ask or PassOptions()))
            assert all(target.error is None for target in plan.targets), [target.error for target in plan.targets]
            between()
            return await workspace.apply(plan, command="test", approvals=[plan.digest])

    async def attempt(self, machine: str = ".kvsync") -> None:
        """Plan and apply whatever comes of it."""
        async with self.open(machine=machine) as workspace:
            await workspace.apply(await workspace.plan(), command="test")

    async def converge(self, most: int = 12, machine: str = ".kvsync") -> int:
        """Apply until there is nothing left to do; says how many runs it took."""
        for number in range(1, most + 1):
            async with self.open(machine=machine) as workspace:
                plan = await workspace.plan()
                if not any(target.error or target.changes or target.parked for target in plan.targets):
                    return number
                await workspace.apply(plan, command="test")
        raise AssertionError(f"not converged after {most} runs")

    async def settle(self, keys: Mapping[str, Any] | str, more: str = "") -> None:
        """Bring the store to this state, undisturbed."""
        self.want(keys, more)
        report = await self.apply()
        assert set(outcomes(report).values()) <= {"applied"}, outcomes(report)
        self.vox.forget_requests()

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run kvsync."""
        return subprocess.run(self.words(*arguments), env=self.environ(), capture_output=True, text=True, check=False)

    def words(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "kvsync", "-c", str(self.root / "kvsync.yaml"), *arguments]

    def environ(self) -> dict[str, str]:
        return {**os.environ, **self.vox.env, "API_TOKEN": "very-secret-token"}


def changes(plan: TargetPlan) -> list[tuple[str, str, str]]:
    return [(one.action.value, one.cause.value, str(one.identity)) for one in plan.changes]


def outcomes(report: Report) -> dict[str, str]:
    return {str(one.identity): one.kind.value for target in report.targets for one in target.outcomes}


def many(count: int, value: str = "v") -> str:
    return "".join(f"  key-{number:05}: {value}{number}\n" for number in range(count))
