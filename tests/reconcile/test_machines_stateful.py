"""Two machines, one store that keeps the ledger, and anything in between: foreign entries are untouched, and in peace both
agree."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from kvsync.errors import TransientError
from kvsync.model.pass_options import PassOptions
from kvsync.stores.memory.backend import RemoteKey
from tests.support.examples import examples
from tests.support.machines import SHARED_KINDS, Machine, keys_there
from tests.support.memory_repository import MemoryRepository, rows

OURS = st.sampled_from(["k0", "k1", "k2"])
MACHINES = st.sampled_from([0, 1])
VALUES = st.sampled_from(["one", "two", "three"])
SHAPES = st.sampled_from(["{value}", "{{value: {value}, ttl: 1h}}", "{{value: {value}, sensitive: true}}"])
FREE_HAND = "{guard: {max_update_pct: 100, max_delete_pct: 100}}"


class TwoMachines(RuleBasedStateMachine):
    """Passes of two machines, by turns and at the same time, while files and store change and calls fail."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(prefix="kvsync-machines-")
        self.patch = pytest.MonkeyPatch()
        self.foreign = 0
        self.has_lost = False

    @initialize(kind=st.sampled_from(SHARED_KINDS))
    def begin(self, kind: str) -> None:
        self.repo = MemoryRepository(Path(self.folder.name), self.patch, kind, FREE_HAND)
        self.machines = [Machine(self.repo, name) for name in ("one", "two")]
        self.keys = {"anchor": "stays"}
        self.repo.want(self.keys)
        self.write_theirs()

    def teardown(self) -> None:
        self.patch.undo()
        self.folder.cleanup()

    def write_theirs(self) -> None:
        self.foreign += 1
        self.repo.server.write("web", "theirs", b"%d" % self.foreign)

    @rule(key=OURS, value=VALUES, shape=SHAPES)
    def files_ask(self, key: str, value: str, shape: str) -> None:
        self.keys[key] = shape.format(value=value)
        self.repo.want(self.keys)

    @rule(key=OURS)
    def files_drop(self, key: str) -> None:
        self.keys.pop(key, None)
        self.repo.want(self.keys)

    @rule(key=OURS, value=VALUES)
    def others_change_ours(self, key: str, value: str) -> None:
        if RemoteKey(key) in self.repo.server.held.get("web", {}):
            self.repo.edit(key, value)

    @rule(key=OURS)
    def others_delete_ours(self, key: str) -> None:
        self.repo.server.delete("web", key)

    @rule(seconds=st.sampled_from([1, 1900, 4000, 6_000_000]))
    def time_passes(self, seconds: int) -> None:
        self.repo.clock.advance(seconds)

    @rule(fault=st.sampled_from(["lose", "fail", "leave", "cut"]))
    def something_breaks(self, fault: str) -> None:
        server = self.repo.server
        match fault:
            case "lose":
                server.lose_answers(times=2)
            case "fail":
                server.fail(TransientError("reset"), on=["change"])
            case "leave":
                server.fail(TransientError("down"), times=20, on=["put_ledger"])
            case "cut":
                server.list_incompletely(keep=1)

    @rule(which=MACHINES, deep=st.booleans())
    def one_pass(self, which: int, deep: bool) -> None:
        asyncio.run(self.machines[which].apply(PassOptions(deep=deep)))

    @rule(which=MACHINES)
    def both_at_once(self, which: int) -> None:
        """The other machine does its pass right before the first write of this one."""
        self.repo.server.before_change(self.machines[1 - which].apply_meanwhile)
        asyncio.run(self.machines[which].apply())
        self.repo.server._interruptions.clear()

    @rule(which=MACHINES)
    def a_machine_is_lost(self, which: int) -> None:
        if self.machines[which].path.exists():
            self.machines[which].forget()
            self.has_lost = True

    @rule()
    def the_ledger_is_lost(self) -> None:
        self.repo.server.ledgers.clear()
        self.has_lost = True

    @rule()
    def peace(self) -> None:
        """Without faults, passes of both make the store what the files ask, and leave nothing to do for either; only where
        memory was lost may something be nobody's."""
        self.repo.server.heal()
        self.repo.clock.advance(100_000)  # past every quarantine and every contention
        for machine in (*self.machines, *self.machines):
            asyncio.run(machine.apply(PassOptions(deep=True)))
        plans = [asyncio.run(machine.plan(PassOptions(deep=True))) for machine in self.machines]
        assert [rows(plan) for plan in plans] == [[], []]
        assert [plan.error for plan in plans] == [None, None]
        if self.has_lost:
            return
        assert [plan.refused for plan in plans] == [(), ()]
        wanted = {
            key: text if "value:" not in text else text.split("value: ")[1].split(",")[0]
            for key, text in self.keys.items()
        }
        assert {key: value for key, value in self.repo.values().items() if key != "theirs"} == wanted
        assert keys_there(self.repo) == wanted.keys()

    @rule(which=MACHINES)
    def a_second_pass_writes_nothing(self, which: int) -> None:
        """Promise 1, for machines that share a store."""
        self.peace()
        self.repo.server.calls.clear()
        asyncio.run(self.machines[which].apply())
        assert {call.method for call in self.repo.server.calls} <= {"listing", "lookup"}

    @invariant()
    def foreign_entries_are_untouched(self) -> None:
        assert self.repo.server.held["web"][RemoteKey("theirs")].content.value == b"%d" % self.foreign


TestTwoMachines = TwoMachines.TestCase
TestTwoMachines.settings = settings(
    max_examples=examples(20), stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck)
)
