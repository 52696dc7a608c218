"""Undo of many targets as one: preview, holds, the daemon's part, and an undo that was cut off."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from kvsync.app import TargetSelection
from kvsync.app.reconciler import WorkspaceReconciler
from kvsync.app.undo import UndoChoice, UndoOperation, chosen_runs, finish_open
from kvsync.daemon.ports import PassRequest
from kvsync.errors import UsageError
from kvsync.model.entry import Target
from kvsync.model.pass_options import PassOptions
from kvsync.state import RunCause
from kvsync.state import operator as control
from tests.support.memory_repository import MemoryRepository, outcomes, refused, rows

TARGETS = tuple(Target("main", f"n{number}") for number in range(12))
WEB = Target("main", "web")


@pytest.fixture(params=["memory", "memory-ledger", "memory-edge", "memory-bucket"])
def repository(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MemoryRepository:
    return MemoryRepository(tmp_path, monkeypatch, request.param)


@pytest.fixture
def plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MemoryRepository:
    return MemoryRepository(tmp_path, monkeypatch)


def everywhere(repository: MemoryRepository, keys: str) -> None:
    """Let all targets hold the same keys."""
    for target in TARGETS:
        repository.state(f"store: main\nnamespace: {target.namespace}\nkeys: {keys}\n", f"{target.namespace}.yaml")


async def one_run_each(repository: MemoryRepository) -> list[str]:
    """Apply as the daemon does after a change of the files: a run for each target."""
    async with repository.open() as workspace:
        plans = [await workspace.plan(TargetSelection((target,))) for target in TARGETS]
        cause = RunCause("run", triggers=("files",))
        return [str((await workspace.apply(plan, command=cause)).run) for plan in plans]


def contents(repository: MemoryRepository) -> dict[str, dict[str, bytes]]:
    return {
        name: {slot.key: held.content.value for slot, held in entries.items()}
        for name, entries in repository.server.held.items()
    }


async def test_what_is_undone_stays_undone_until_its_file_changes(repository: MemoryRepository) -> None:
    """The next apply leaves undone entries alone and says why, whatever the undo did to them; an entry whose file changes is
    applied again, and only that."""
    await repository.settle({"changed": 1, "gone": 1, "other": 1})
    repository.want({"changed": 2, "new": 2, "other": 1})
    report = await repository.apply()
    assert set(outcomes(await repository.undo(str(report.run))).values()) == {"applied"}
    repository.clock.advance(120)
    for _ in range(2):
        plan = await repository.plan(PassOptions(retry=True), writing="test")
        assert rows(plan) == []
        assert [(action, key) for action, _, key in refused(plan)] == [
            ("update", "changed"),
            ("delete", "gone"),
            ("create", "new"),
        ]
        assert all(f"undone: kvsync undo reverted run {report.run}" in one.reason for one in plan.refused)
        await repository.apply()
    assert repository.values() == {"changed": "1", "gone": "1", "other": "1"}
    repository.want({"changed": 3, "new": 2, "other": 1})
    await repository.apply()
    assert repository.values() == {"changed": "3", "gone": "1", "other": "1"}
    repository.want({"changed": 2, "new": 2, "other": 1})
    await repository.apply()
    assert repository.values()["changed"] == "2"


async def test_resume_lets_go_of_undone_entries(plain: MemoryRepository) -> None:
    """An operator may have undone entries applied again, by key."""
    await plain.settle({"a": 1, "b": 1})
    plain.want({"a": 2, "b": 2})
    await plain.undo(str((await plain.apply()).run))
    async with plain.open() as workspace:
        released = control.retry(workspace.state, ["main"], "main/web", ["a"], plain.clock.now(), "test")
        assert [identity.key for _, identity in released] == ["a"]
    await plain.apply()
    assert plain.values() == {"a": "2", "b": "1"}


async def test_an_undo_that_is_undone_holds_nothing(plain: MemoryRepository) -> None:
    """Taking back an undo leads to what the files ask, so later drift is healed as ever."""
    await plain.settle({"a": 1})
    plain.want({"a": 2, "b": 2})
    undone = await plain.undo(str((await plain.apply()).run))
    await plain.undo(str(undone.run))
    assert plain.values() == {"a": "2", "b": "2"}
    plain.edit("a", "drifted")
    await plain.apply()
    assert plain.values() == {"a": "2", "b": "2"}


async def test_runs_of_a_trigger_are_taken_back_as_one(plain: MemoryRepository) -> None:
    """Twelve targets that a commit changed, some twice, go back to what they held before, and another run's later change
    stays."""
    everywhere(plain, "{a: 1, gone: 1}")
    await plain.apply()
    before = contents(plain)
    everywhere(plain, "{a: 2, new: 2}")
    first, *_ = await one_run_each(plain)
    everywhere(plain, "{a: 3, new: 2}")
    await one_run_each(plain)
    plain.state("store: main\nnamespace: n3\nkeys: {a: 4, new: 2}\n", "n3.yaml")
    later = await plain.apply()
    report = await plain.undo(UndoChoice(since=first, trigger="files"))
    after = contents(plain)
    assert after.pop("n3") == {"a": b"4", "gone": b"1"}
    before.pop("n3")
    assert after == before
    (stale,) = (one for target in report.targets for one in target.outcomes if one.kind == "stale")
    assert stale.error is not None
    assert f"run {later.run} changed it" in stale.error


async def test_a_change_between_two_chosen_runs_is_not_taken_back(plain: MemoryRepository) -> None:
    """Where another run wrote an entry between two chosen ones, undo leads back to what that run wrote."""
    await plain.settle({"a": 1})
    async with plain.open() as workspace:
        runs = []
        for value, trigger in ((2, "hook"), (3, "files"), (4, "hook")):
            plain.want({"a": value})
            done = await workspace.apply(await workspace.plan(), command=RunCause("run", triggers=(trigger,)))
            runs.append(done.run)
    await plain.undo(UndoChoice(since=runs[0], trigger="hook"))
    assert plain.values() == {"a": "3"}


async def test_an_undo_that_was_cut_off_is_finished(plain: MemoryRepository) -> None:
    """Killed between two writes, an undo keeps what it restored, and whoever writes next finishes it."""
    everywhere(plain, "{a: 1, gone: 1}")
    await plain.apply()
    before = contents(plain)
    everywhere(plain, "{a: 2, new: 2}")
    run = str((await plain.apply()).run)
    with suppress(_Killed):
        async with plain.open("undo") as workspace:
            undoing = UndoOperation(workspace, chosen_runs(workspace.state, UndoChoice(run), 0), workspace.load())
            await undoing.apply(await undoing.plan(), lambda: False, _Killer(7))
    assert contents(plain) != before
    async with plain.open("apply") as workspace:
        assert await finish_open(workspace, workspace.load()) > 0
        assert await finish_open(workspace, workspace.load()) == 0
    await plain.apply()
    assert contents(plain) == before


async def test_the_daemon_carries_out_what_was_requested(plain: MemoryRepository) -> None:
    """A request that is in the state directory is carried out by the target's next pass, paused or not, and stays so."""
    await plain.settle({"a": 1})
    plain.want({"a": 2})
    run = str((await plain.apply()).run)
    async with plain.open("run") as workspace:
        reconciler = WorkspaceReconciler(workspace, workspace.pass_context, {})
        async with plain.open(None) as other:
            undoing = UndoOperation(other, chosen_runs(other.state, UndoChoice(run), 0), other.load())
            request = undoing.submit(await undoing.plan())
        assert reconciler.undo_requested() == {WEB}
        await reconciler.load()
        result = await reconciler.reconcile(PassRequest(WEB, apply=False), lambda: False)
        (row,) = workspace.state.undo_requests.of(request)
        assert row.report == {"outcomes": [["a", None, "update", "applied", None]], "error": None}
        assert (result.pending, result.deferred) == (1, 1)
        again = await reconciler.reconcile(PassRequest(WEB), lambda: False)
        assert again.changes["refused"] == 1
    assert plain.values() == {"a": "1"}


async def test_an_observing_daemon_undoes_nothing(plain: MemoryRepository) -> None:
    """Who may not write leaves the request alone."""
    await plain.settle({"a": 1})
    plain.want({"a": 2})
    run = str((await plain.apply()).run)
    async with plain.open(None) as workspace:
        undoing = UndoOperation(workspace, chosen_runs(workspace.state, UndoChoice(run), 0), workspace.load())
        undoing.submit(await undoing.plan())
        reconciler = WorkspaceReconciler(workspace, workspace.pass_context, {})
        await reconciler.load()
        await reconciler.reconcile(PassRequest(WEB, apply=False), lambda: False)
        assert reconciler.undo_requested() == {WEB}
    assert plain.values() == {"a": "2"}


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        (UndoChoice(), "which run"),
        (UndoChoice(trigger="files"), "only narrows"),
        (UndoChoice(commit="zz"), "not a commit"),
        (UndoChoice(commit="abcd1234"), "no run in the journal matches commit abcd1234"),
        (UndoChoice(since="2h", trigger="fils"), "did you mean files"),
        (UndoChoice("2026", commit="abcd"), "not both"),
    ],
)
async def test_a_choice_that_means_nothing_is_an_error(plain: MemoryRepository, choice: UndoChoice, said: str) -> None:
    """What is undone is never guessed."""
    plain.want({"a": 1})
    await plain.apply()
    with pytest.raises(UsageError, match=said):
        await plain.undo(choice)


class _Killed(BaseException):
    pass


class _Killer:
    """Ends everything after so many outcomes."""

    def __init__(self, after: int) -> None:
        self._left = after

    def __call__(self, _count: int) -> None:
        self._left -= 1
        if self._left < 0:
            raise _Killed


@pytest.mark.parametrize("fails", [False, True])
async def test_an_undo_keeps_the_order_of_the_files(plain: MemoryRepository, fails: bool) -> None:
    """What the files write after other entries is restored after them too, and stays when one of them cannot be restored."""
    text = (
        "store: main\nnamespace: web\nkeys: {{z: {0}, a: {{value: {0}, after: all}}, m: {{value: {0}, after: [z]}}}}\n"
    )
    plain.configure("{guard: {max_update_pct: 100}}")
    plain.state(text.format(1))
    await plain.apply()
    plain.state(text.format(2))
    run = (await plain.apply()).run or ""
    if fails:
        plain.edit("z", "theirs")
    plain.server.calls.clear()
    report = await plain.undo(run)
    writes = [call.keys for call in plain.server.calls if call.method == "change"]
    assert writes == ([] if fails else [("z",), ("m",), ("a",)])
    expected = dict.fromkeys("zam", "applied") if not fails else {"z": "stale", "a": "skipped", "m": "skipped"}
    assert outcomes(report) == expected
