"""Stores that fail in the middle of a pass: what is held back, what goes on, and that no other writer's work is undone."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvsync.errors import AuthError, PermanentError, TransientError
from kvsync.model.entry import Target
from kvsync.model.pass_options import PassOptions
from kvsync.stores.memory.store import _SHARED
from kvsync.testing import MemoryServer
from tests.support.memory_repository import MemoryRepository, is_clean, outcomes, rows
from tests.support.stores import KINDS

COMPARING = sorted(kind for kind, store in KINDS.items() if store.capabilities.compare_and_set)
CHECKING = sorted(set(KINDS) - set(COMPARING))


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MemoryRepository:
    return MemoryRepository(tmp_path, monkeypatch)


@pytest.fixture(params=COMPARING)
def comparing(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MemoryRepository:
    return MemoryRepository(tmp_path, monkeypatch, request.param)


@pytest.fixture(params=CHECKING)
def checking(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MemoryRepository:
    return MemoryRepository(tmp_path, monkeypatch, request.param)


@pytest.fixture(params=sorted(KINDS))
def any_store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MemoryRepository:
    return MemoryRepository(tmp_path, monkeypatch, request.param)


async def test_an_incomplete_listing_parks_the_target(any_store: MemoryRepository) -> None:
    """What a broken listing does not show is neither made again nor is anything else deleted."""
    repo = any_store
    await repo.settle({f"k{n}": 1 for n in range(6)})
    repo.want({f"k{n}": 1 for n in range(1, 6)} | {"new": 1})
    repo.server.list_incompletely(keep=4)
    report = await repo.apply()
    plan = report.plan.targets[0]
    assert not plan.complete
    assert any("incomplete" in reason for reason in plan.parked)
    assert repo.writes() == 0
    assert is_clean(await repo.apply())
    assert repo.values() == {f"k{n}": "1" for n in range(1, 6)} | {"new": "1"}


async def test_an_incomplete_listing_with_nothing_to_do_says_so(repo: MemoryRepository) -> None:
    """A listing that broke off is reported even when what was seen is as it should be."""
    await repo.settle({"a": 1})
    repo.server.list_incompletely(keep=1)
    plan = await repo.plan()
    assert not plan.complete
    assert plan.changes == ()


async def test_a_store_that_is_down_is_one_targets_matter(
    repo: MemoryRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that cannot be listed is an error in its own plan, while the other stores' targets are applied."""
    other = MemoryServer(repo.clock)
    monkeypatch.setitem(_SHARED, "other", other)
    repo.configure(stores="other: {type: memory, shared: other}\n")
    repo.state("stores: [main, other]\nnamespace: web\nkeys: {a: 1}\n")
    repo.server.fail(PermanentError("the account is closed"), times=9)
    report = await repo.apply()
    plans = {plan.target: plan for plan in report.plan.targets}
    assert plans[Target("main", "web")].error == "the account is closed"
    assert outcomes(report) == {"a": "applied"}
    assert repo.values() == {}
    assert len(other.contents("web")) == 1


@pytest.mark.parametrize("error", [TransientError("no route"), AuthError("401"), PermanentError("403")])
async def test_an_error_while_looking_is_not_a_reason_to_write(repo: MemoryRepository, error: Exception) -> None:
    """Whatever keeps the store from being listed, the plan is empty and says why."""
    await repo.settle({"a": 1})
    repo.want({"b": 1})
    repo.server.fail(error)  # type: ignore[arg-type]
    report = await repo.apply()
    assert report.plan.targets[0].error == str(error)
    assert repo.writes() == 0


async def test_a_credential_that_is_refused_while_applying_stops_the_store(repo: MemoryRepository) -> None:
    """After a 401 no further call is made, and the changes not tried say so."""
    repo.kind = "memory-narrow"
    repo.configure()
    repo.want({f"k{n}": 1 for n in range(9)})
    repo.server.fail(AuthError("the token is no longer valid"), on=["change"])
    report = await repo.apply()
    assert repo.server.count("change") == 1
    assert sorted(set(outcomes(report).values())) == ["failed", "not-attempted"]
    assert "no longer valid" in str(report.targets[0].error)


async def test_an_update_never_overwrites_what_came_after_the_plan(comparing: MemoryRepository) -> None:
    """On a store with versions another writer's change between plan and write stays, and ours is a conflict."""
    repo = comparing
    await repo.settle({"a": 1, "b": 1, "c": 1})
    repo.want({"a": 2, "b": 2, "d": 1})

    def interfere() -> None:
        for key in "abcd":
            repo.server.write("web", key, b"theirs", expires_at=None)

    repo.server.before_change(interfere)
    report = await repo.apply()
    assert "applied" not in outcomes(report).values()
    assert repo.values() == dict.fromkeys("abcd", "theirs")


async def test_a_delete_spares_what_came_after_the_plan(comparing: MemoryRepository) -> None:
    """On a store with versions an entry that someone just changed is not deleted."""
    repo = comparing
    await repo.settle({"a": 1, "b": 1})
    repo.want({"a": 1})
    repo.server.before_change(lambda: repo.server.write("web", "b", b"theirs"))
    assert outcomes(await repo.apply())["b"] in ("conflict", "unchanged")
    assert repo.held("b") == "theirs"


async def test_a_store_without_versions_is_read_right_before_a_write(checking: MemoryRepository) -> None:
    """Without compare-and-set the change of another writer is seen as long as it came before our last look."""
    repo = checking
    await repo.settle({"a": 1, "b": 1})
    repo.want({"a": 2, "b": 1})
    async with repo.open() as workspace:
        plan = await workspace.plan()
        repo.server.write("web", "a", b"theirs")
        report = await workspace.apply(plan, command="test")
    assert outcomes(report) == {"a": "conflict"}
    assert repo.held("a") == "theirs"


async def test_the_same_change_made_by_another_is_unchanged(comparing: MemoryRepository) -> None:
    """An entry that another program already set to the desired value needs no write. A deleted entry counts as our delete,
    because a proxy may have sent our request twice."""
    repo = comparing
    await repo.settle({"a": 1, "b": 1})
    repo.want({"a": 1})
    repo.server.before_change(lambda: repo.server.delete("web", "b"))
    assert outcomes(await repo.apply()) == {"b": "applied"}


async def test_a_lost_answer_is_looked_into(any_store: MemoryRepository) -> None:
    """A write whose answer was lost counts as applied once it is seen in the store, and is not sent twice."""
    repo = any_store
    await repo.settle({"a": 1, "b": 1})
    repo.want({"a": 2})
    repo.server.lose_answers(times=2)
    report = await repo.apply()
    assert is_clean(report)
    assert repo.values() == {"a": "2"}
    repo.clock.advance(61)
    assert rows(await repo.plan()) == []


async def test_one_bad_entry_never_stops_the_others(any_store: MemoryRepository) -> None:
    """A call that is refused for one entry is split until that one is alone."""
    repo = any_store
    repo.server.refuse_batches_with("k3")
    repo.want({f"k{n}": 1 for n in range(8)})
    report = await repo.apply()
    assert {key for key, kind in outcomes(report).items() if kind != "applied"} == {"k3"}
    assert len(repo.values()) == 7


async def test_a_store_that_throttles_is_given_time(any_store: MemoryRepository) -> None:
    """Calls that are turned away are made again, and nothing is lost."""
    repo = any_store
    repo.server.throttle(retry_after=2, times=3, on=["change"])
    repo.want({f"k{n}": 1 for n in range(8)})
    assert is_clean(await repo.apply())
    assert len(repo.values()) == 8


async def test_a_run_can_be_taken_back(any_store: MemoryRepository) -> None:
    """On every kind of store undo restores what a run changed, and spares what someone changed since. What was undone stays so
    until the files change it; the rest is as the files ask."""
    repo = any_store
    await repo.settle({"a": 1, "b": 1, "c": 1})
    repo.want({"a": 2, "b": 2, "d": 1})
    report = await repo.apply()
    assert is_clean(report)
    repo.clock.advance(61)
    repo.edit("b", "since")
    undone = await repo.undo(report.run or "")
    assert outcomes(undone) == {"a": "applied", "b": "stale", "c": "applied", "d": "applied"}
    assert repo.values() == {"a": "1", "b": "since", "c": "1"}
    repo.clock.advance(61)
    kept = dict.fromkeys("acd", "refused")
    assert outcomes(await repo.apply(PassOptions(deep=True))) == {"b": "applied"} | kept
    assert repo.values() == {"a": "1", "b": "2", "c": "1"}
    repo.want({"a": 3, "b": 2, "c": 2, "d": 2})
    assert is_clean(await repo.apply(PassOptions(deep=True)))
    assert repo.values() == {"a": "3", "b": "2", "c": "2", "d": "2"}


@pytest.mark.parametrize("kind", ["memory-edge", "memory-bucket", "memory-mortal"])
async def test_labels_are_part_of_the_key_where_a_store_has_none(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a key format that holds the label, labels work on stores without labels, next to entries of other forms."""
    repo = MemoryRepository(tmp_path, monkeypatch, kind)
    repo.configure(options=', key_format: "{label}/{key}"')
    repo.server.write("web", "theirs", b"x")
    repo.want("  theme: {value: light, labels: {prod: dark}}\n  b: 1\n")
    assert is_clean(await repo.apply())
    repo.clock.advance(61)
    assert rows(await repo.plan()) == []
    repo.want("  theme: {labels: {prod: black}}\n  b: 1\n")
    assert is_clean(await repo.apply())
    assert sorted(repo.values().values()) == ["1", "black", "x"]


async def test_stopping_leaves_the_rest_for_the_next_run(repo: MemoryRepository) -> None:
    """Asked to stop, a run ends after the call in flight; the next one does the rest."""
    repo.kind = "memory-narrow"
    repo.configure()
    repo.want({f"k{n}": 1 for n in range(9)})
    async with repo.open() as workspace:
        plan = await workspace.plan()
        report = await workspace.apply(plan, command="test", stop=lambda: repo.server.count("change") >= 1)
    assert sorted(outcomes(report).values()) == ["applied"] * 3 + ["not-attempted"] * 6
    assert is_clean(await repo.apply())
    assert len(repo.values()) == 9
