from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from kvsync.apply import outcomes
from kvsync.apply.intents import GroupedIntents
from kvsync.apply.model import PendingStep, Step
from kvsync.apply.ports import RunPort
from kvsync.errors import StateDirError
from kvsync.model.capabilities import Marks
from kvsync.model.change import Action, Change, Class, OutcomeKind
from kvsync.model.entry import Actual, Identity, Target
from kvsync.model.place import LocatedTarget
from kvsync.state import StateDir
from kvsync.state.records import Intent, Settled
from kvsync.stores.base import Write, WriteResult
from tests.apply.harness import TARGET, ApplyHarness, entry, kinds, writes_of
from tests.support.places import key_of

Make = Callable[..., ApplyHarness]


async def test_the_intent_is_committed_before_the_write_is_sent(make: Make) -> None:
    """When a call reaches the store, another reader of the state directory already finds its intents, and besides only those of
    the creates that are sent next."""
    harness = make(batch=2)
    harness.want(*(entry(f"{n:03}") for n in range(200)))
    changes = await harness.plan()
    seen: list[list[str]] = []

    def look() -> None:
        with StateDir.open(harness.path, writable=False) as other:
            seen.append([one.identity.key for one in other.journal.changes(harness.run_id)])

    harness.server.before_change(look, times=100)
    await harness.apply(changes)
    sent = writes_of(harness.server)
    assert [len(keys) for keys in seen] == [64] * 32 + [128] * 32 + [192] * 32 + [200] * 4
    assert all(set(keys) <= set(known) for keys, known in zip(sent, seen, strict=True))


@pytest.mark.parametrize("capabilities", [{"compare_and_set": False}, {"marks": Marks.LEDGER}])
async def test_no_intent_is_committed_early_that_would_decide_what_is_ours(
    make: Make, capabilities: dict[str, Any]
) -> None:
    """Where entries are read before they are written, or the ledger alone knows what is ours, a call finds its own intents
    only."""
    harness = make(batch=1, concurrency=1, **capabilities)
    harness.want(*(entry(f"{n}") for n in range(3)))
    changes = await harness.plan()
    seen: list[int] = []

    def look() -> None:
        with StateDir.open(harness.path, writable=False) as other:
            seen.append(len(other.journal.changes(harness.run_id)))

    harness.server.before_change(look, times=3)
    await harness.apply(changes)
    assert seen == [1, 2, 3]


class CountingRun:
    """A run that counts what it commits."""

    def __init__(self, run: RunPort) -> None:
        self._run, self.id = run, run.id
        self.intended: list[int] = []
        self.settled: list[int] = []

    def restore_point(self, target: Target) -> str | None:
        return self._run.restore_point(target)

    def keep_restore_point(self, target: Target, name: str) -> None:
        self._run.keep_restore_point(target, name)

    def intend(self, located: LocatedTarget, intents: Sequence[Intent]) -> None:
        self.intended.append(len(intents))
        self._run.intend(located, intents)

    def settle(self, located: LocatedTarget, settled: Sequence[Settled]) -> None:
        self.settled.append(len(settled))
        self._run.settle(located, settled)


@pytest.mark.parametrize("concurrency", [1, 8])
async def test_calls_of_one_entry_share_commits(make: Make, concurrency: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit costs as much as a call, so 200 creates of one entry each take 4 for their intents and 4 for their outcomes."""
    monkeypatch.setattr(outcomes, "LONGEST_WAIT", 600.0)
    harness = make(batch=1, concurrency=concurrency)
    harness.want(*(entry(f"{n:03}") for n in range(200)))
    run = CountingRun(harness.state.journal.begin("test"))
    report = await harness.applier(run).run([Step(one) for one in await harness.plan()])
    assert set(kinds(report).values()) == {"applied"}
    assert run.intended == [64, 64, 64, 8]
    assert run.settled == [64, 64, 64, 8]


@pytest.mark.parametrize("capabilities", [{"compare_and_set": False}, {"marks": Marks.LEDGER}])
async def test_calls_that_are_sent_together_share_a_commit(make: Make, capabilities: dict[str, Any]) -> None:
    """Where no intent may be committed early, the calls that are ready at the same time still take one commit, and at no moment
    has the journal more open intents than there are calls in flight."""
    harness = make(batch=1, concurrency=8, **capabilities)
    harness.want(*(entry(f"{n:03}") for n in range(80)))
    changes = await harness.plan()
    run = CountingRun(harness.state.journal.begin("test"))
    report = await harness.applier(run).run([Step(one) for one in changes])
    assert set(kinds(report).values()) == {"applied"}
    assert sum(run.intended) == 80
    assert max(run.intended) <= 8
    assert len(run.intended) <= 30


async def test_a_cancelled_call_leaves_no_intent_and_disturbs_no_other() -> None:
    """Calls wait for one commit together; one that is cancelled meanwhile is not committed, and the others are."""
    committed: list[int] = []
    intents = GroupedIntents(lambda works: committed.extend(work.index for work in works))
    wanted = [entry(f"{index}") for index in range(3)]
    changes = [Change(Action.CREATE, Class.NEW, one.identity, after=one) for one in wanted]
    steps = [[PendingStep(index, Step(change))] for index, change in enumerate(changes)]
    calls = [asyncio.create_task(intents.commit(works)) for works in steps]
    await asyncio.sleep(0)
    calls[1].cancel()
    done = await asyncio.gather(*calls, return_exceptions=True)
    assert committed == [0, 2]
    assert [type(one) for one in done] == [type(None), asyncio.CancelledError, type(None)]


async def test_an_outcome_does_not_wait_for_others(make: Make) -> None:
    """While the second call waits for the store, the outcome of the first is committed."""
    harness = make(batch=1, concurrency=1)
    harness.want(entry("a"), entry("b"))
    changes = await harness.plan()
    write, answered = harness.store.write, asyncio.Event()

    async def slowly(namespace: str, writes: Sequence[Write]) -> Sequence[WriteResult]:
        if writes[0].identity.key == "b":
            async with asyncio.timeout(60):
                while harness.journal() != {"a": OutcomeKind.APPLIED, "b": None}:  # noqa: ASYNC110 - nothing announces it
                    await asyncio.sleep(0.01)
            answered.set()
        return await write(namespace, writes)

    harness.store.write = slowly  # type: ignore[method-assign]
    await harness.apply(changes)
    assert answered.is_set()


async def test_a_stopped_run_closes_the_intents_of_what_it_did_not_send(make: Make) -> None:
    """The journal says `not-attempted` of creates whose intents were committed early, and the run is not interrupted."""
    harness = make(batch=1, concurrency=1)
    harness.want(*(entry(f"{n}") for n in range(9)))
    changes = await harness.plan()
    stopped: list[bool] = []
    harness.server.before_change(lambda: stopped.append(True))
    run = harness.state.journal.begin("test")
    report = await harness.applier(run, stop=lambda: bool(stopped)).run([Step(one) for one in changes])
    run.finish()
    found = {str(one.identity): one.outcome for one in harness.state.journal.changes(run.id)}
    assert found == {key: OutcomeKind(kind) for key, kind in kinds(report).items()}
    assert list(found.values()).count(OutcomeKind.APPLIED) == 1
    assert harness.state.journal.run(run.id).status == "finished"


KILLED = """
import asyncio, os, random, signal, sys
from pathlib import Path
from kvsync.apply.engine import Applier
from kvsync.apply.intents import GroupedIntents
from kvsync.apply.model import PendingStep, Step
from kvsync.apply.store_access import ApplierOptions
from kvsync.model.canonical import fingerprint
from kvsync.planning.marks import MarkSigner
from kvsync.model.change import Action, Change, Class
from kvsync.model.entry import Content, Entry, Identity, Target
from kvsync.util.clock import Clock
from kvsync.state import StateDir
from kvsync.testing import MemoryServer, memory_store
from tests.support.places import located

class Recorded(MemoryServer):
    def change(self, namespace, puts, now):
        when = sys.argv[2]
        if when == "before" and puts[0].slot.key == "2":
            os.kill(os.getpid(), signal.SIGKILL)
        results = super().change(namespace, puts, now)
        Path(sys.argv[3]).write_text(" ".join(sorted(key.key for key in self.contents("web"))))
        if when == "after" and puts[0].slot.key == "2":
            os.kill(os.getpid(), signal.SIGKILL)
        return results

def change(key):
    content = Content(b"v")
    entry = Entry(Identity(key), content, fingerprint(content))
    return Change(Action.CREATE, Class.NEW, entry.identity, after=entry)

with StateDir.open(Path(sys.argv[1]), writable=True) as state:
    run = state.journal.begin("apply")
    there = located(Target("memory", "web"))
    applier = Applier(memory_store(Recorded(), batch=1, concurrency=1), there, MarkSigner("team-a", there.place), run,
                      Clock(), ApplierOptions(replan=None, rng=random.Random(1)))
    asyncio.run(applier.run([Step(change(str(n))) for n in range(5)]))
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_killed_process_leaves_what_it_was_about_to_do(tmp_path: Path, when: str) -> None:
    """SIGKILL at the moment of a write: the journal holds the intent of everything that may have been written, and an outcome
    only of what was. What was written in the last moments has none."""
    state, written = tmp_path / "state", tmp_path / "written"
    done = subprocess.run([sys.executable, "-c", KILLED, state, when, written], check=False)
    assert done.returncode == -signal.SIGKILL
    assert written.read_text() == ("0 1" if when == "before" else "0 1 2")
    with StateDir.open(state, writable=False) as left:
        (run,) = left.journal.unfinished()
        found = {one.identity.key: one.outcome for one in left.journal.changes(run.id)}
        assert list(found) == ["0", "1", "2", "3", "4"]
        applied = {key for key, outcome in found.items() if outcome is not None}
        assert applied <= {"0", "1"}
        assert {found[key] for key in applied} <= {OutcomeKind.APPLIED}
        assert set(left.ledger.all(key_of(TARGET))) == {Identity(key) for key in applied}


class BrokenRun:
    """A journal on a disk that fills up at the n-th record of one kind, and has room again after it."""

    id = "broken"

    def __init__(self, fails: str, at: int) -> None:
        self._fails, self._left = fails, at
        self.intended: list[str] = []

    def restore_point(self, _target: Target) -> str | None:
        return None

    def keep_restore_point(self, _target: Target, _name: str) -> None:
        self._record("restore point")

    def intend(self, _located: LocatedTarget, intents: Sequence[Intent]) -> None:
        self._record("intend")
        self.intended += [intent.identity.key for intent in intents]

    def settle(self, _located: LocatedTarget, _settled: Sequence[Settled]) -> None:
        self._record("settle")

    def _record(self, kind: str) -> None:
        if kind == self._fails:
            self._left -= 1
            if self._left == -1:
                raise StateDirError("state", "the disk is full")


@pytest.mark.parametrize(("batch", "concurrency"), [(1, 1), (1, 4), (2, 1)])
@pytest.mark.parametrize("kind", ["intend", "settle"])
@pytest.mark.parametrize("at", [0, 2])
@pytest.mark.parametrize("marks", list(Marks))
async def test_nothing_is_written_that_the_journal_does_not_hold(
    make: Make, batch: int, concurrency: int, kind: str, at: int, marks: Marks
) -> None:
    """A failing journal ends the apply with its error: nothing is sent without an intent, and at most 64 outcomes wait for one
    commit, besides the calls in flight."""
    harness = make(batch=batch, concurrency=concurrency, marks=marks)
    harness.want(*(entry(f"{n:03}") for n in range(200)))
    changes = await harness.plan()
    run = BrokenRun(kind, at)
    with pytest.raises(StateDirError, match="disk is full"):
        await harness.applier(run).run([Step(one) for one in changes])
    sent = [key for call in writes_of(harness.server) for key in call]
    assert set(sent) <= set(run.intended)
    assert len(sent) <= 64 * (at + (kind == "settle")) + batch * concurrency * (kind == "settle")


async def test_nothing_is_sent_after_an_outcome_could_not_be_recorded(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record that fails between two calls ends the apply, although the journal has room again for the next intent."""
    monkeypatch.setattr(outcomes, "LONGEST_WAIT", 0.0)
    harness = make(batch=1, concurrency=1, compare_and_set=False, settle=60.0)
    harness.want(entry("a"), entry("b"))
    changes = await harness.plan()
    write = harness.store.write

    async def slowly(namespace: str, writes: Sequence[Write]) -> Sequence[WriteResult]:
        results = await write(namespace, writes)
        monkeypatch.setattr(harness.store, "read", late)
        return results

    async def late(_namespace: str, _identities: Sequence[Identity]) -> dict[Identity, Actual]:
        await asyncio.sleep(0.01)  # the timer that records the outcome of the first call comes first
        return {}

    monkeypatch.setattr(harness.store, "write", slowly)
    with pytest.raises(StateDirError, match="disk is full"):
        await harness.applier(BrokenRun("settle", 0)).run([Step(one) for one in changes])
    assert writes_of(harness.server) == [("a",)]


async def test_previous_values_are_read_in_bulk_when_the_plan_has_none(make: Make) -> None:
    """The journal holds what an update or delete replaces, although the listing carried no values."""
    harness = make(values_in_listing=False, read_batch=4)
    await harness.settle(*(entry(f"{n}", f"old {n}") for n in range(6)))
    harness.want(*(entry(f"{n}", f"new {n}") for n in range(3)))
    changes = await harness.plan()
    assert all(change.before is not None and change.before.content is None for change in changes)
    harness.server.calls.clear()
    await harness.apply(changes)
    assert [len(call.keys) for call in harness.server.calls if call.method == "lookup"] == [3, 3]
    kept = {one.identity.key: one.before for one in harness.state.journal.changes(harness.run_id)}
    values = {key: before.content.value for key, before in kept.items() if before and before.content}
    assert values == {f"{n}": f"old {n}".encode() for n in range(6)}


async def test_no_value_is_read_for_what_a_renewal_keeps(make: Make) -> None:
    """A renewal replaces no content, so thousands of them read nothing."""
    harness = make(values_in_listing=False)
    await harness.settle(entry("k", ttl=100))
    harness.clock.advance(90)
    changes = await harness.plan()
    assert [change.action for change in changes] == [Action.RENEW]
    harness.server.calls.clear()
    await harness.apply(changes)
    assert [call.method for call in harness.server.calls] == ["change"]


async def test_no_value_is_read_that_may_not_be_kept(make: Make) -> None:
    """A sensitive value is not even fetched for the journal."""
    harness = make(values_in_listing=False)
    await harness.settle(entry("k", "1", sensitive=True))
    harness.want(entry("k", "2", sensitive=True))
    changes = await harness.plan()
    harness.server.calls.clear()
    await harness.apply(changes)
    assert [call.method for call in harness.server.calls] == ["change"]


async def test_a_foreign_change_found_while_reading_the_previous_value_is_a_conflict(make: Make) -> None:
    """The value that is kept is the one that was planned against; another one there means that someone was faster."""
    harness = make(values_in_listing=False)
    await harness.settle(entry("k", "1"), entry("l", "1"))
    harness.want(entry("k", "2"), entry("l", "2"))
    changes = await harness.plan()
    harness.server.write("web", "k", b"theirs")
    assert kinds(await harness.apply(changes)) == {"k": "conflict", "l": "applied"}
    assert harness.held("k") == b"theirs"


def _bytes_below(path: Path) -> Iterable[bytes]:
    return (one.read_bytes() for one in path.rglob("*") if one.is_file())


@pytest.mark.parametrize("capabilities", [{}, {"compare_and_set": False}, {"values_in_listing": False}], ids=str)
async def test_no_sensitive_value_reaches_the_state_directory(make: Make, capabilities: dict[str, bool]) -> None:
    """Neither side's value of a sensitive change is kept, even where it was read just before the write."""
    harness = make(**capabilities)
    await harness.settle(entry("was", "hunter2-old", sensitive=True), entry("will", "public"))
    harness.want(entry("was", "hunter2-new", sensitive=True), entry("will", "hunter2-will", sensitive=True))
    await harness.apply()
    harness.want()
    await harness.apply()
    assert harness.server.contents("web") == {}
    assert not any(b"hunter2" in content for content in _bytes_below(harness.path))
