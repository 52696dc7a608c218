"""A repository for one App Configuration store, as the tests of whole passes use it."""

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
from kvsync.model.plan import Plan
from kvsync.util.clock import Clock
from kvsync.util.redaction import Redactor
from tests.stores.azure_service import Service


class HastyClock(Clock):
    """The present is as it is, but waiting takes no time."""

    def __init__(self) -> None:
        self.ahead = self._waited = 0.0

    def now(self) -> float:
        return time.time() + self.ahead

    def monotonic(self) -> float:
        return time.monotonic() + self._waited

    async def sleep(self, seconds: float) -> None:
        self._waited += seconds
        await asyncio.sleep(0)


class Repo:
    """A folder with `kvsync.yaml` and state files for one App Configuration store."""

    def __init__(self, root: Path, azure: Service, policy: str = "{prune: owned}", extra: str = "") -> None:
        self.root, self.azure, self.clock = root, azure, HastyClock()
        self.redactor = Redactor()
        (root / "state").mkdir()
        (root / "kvsync.yaml").write_text(
            f"version: 1\nowner: team-a\npolicy: {policy}\nauthors: {{env: [API_TOKEN, TOKEN]}}\n"
            f"stores:\n  settings:\n    type: azure-appconfig\n"
            f"    connection_string: {{env: AZURE_APPCONFIG_CONNECTION_STRING}}\n{extra}"
        )

    def want(self, keys: Mapping[str, Any], namespace: str = "web") -> None:
        """Ask for these entries, given as YAML texts."""
        lines = "".join(f"  {key}: {value}\n" for key, value in keys.items()) or "  {}\n"
        (self.root / "state" / f"{namespace}.yaml").write_text(
            f"store: settings\nnamespace: {namespace}\nkeys:\n{lines}"
        )

    @asynccontextmanager
    async def open(self, writing: str | None = "test") -> AsyncIterator[Workspace]:
        environ = {**self.azure.env, "API_TOKEN": "very-secret-token"}
        async with open_workspace(
            self.root / "kvsync.yaml", writing=writing, environ=environ, clock=self.clock, redactor=self.redactor
        ) as workspace:
            yield workspace

    async def plan(self, writing: str | None = None) -> Plan:
        """Plan, as a process of its own."""
        async with self.open(writing) as workspace:
            return await workspace.plan(TargetSelection())

    async def apply(self, between: Callable[[], None] = lambda: None) -> Report:
        """Plan, let something happen, and apply, as a process of its own."""
        async with self.open() as workspace:
            plan = await workspace.plan(TargetSelection())
            assert all(target.error is None for target in plan.targets), [target.error for target in plan.targets]
            between()
            return await workspace.apply(plan, command="test", approvals=[plan.digest])

    async def converge(self, most: int = 12) -> int:
        """Apply until there is nothing left to do; says how many runs it took."""
        for number in range(1, most + 1):
            async with self.open() as workspace:
                plan = await workspace.plan(TargetSelection())
                await workspace.apply(plan, command="test", approvals=[plan.digest])
                if not any(target.error or target.changes for target in plan.targets):
                    return number
        raise AssertionError(f"not converged after {most} runs")

    async def settle(self, keys: Mapping[str, Any], namespace: str = "web") -> None:
        """Bring the store to this state, undisturbed."""
        self.want(keys, namespace)
        report = await self.apply()
        assert set(outcomes(report).values()) <= {"applied"}, outcomes(report)

    def command(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run kvsync, with more in its environment."""
        env = self.environ() | more
        return subprocess.run(self.words(*arguments), env=env, capture_output=True, text=True, check=False)

    def words(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "kvsync", "-c", str(self.root / "kvsync.yaml"), *arguments]

    def environ(self) -> dict[str, str]:
        return {**os.environ, **self.azure.env, "API_TOKEN": "very-secret-token"}


def changes(plan: Plan) -> list[tuple[str, str, str]]:
    return [(one.action.value, one.cause.value, str(one.identity)) for target in plan.targets for one in target.changes]


def outcomes(report: Report) -> dict[str, str]:
    return {str(one.identity): one.kind.value for target in report.targets for one in target.outcomes}
