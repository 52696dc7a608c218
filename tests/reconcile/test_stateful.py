"""Anything may happen between two passes; after each one foreign entries are untouched, and in peace everything converges."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kvsync.errors import TransientError
from kvsync.model.capabilities import Marks
from kvsync.model.entry import Content
from kvsync.model.pass_options import PassOptions
from kvsync.stores.memory.backend import RemoteKey, StoredEntry
from tests.support.examples import examples
from tests.support.memory_repository import MemoryRepository, rows
from tests.support.stores import KINDS

OURS = st.sampled_from(["k0", "k1", "k2", "k3", "k4"])
THEIRS = st.sampled_from(["f0", "f1", "f2"])
VALUES = st.sampled_from(["one", "two", "three"])
SHAPES = st.sampled_from(["{value}", "{{value: {value}, ttl: 1h}}", "{{value: {value}, sensitive: true}}"])
FREE_HAND = "{guard: {max_update_pct: 100, max_delete_pct: 100}}"


class RandomOperations(RuleBasedStateMachine):
    """Files and store change at random, calls fail at random, time passes, and kvsync does its passes in between."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(prefix="kvsync-turmoil-")
        self.patch = pytest.MonkeyPatch()
        self.keys: dict[str, str] = {}
        self.foreign: dict[str, str] = {}

    @initialize(kind=st.sampled_from(sorted(KINDS)), late=st.booleans())
    def begin(self, kind: str, late: bool) -> None:
        self.repo = MemoryRepository(Path(self.folder.name), self.patch, kind, FREE_HAND)
        self.capabilities = KINDS[kind].capabilities
        if late:
            self.repo.server.list_late(self.capabilities.settle)
        self.keys = {"anchor": "stays"}
        self.repo.want(self.keys)

    def teardown(self) -> None:
        self.patch.undo()
        self.folder.cleanup()

    @rule(key=OURS, value=VALUES, shape=SHAPES)
    def files_ask(self, key: str, value: str, shape: str) -> None:
        self.keys[key] = shape.format(value=value)
        self.repo.want(self.keys)

    @rule(key=OURS)
    def files_drop(self, key: str) -> None:
        self.keys.pop(key, None)
        self.repo.want(self.keys)

    @rule(key=THEIRS, value=VALUES)
    def others_write_theirs(self, key: str, value: str) -> None:
        self.foreign[key] = value
        self.repo.server.write("web", key, value.encode())

    @rule(key=OURS, value=VALUES)
    def others_write_ours(self, key: str, value: str) -> None:
        """With the mark left standing where there is one, as an editor of values does."""
        held = self.repo.server.held.get("web", {}).get(RemoteKey(key))
        if held is not None:
            self.repo.edit(key, value)

    @rule(key=OURS)
    def others_delete_ours(self, key: str) -> None:
        self.repo.server.delete("web", key)

    @rule(seconds=st.sampled_from([1, 61, 1900, 4000, 90_000]))
    def time_passes(self, seconds: int) -> None:
        self.repo.clock.advance(seconds)

    @rule(fault=st.sampled_from(["throttle", "lose", "fail", "cut", "refuse", "down"]), key=OURS)
    def something_breaks(self, fault: str, key: str) -> None:
        server = self.repo.server
        match fault:
            case "throttle":
                server.throttle(times=2)
            case "lose":
                server.lose_answers(times=2)
            case "fail":
                server.fail(TransientError("reset"), on=["change"])
            case "cut":
                server.list_incompletely(keep=2)
            case "refuse":
                server.refuse_batches_with(key)
            case "down":
                server.fail(TransientError("down"), times=20)

    @rule(key=THEIRS, value=VALUES)
    def others_are_faster(self, key: str, value: str) -> None:
        """A foreign write that comes right before the next of ours."""

        def write() -> None:
            self.foreign[key] = value
            self.repo.server.write("web", key, value.encode())

        self.repo.server.before_change(write)

    @rule(deep=st.booleans())
    def one_pass(self, deep: bool) -> None:
        ours_before = self.unmarked()
        asyncio.run(self.repo.apply(PassOptions(deep=deep)))
        if self.capabilities.marks is Marks.STORE:
            after = self.repo.server.held.get("web", {})
            for slot, held in ours_before.items():
                assert after[slot].content.value == held.content.value or slot.key in self.foreign

    def unmarked(self) -> dict[RemoteKey, StoredEntry]:
        return {slot: held for slot, held in self.repo.server.held.get("web", {}).items() if held.mark is None}

    @precondition(lambda self: self.keys)
    @rule()
    def peace(self) -> None:
        """Without faults and other writers two passes bring everything to what the files ask, and the next has no work."""
        server = self.repo.server
        was_late = server._lateness
        server.heal()
        server.list_late(was_late)
        self.repo.clock.advance(100_000)  # past every quarantine and every contention
        for _ in range(2):
            asyncio.run(self.repo.apply(PassOptions(deep=True)))
            self.repo.clock.advance(61)
        plan = asyncio.run(self.repo.plan(PassOptions(deep=True)))
        assert rows(plan) == []
        assert plan.error is None
        refused = {refusal.identity.key for refusal in plan.refused}
        assert refused == set(), plan.refused
        wanted = {
            key: text if "value:" not in text else text.split("value: ")[1].split(",")[0]
            for key, text in self.keys.items()
        }
        assert {key: value for key, value in self.repo.values().items() if key not in self.foreign} == wanted

    @invariant()
    def foreign_entries_are_untouched(self) -> None:
        if self.foreign:
            held = self.repo.server.contents("web")
            found = {identity.key: content for identity, content in held.items() if identity.key in self.foreign}
            assert found == {key: Content(value.encode()) for key, value in self.foreign.items()}


TestTurmoil = RandomOperations.TestCase
TestTurmoil.settings = settings(
    max_examples=examples(60), stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
)
