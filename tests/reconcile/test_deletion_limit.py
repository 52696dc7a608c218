"""`run.max_deletes_per_hour`: a limit on the deletes of all targets and all runs together, which no state file can touch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kvsync.app.reconciler import WorkspaceReconciler
from kvsync.app.undo import UndoChoice, UndoOperation, chosen_runs
from kvsync.daemon.ports import PassRequest
from kvsync.model.entry import Target
from kvsync.rendering.words import moment
from kvsync.state import Run
from tests.support.memory_repository import MemoryRepository, is_clean, only, outcomes
from tests.support.stores import KINDS

FREE = "{guard: {max_delete_pct: 100, max_update_pct: 100}}"
MANY = {f"k{number}": number for number in range(8)}
HOUR = 3600


def limited(repo: MemoryRepository, limit: int, **options: Any) -> None:
    """Configure a limit, and no other guard."""
    repo.configure(options.pop("policy", FREE), more=f"run: {{max_deletes_per_hour: {limit}}}\n", **options)


@pytest.fixture(params=sorted(KINDS))
def each(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MemoryRepository:
    return MemoryRepository(tmp_path, monkeypatch, request.param)


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MemoryRepository:
    return MemoryRepository(tmp_path, monkeypatch)


async def test_what_is_above_the_limit_waits_for_the_hour(each: MemoryRepository) -> None:
    """Deletes up to the limit go, the others wait with a reason and follow as the hour moves; other changes never wait."""
    limited(each, 5)
    await each.settle(MANY)
    each.want({"k0": "changed", "new": 1})
    report = await each.apply()
    assert sorted(outcomes(report).values()) == ["applied"] * 7 + ["not-attempted"] * 2
    assert (len(each.values()), each.held("k0"), each.held("new")) == (4, "changed", "1")
    (target,) = report.targets
    assert (target.deletes_waiting, target.waits_until) == (2, each.clock.now() + HOUR)
    until = moment(each.clock.now() + HOUR)
    waiting = [one.error for one in target.outcomes if one.kind == "not-attempted"]
    assert waiting == [f"waits: run.max_deletes_per_hour is 5; the next one is allowed at {until}"] * 2
    each.clock.advance(HOUR - 1)
    assert set(outcomes(await each.apply()).values()) == {"not-attempted"}
    each.clock.advance(1)
    assert is_clean(await each.apply())
    assert each.values() == {"k0": "changed", "new": "1"}


async def test_the_plan_says_what_waits(repo: MemoryRepository) -> None:
    """A plan counts the deletes that would wait, target by target in their order, and says until when."""
    limited(repo, 5)
    keys = "".join(f"  {key}: 1\n" for key in MANY)
    for name in ("one", "two"):
        repo.state(f"store: main\nnamespace: {name}\nkeys:\n{keys}", f"{name}.yaml")
    await repo.apply()
    for name in ("one", "two"):
        repo.state(f"store: main\nnamespace: {name}\nkeys: {{k0: 1}}\n", f"{name}.yaml")

    async def waiting() -> list[tuple[str, ...]]:
        async with repo.open(writing=None) as workspace:
            return [one.waiting for one in workspace.with_approvals(await workspace.plan()).targets]

    assert await waiting() == [
        ("2 of 7 deletes wait: run.max_deletes_per_hour is 5",),
        ("7 deletes wait: run.max_deletes_per_hour is 5",),
    ]
    await repo.apply()
    first, second = await waiting()
    assert "the next one is allowed at " in first[0]
    assert second[0].startswith("7 deletes wait: ")


async def test_all_targets_share_it(repo: MemoryRepository) -> None:
    """Deletes in one target leave less for the others, of other stores too."""
    repo.configure(FREE, stores=f"other: {{type: memory, shared: {repo.root}, policy: {FREE}}}\n")
    stores = ("main", "other")
    for store in stores:
        repo.state(f"store: {store}\nnamespace: {store}\nkeys: {{a: 1, b: 1, c: 1}}\n", f"{store}.yaml")
    await repo.apply()
    other = f"other: {{type: memory, shared: {repo.root}, policy: {FREE}}}\n"
    limited(repo, 3, stores=other)
    for store in stores:
        repo.state(f"store: {store}\nnamespace: {store}\nkeys: {{a: 1}}\n", f"{store}.yaml")
    report = await repo.apply()
    assert sum(one.deletes_waiting for one in report.targets) == 1


async def test_a_killed_run_has_used_its_grant(repo: MemoryRepository, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a run was granted counts although it was killed before it could say what became of it: no restart is a way round."""
    limited(repo, 5)
    await repo.settle(MANY)
    repo.want({"k0": 0})

    class KilledError(BaseException):
        """Represents the end of the process."""

    def dying(*_arguments: object, **_more: object) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(Run, "intend", dying)
        patch.setattr(Run, "finish", lambda *_arguments: None)
        with pytest.raises(KilledError):
            await repo.apply()
    report = await repo.apply()
    assert set(outcomes(report).values()) == {"not-attempted"}
    repo.clock.advance(HOUR)
    assert list(outcomes(await repo.apply()).values()).count("applied") == 5


async def test_what_was_not_deleted_does_not_count(repo: MemoryRepository) -> None:
    """Deletes that another writer was quicker with, or that were never sent, are given back."""
    limited(repo, 7)
    await repo.settle(MANY)
    repo.want({"k0": 0})
    repo.server.before_change(lambda: repo.server.write("web", "k1", b"theirs"))
    report = await repo.apply()
    assert sorted(outcomes(report).values()).count("applied") == 6
    async with repo.open(writing=None) as workspace:
        assert workspace.deletions.budget().used == 6


@pytest.mark.parametrize(
    ("files", "extra"),
    [
        ({"k0": 0}, "absent: [k1, k2, k3]\npolicy: {prune: off}\n"),
        ({"k0": 0, "new": 1}, "moved: [{from: k1, to: new}]\n"),
    ],
)
async def test_every_way_to_delete_counts(repo: MemoryRepository, files: dict[str, int], extra: str) -> None:
    """`absent` and the old name of a move are deletes like any other."""
    limited(repo, 0)
    await repo.settle(MANY)
    repo.want(files, extra)
    report = await repo.apply()
    assert only({one.deletes_waiting for one in report.targets}) >= 1
    assert set(MANY) <= set(repo.values())


async def test_the_end_of_a_lifetime_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where kvsync ends lifetimes itself, a file could make deletes of updates by `expires_at`: those wait, too."""
    repo = MemoryRepository(tmp_path, monkeypatch, "memory-prefix")
    limited(repo, 1)
    await repo.settle(MANY)
    end = "2027-01-15T08:00:10Z"
    repo.want({key: f"{{value: {value}, expires_at: {end}}}" for key, value in MANY.items()})
    assert is_clean(await repo.apply())
    repo.clock.advance(60)
    report = await repo.apply()
    assert sum(one.deletes_waiting for one in report.targets) == len(MANY) - 1


async def test_undo_counts(repo: MemoryRepository) -> None:
    """Taking back a run that created entries deletes them, within the limit."""
    limited(repo, 3)
    repo.want(MANY)
    run = (await repo.apply()).run
    assert run is not None
    async with repo.open("undo") as workspace:
        chosen = chosen_runs(workspace.state, UndoChoice(run), 0)
        undoing = UndoOperation(workspace, chosen, workspace.load())
        plan = await undoing.plan()
        assert plan.targets[0].waiting == ("5 of 8 deletes wait: run.max_deletes_per_hour is 3",)
        report = await undoing.apply(plan, lambda: False, lambda _count: None)
    assert report.targets[0].deletes_waiting == 5
    assert len(repo.values()) == 5


async def test_an_approval_covers_the_rest(repo: MemoryRepository) -> None:
    """A plan that a person approved goes on as the hour moves, without being approved again; another plan does not."""
    limited(repo, 3, policy="{guard: {max_deletes: 1, max_delete_pct: 100}}")
    await repo.settle(MANY)
    repo.want({"k0": 0})
    parked = (await repo.plan()).digest
    await repo.apply(approvals=[parked])
    assert len(repo.values()) == 5
    repo.clock.advance(HOUR)
    await repo.apply()
    assert len(repo.values()) == 2
    repo.clock.advance(HOUR)
    repo.want({})
    assert set(outcomes(await repo.apply()).values()) == {"not-attempted"}
    assert len(repo.values()) == 2


async def test_a_clock_that_was_wrong_holds_nothing_for_longer_than_an_hour(repo: MemoryRepository) -> None:
    """Deletes that were counted under a clock that was years ahead count as of now once it is set right."""
    limited(repo, 3)
    await repo.settle(MANY)
    repo.clock.advance(10 * 365 * 24 * HOUR)
    repo.want({"k0": 0})
    await repo.apply()
    repo.clock.advance(-10 * 365 * 24 * HOUR)
    report = await repo.apply()
    assert report.targets[0].deletes_waiting == 4
    assert report.targets[0].waits_until == repo.clock.now() + HOUR
    repo.clock.advance(HOUR)
    assert list(outcomes(await repo.apply()).values()).count("applied") == 3


async def test_the_daemon_comes_back_when_more_may_go(repo: MemoryRepository) -> None:
    """A pass whose deletes wait is due again at the moment at which more may be deleted, and needs no other trigger."""
    limited(repo, 3)
    await repo.settle(MANY)
    repo.want({"k0": 0})
    async with repo.open("run") as workspace:
        reconciler = WorkspaceReconciler(workspace, workspace.pass_context, {})
        result = await reconciler.reconcile(PassRequest(Target("main", "web")), lambda: False)
        assert (result.deletes_waiting, result.pending, result.retryable) == (4, 4, False)
        assert result.next_moment == result.waits_until == repo.clock.now() + HOUR


async def test_no_state_file_reaches_it(repo: MemoryRepository) -> None:
    """Neither a policy of a file nor one that authors may set freely lifts the limit."""
    repo.configure(FREE, more="run: {max_deletes_per_hour: 2}\nauthors: {policy: any}\n")
    await repo.settle(MANY)
    repo.want({"k0": 0}, "policy: {prune: scope, guard: {max_deletes: 1000000, max_delete_pct: 100}}\n")
    assert (await repo.apply()).targets[0].deletes_waiting == 5
