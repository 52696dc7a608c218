"""Stores that fail in the middle of a pass: what is held back, what goes on, and that no other writer's work is undone."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvsync.errors import AuthError, PermanentError, TransientError
from kvsync.model.entry import Target
from kvsync.model.pass_options import PassOptions
from kvsync.stores.memory.store import _SHARED
from kvsync.testing import MemoryServer
from tests.support.stores import KINDS
from tests.support.world import World, is_clean, outcomes, rows

COMPARING = sorted(kind for kind, store in KINDS.items() if store.capabilities.compare_and_set)
CHECKING = sorted(set(KINDS) - set(COMPARING))


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


@pytest.fixture(params=COMPARING)
def comparing(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch, request.param)


@pytest.fixture(params=CHECKING)
def checking(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch, request.param)


@pytest.fixture(params=sorted(KINDS))
def any_store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch, request.param)


async def test_an_incomplete_listing_parks_the_target(any_store: World) -> None:
    """What a broken listing does not show is neither made again nor is anything else deleted."""
    world = any_store
    await world.settle({f"k{n}": 1 for n in range(6)})
    world.want({f"k{n}": 1 for n in range(1, 6)} | {"new": 1})
    world.server.list_incompletely(keep=4)
    report = await world.apply()
    plan = report.plan.targets[0]
    assert not plan.complete
    assert any("incomplete" in reason for reason in plan.parked)
    assert world.writes() == 0
    assert is_clean(await world.apply())
    assert world.values() == {f"k{n}": "1" for n in range(1, 6)} | {"new": "1"}


async def test_an_incomplete_listing_with_nothing_to_do_says_so(world: World) -> None:
    """A listing that broke off is told even when what was seen is as it should be."""
    await world.settle({"a": 1})
    world.server.list_incompletely(keep=1)
    plan = await world.plan()
    assert not plan.complete
    assert plan.changes == ()


async def test_a_store_that_is_down_is_one_targets_matter(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that cannot be listed is an error in its own plan, while the other stores' targets are applied."""
    other = MemoryServer(world.clock)
    monkeypatch.setitem(_SHARED, "other", other)
    world.configure(stores="other: {type: memory, shared: other}\n")
    world.state("stores: [main, other]\nnamespace: web\nkeys: {a: 1}\n")
    world.server.fail(PermanentError("the account is closed"), times=9)
    report = await world.apply()
    plans = {plan.target: plan for plan in report.plan.targets}
    assert plans[Target("main", "web")].error == "the account is closed"
    assert outcomes(report) == {"a": "applied"}
    assert world.values() == {}
    assert len(other.contents("web")) == 1


@pytest.mark.parametrize("error", [TransientError("no route"), AuthError("401"), PermanentError("403")])
async def test_an_error_while_looking_is_no_reason_to_write(world: World, error: Exception) -> None:
    """Whatever keeps the store from being listed, the plan is empty and says why."""
    await world.settle({"a": 1})
    world.want({"b": 1})
    world.server.fail(error)  # type: ignore[arg-type]
    report = await world.apply()
    assert report.plan.targets[0].error == str(error)
    assert world.writes() == 0


async def test_a_credential_that_is_refused_while_applying_stops_the_store(world: World) -> None:
    """After a 401 no further call is made, and the changes not tried say so."""
    world.kind = "memory-narrow"
    world.configure()
    world.want({f"k{n}": 1 for n in range(9)})
    world.server.fail(AuthError("the token is no longer valid"), on=["change"])
    report = await world.apply()
    assert world.server.count("change") == 1
    assert sorted(set(outcomes(report).values())) == ["failed", "not-attempted"]
    assert "no longer valid" in str(report.targets[0].error)


async def test_an_update_never_overwrites_what_came_after_the_plan(comparing: World) -> None:
    """On a store with versions another writer's change between plan and write stays, and ours is a conflict."""
    world = comparing
    await world.settle({"a": 1, "b": 1, "c": 1})
    world.want({"a": 2, "b": 2, "d": 1})

    def interfere() -> None:
        for key in "abcd":
            world.server.write("web", key, b"theirs", expires_at=None)

    world.server.before_change(interfere)
    report = await world.apply()
    assert "applied" not in outcomes(report).values()
    assert world.values() == dict.fromkeys("abcd", "theirs")


async def test_a_delete_spares_what_came_after_the_plan(comparing: World) -> None:
    """On a store with versions an entry that somebody just changed is not deleted."""
    world = comparing
    await world.settle({"a": 1, "b": 1})
    world.want({"a": 1})
    world.server.before_change(lambda: world.server.write("web", "b", b"theirs"))
    assert outcomes(await world.apply())["b"] in ("conflict", "unchanged")
    assert world.held("b") == "theirs"


async def test_a_store_without_versions_is_read_right_before_a_write(checking: World) -> None:
    """Without compare-and-set the change of another writer is seen as long as it came before our last look."""
    world = checking
    await world.settle({"a": 1, "b": 1})
    world.want({"a": 2, "b": 1})
    async with world.open() as workspace:
        plan = await workspace.plan()
        world.server.write("web", "a", b"theirs")
        report = await workspace.apply(plan, command="test")
    assert outcomes(report) == {"a": "conflict"}
    assert world.held("a") == "theirs"


async def test_the_same_change_made_by_another_is_unchanged(comparing: World) -> None:
    """An entry that another program already set to the desired value needs no write. A deleted entry counts as our delete,
    because a proxy may have sent our request twice."""
    world = comparing
    await world.settle({"a": 1, "b": 1})
    world.want({"a": 1})
    world.server.before_change(lambda: world.server.delete("web", "b"))
    assert outcomes(await world.apply()) == {"b": "applied"}


async def test_a_lost_answer_is_looked_into(any_store: World) -> None:
    """A write whose answer was lost counts as applied once it is seen in the store, and is not sent twice."""
    world = any_store
    await world.settle({"a": 1, "b": 1})
    world.want({"a": 2})
    world.server.lose_answers(times=2)
    report = await world.apply()
    assert is_clean(report)
    assert world.values() == {"a": "2"}
    world.clock.advance(61)
    assert rows(await world.plan()) == []


async def test_one_bad_entry_never_stops_the_others(any_store: World) -> None:
    """A call that is refused for one entry is split until that one is alone."""
    world = any_store
    world.server.refuse_batches_with("k3")
    world.want({f"k{n}": 1 for n in range(8)})
    report = await world.apply()
    assert {key for key, kind in outcomes(report).items() if kind != "applied"} == {"k3"}
    assert len(world.values()) == 7


async def test_a_store_that_throttles_is_given_time(any_store: World) -> None:
    """Calls that are turned away are made again, and nothing is lost."""
    world = any_store
    world.server.throttle(retry_after=2, times=3, on=["change"])
    world.want({f"k{n}": 1 for n in range(8)})
    assert is_clean(await world.apply())
    assert len(world.values()) == 8


async def test_a_run_can_be_taken_back(any_store: World) -> None:
    """On every kind of store undo restores what a run changed, and spares what somebody changed since."""
    world = any_store
    await world.settle({"a": 1, "b": 1, "c": 1})
    world.want({"a": 2, "b": 2, "d": 1})
    report = await world.apply()
    assert is_clean(report)
    world.clock.advance(61)
    world.edit("b", "since")
    undone = await world.undo(report.run or "")
    assert outcomes(undone) == {"a": "applied", "b": "stale", "c": "applied", "d": "applied"}
    assert world.values() == {"a": "1", "b": "since", "c": "1"}
    world.clock.advance(61)
    assert is_clean(await world.apply(PassOptions(deep=True)))
    assert world.values() == {"a": "2", "b": "2", "d": "1"}


@pytest.mark.parametrize("kind", ["memory-edge", "memory-bucket", "memory-mortal"])
async def test_labels_are_part_of_the_key_where_a_store_has_none(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a key format that holds the label, labels work on stores without labels, beside entries of other forms."""
    world = World(tmp_path, monkeypatch, kind)
    world.configure(options=', key_format: "{label}/{key}"')
    world.server.write("web", "theirs", b"x")
    world.want("  theme: {value: light, labels: {prod: dark}}\n  b: 1\n")
    assert is_clean(await world.apply())
    world.clock.advance(61)
    assert rows(await world.plan()) == []
    world.want("  theme: {labels: {prod: black}}\n  b: 1\n")
    assert is_clean(await world.apply())
    assert sorted(world.values().values()) == ["1", "black", "x"]


async def test_stopping_leaves_the_rest_for_the_next_run(world: World) -> None:
    """Asked to stop, a run ends after the call in flight; the next one does the rest."""
    world.kind = "memory-narrow"
    world.configure()
    world.want({f"k{n}": 1 for n in range(9)})
    async with world.open() as workspace:
        plan = await workspace.plan()
        report = await workspace.apply(plan, command="test", stop=lambda: world.server.count("change") >= 1)
    assert sorted(outcomes(report).values()) == ["applied"] * 3 + ["not-attempted"] * 6
    assert is_clean(await world.apply())
    assert len(world.values()) == 9
