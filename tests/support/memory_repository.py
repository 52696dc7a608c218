"""A repository over in-memory stores with a fake clock, for tests of whole passes: edit files, plan, apply."""

from __future__ import annotations

import textwrap
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kvsync.app import Report, TargetSelection, Workspace, open_workspace
from kvsync.app.undo import UndoChoice, UndoOperation, chosen_runs
from kvsync.model.capabilities import Lifetimes
from kvsync.model.change import OutcomeKind
from kvsync.model.entry import Identity
from kvsync.model.pass_options import PassOptions
from kvsync.model.plan import Plan, TargetPlan
from kvsync.stores.memory.backend import RemoteKey
from kvsync.stores.memory.store import _SHARED, MemoryStore
from kvsync.stores.registry import BUILTIN
from kvsync.testing import FakeClock, MemoryServer
from kvsync.util.redaction import Redactor
from tests.support.stores import KINDS, PLACES

OWNER = "team-a"

Row = tuple[str, str, str]
"""Action, class and key of one change."""


class MemoryRepository:
    """A repository: one folder with `kvsync.yaml`, one memory server behind the store `main`, and a clock that stands still."""

    def __init__(
        self,
        root: Path,
        patch: pytest.MonkeyPatch,
        kind: str = "memory",
        policy: str = "{}",
        *,
        owner: str = OWNER,
        clock: FakeClock | None = None,
    ) -> None:
        self.root, self.clock, self.kind, self.owner = root, clock or FakeClock(), kind, owner
        self.owner_keys: tuple[bytes, ...] = ()
        self.server = MemoryServer(self.clock)
        for name, place in PLACES.items():
            patch.setitem(BUILTIN, name, place)
        patch.setitem(_SHARED, str(root), self.server)
        self.configure(policy)

    def configure(self, policy: str = "{}", *, stores: str = "", more: str = "", options: str = "") -> None:
        """Write the configuration; `stores` and `more` are lines for it, `policy` and `options` go into the store `main`."""
        main = f"  main: {{type: {self.kind}, shared: {self.root}, policy: {policy}{options}}}\n"
        head = (
            f'version: 1\nowner: {self.owner}\nstate: ["state/**/*.yaml"]\npolicy: {{prune: owned}}\n{more}\nstores:\n'
        )
        (self.root / "kvsync.yaml").write_text(head + main + textwrap.indent(stores, "  "))
        (self.root / "state").mkdir(exist_ok=True)

    def state(self, text: str, name: str = "web.yaml") -> None:
        """Write a state file, whole."""
        (self.root / "state" / name).write_text(textwrap.dedent(text))

    def want(self, keys: Mapping[str, Any] | str, extra: str = "") -> None:
        """Write the one state file of the target main/web. Values are written in YAML as they are given."""
        lines = keys if isinstance(keys, str) else "".join(f"  {key}: {value}\n" for key, value in keys.items())
        block = f"keys:\n{lines}" if lines else "keys: {}\n"
        self.state(f"store: main\nnamespace: web\n{block}{textwrap.dedent(extra)}")

    @asynccontextmanager
    async def open(self, writing: str | None = "test", **given: Any) -> AsyncIterator[Workspace]:
        """Open it as a command would."""
        options: dict[str, Any] = {"environ": {}, "redactor": Redactor(), "clock": self.clock} | given
        async with open_workspace(self.root / "kvsync.yaml", writing=writing, **options) as workspace:
            workspace.passes.context = replace(workspace.passes.context, owner_keys=lambda: self.owner_keys)
            yield workspace

    async def plan(self, ask: PassOptions | None = None, *, writing: str | None = None, **options: Any) -> TargetPlan:
        """The plan of the one target, as a command of its own."""
        (plan,) = (await self.plan_all(ask, writing=writing, **options)).targets
        return plan

    async def plan_all(self, ask: PassOptions | None = None, *, writing: str | None = None, **options: Any) -> Plan:
        """The plan of all targets, as a command of its own."""
        async with self.open(writing, **options) as workspace:
            return await workspace.plan(TargetSelection(ask=ask or PassOptions()))

    async def apply(self, ask: PassOptions | None = None, *, approvals: Collection[str] = (), **options: Any) -> Report:
        """Plan and apply, as a command of its own."""
        async with self.open(**options) as workspace:
            plan = await workspace.plan(TargetSelection(ask=ask or PassOptions()))
            return await workspace.apply(plan, command="test", approvals=approvals)

    async def undo(self, run: str | UndoChoice) -> Report:
        """Take a run back, or the runs of a choice, as a command of its own."""
        choice = run if isinstance(run, UndoChoice) else UndoChoice(run)
        async with self.open("undo") as workspace:
            chosen = chosen_runs(workspace.state, choice, self.clock.now())
            undoing = UndoOperation(workspace, chosen, workspace.load())
            return await undoing.apply(await undoing.plan(), lambda: False, lambda _count: None)

    async def settle(self, keys: Mapping[str, Any] | None = None) -> None:
        """Bring the store to what the files ask, undisturbed, and past the time its listing may be late."""
        if keys is not None:
            self.want(keys)
        report = await self.apply()
        assert set(outcomes(report).values()) <= {"applied"}, outcomes(report)
        self.clock.advance(KINDS[self.kind].capabilities.settle)
        assert rows(await self.plan(writing="test")) == []
        self.server.calls.clear()

    def edit(self, key: str, value: str, label: str | None = None) -> None:
        """Change a value as someone does who leaves the mark where it is."""
        held = self.server.held["web"][RemoteKey(key, label)]
        self.server.write("web", key, value.encode(), label=label, mark=held.mark, expires_at=held.expires_at)

    def held(self, key: str, label: str | None = None) -> str | None:
        """The value that the store holds, as text."""
        return self.values().get(str(Identity(key, label)))

    def values(self) -> dict[str, str]:
        """Everything that the target main/web holds, without what has ended on its own."""
        has_lifetimes = KINDS.get(self.kind, MemoryStore).capabilities.lifetimes is Lifetimes.NATIVE
        now = self.clock.now() if has_lifetimes else 0.0
        return {
            str(Identity(*slot)): held.content.value.decode()
            for slot, held in self.server.held.get("web", {}).items()
            if held.expires_at is None or held.expires_at > now
        }

    def writes(self) -> int:
        """How many calls wrote since the calls were last cleared."""
        return self.server.count("change")


def only(items: Iterable[Any]) -> Any:
    """The one item there is."""
    (item,) = items
    return item


def rows(plan: TargetPlan) -> list[Row]:
    """What a plan would do."""
    return [(change.action.value, change.cause.value, str(change.identity)) for change in plan.changes]


def reported(plan: TargetPlan) -> list[Row]:
    """What a plan only reports."""
    return rows(replace(plan, changes=plan.reported))


def refused(plan: TargetPlan) -> list[Row]:
    """What a plan refuses."""
    return [(refusal.action.value, refusal.cause.value, str(refusal.identity)) for refusal in plan.refused]


def outcomes(report: Report) -> dict[str, str]:
    """What became of each entry."""
    return {str(one.identity): one.kind.value for target in report.targets for one in target.outcomes}


def is_clean(report: Report) -> bool:
    """True when every target could be planned, and all was applied."""
    if any(target.error or target.plan.error for target in report.targets):
        return False
    return all(one.kind is OutcomeKind.APPLIED for target in report.targets for one in target.outcomes)


__all__ = ["OWNER", "MemoryRepository", "is_clean", "only", "outcomes", "refused", "reported", "rows"]
