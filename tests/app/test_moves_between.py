"""Moves between targets: the old key goes once the new one was verified, whatever happens in between."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvsync.app import Report, TargetSelection
from kvsync.errors import PermanentError
from kvsync.model.entry import Target
from kvsync.stores.base import WriteStatus
from tests.support.memory_repository import MemoryRepository, outcomes
from tests.support.stores import KINDS

KINDS_OF_STORES = pytest.mark.parametrize("kind", KINDS)
OLD = "store: main\nnamespace: web\nkeys: {a: one, b: two, stays: here}\n"
LEFT = "store: main\nnamespace: web\nkeys: {stays: here}\n"
NEW = """\
store: main
namespace: new
keys: {a2: one, b: two}
moved:
  - {from: {namespace: web, key: a}, to: a2}
  - {from: {store: main, namespace: web, key: b}, to: b}
"""


async def moving(folder: Path, patch: pytest.MonkeyPatch, kind: str = "memory", policy: str = "{}") -> MemoryRepository:
    """A repository in which two keys are about to move to another namespace, next to entries of others."""
    found = MemoryRepository(folder, patch, kind, policy)
    found.server.write("web", "theirs", b"x")
    found.server.write("new", "theirs", b"y")
    found.state(OLD)
    await found.apply()
    found.clock.advance(KINDS[kind].capabilities.settle)
    found.state(LEFT)
    found.state(NEW, "new.yaml")
    return found


def held(found: MemoryRepository, namespace: str) -> dict[str, str]:
    """What a namespace holds, as text."""
    return {one.key: content.value.decode() for one, content in found.server.contents(namespace).items()}


def lost(found: MemoryRepository) -> set[str]:
    """Values that readers of either name would miss."""
    return {"one", "two"} - {*held(found, "web").values(), *held(found, "new").values()}


async def changes(found: MemoryRepository) -> list[tuple[str, str, str]]:
    """What the plan of all targets would do, with what it moves to."""
    plan = await found.plan_all(writing="test")
    return [(str(one.target), change.action.value, change.new_name) for one in plan.targets for change in one.changes]


@KINDS_OF_STORES
async def test_keys_move_between_namespaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """On every kind of store they are written under the new name before they leave the old one, and entries of others stay."""
    found = await moving(tmp_path, monkeypatch, kind)
    assert sorted(await changes(found)) == [
        ("main/new", "create", ""),
        ("main/new", "create", ""),
        ("main/web", "delete", "main/new: a2"),
        ("main/web", "delete", "main/new: b"),
    ]
    gaps: list[set[str]] = []
    for _ in range(20):
        found.server.before_change(lambda: gaps.append(lost(found)))
    report = await found.apply()
    found.server.heal()
    assert set(outcomes(report).values()) == {"applied"}
    assert not any(gaps)
    assert held(found, "web") == {"stays": "here", "theirs": "x"}
    assert held(found, "new") == {"a2": "one", "b": "two", "theirs": "y"}
    found.clock.advance(KINDS[kind].capabilities.settle)
    assert await changes(found) == []


@KINDS_OF_STORES
async def test_a_move_stopped_at_any_write_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Whichever write the store stops at, every value is there under one of its names, and the next runs finish."""
    for number in range(4):
        (tmp_path / str(number)).mkdir()
        found = await moving(tmp_path / str(number), monkeypatch, kind)
        writes = 0

        def interrupt() -> None:
            nonlocal writes
            writes += 1
            if writes > number:  # noqa: B023 - called before the next round
                raise PermanentError("the store is gone")

        found.server.before_change(interrupt, times=99)
        await found.apply()
        assert lost(found) == set()
        found.server.heal()
        for _ in range(2):
            found.clock.advance(KINDS[kind].capabilities.settle)
            await found.apply()
        assert held(found, "web") == {"stays": "here", "theirs": "x"}
        assert held(found, "new") == {"a2": "one", "b": "two", "theirs": "y"}


async def test_the_old_key_stays_until_the_new_one_is_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry of others under the new name is not taken for the moved one."""
    found = await moving(tmp_path, monkeypatch)
    found.server.write("new", "a2", b"someone else's")
    report = await found.apply()
    assert outcomes(report)["a"] == "skipped"
    errors = [one.error for target in report.targets for one in target.outcomes if one.error]
    assert "kept, because its new name main/new: a2 exists there, but kvsync does not own it" in errors
    assert held(found, "web") == {"a": "one", "stays": "here", "theirs": "x"}


async def test_a_pass_of_the_old_target_alone_waits_for_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon plans one target at a time: the old key goes once the other pass has written the new one."""
    found = await moving(tmp_path, monkeypatch)

    async def apply(name: str) -> Report:
        async with found.open() as workspace:
            plan = await workspace.plan(TargetSelection((Target("main", name),)))
            return await workspace.apply(plan, command="test")

    assert outcomes(await apply("web")) == {"a": "skipped", "b": "skipped"}
    assert lost(found) == set()
    await apply("new")
    assert outcomes(await apply("web")) == {"a": "applied", "b": "applied"}


async def test_what_is_refused_is_reported_next_to_moves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The parts that a plan is applied in leave nothing out of its report."""
    found = await moving(tmp_path, monkeypatch, policy="{adopt: never}")
    found.state(LEFT.replace("stays: here", "stays: here, theirs: x"))
    assert outcomes(await found.apply())["theirs"] == "refused"
    found.state(LEFT.replace("stays: here", "stays: gone, theirs: x"))
    assert outcomes(await found.apply()) == {"stays": "applied", "theirs": "refused"}


async def test_two_targets_can_exchange_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are written first, and both old keys go then."""
    found = MemoryRepository(tmp_path, monkeypatch)
    found.state("store: main\nnamespace: web\nkeys: {a: one}\n---\nstore: main\nnamespace: new\nkeys: {b: two}\n")
    await found.apply()
    found.state(
        "store: main\nnamespace: web\nkeys: {b: two}\nmoved: [{from: {namespace: new, key: b}, to: b}]\n---\n"
        "store: main\nnamespace: new\nkeys: {a: one}\nmoved: [{from: {namespace: web, key: a}, to: a}]\n"
    )
    assert set(outcomes(await found.apply()).values()) == {"applied"}
    assert (held(found, "web"), held(found, "new")) == ({"b": "two"}, {"a": "one"})


async def test_a_target_that_only_lines_of_moves_name_keeps_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its file is gone: what moves goes, and all else that is ours stays and is counted as orphans."""
    found = await moving(tmp_path, monkeypatch)
    (found.root / "state/web.yaml").unlink()
    assert set(outcomes(await found.apply()).values()) == {"applied"}
    assert held(found, "web") == {"stays": "here", "theirs": "x"}
    plan = await found.plan_all(writing="test")
    assert [(str(one.target), one.orphans, one.changes) for one in plan.targets] == [
        ("main/new", 0, ()),
        ("main/web", 1, ()),
    ]


async def test_a_broken_file_with_moves_holds_the_targets_that_keys_leave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the old key would be deleted as one that no file names, before the new one is there."""
    found = await moving(tmp_path, monkeypatch)
    found.state(NEW + "nonsense: true\n", "new.yaml")
    await found.apply()
    assert held(found, "web") == {"a": "one", "b": "two", "stays": "here", "theirs": "x"}


async def test_the_guard_counts_what_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A target that loses more than its guard allows is parked, although the values live on elsewhere."""
    found = await moving(tmp_path, monkeypatch, policy="{guard: {min_existing: 1}}")
    parked = {str(one.target): one.parked for one in (await found.plan_all(writing="test")).targets}
    assert parked["main/new"] == ()
    assert "would delete 2 of 3 entries" in parked["main/web"][0]
    await found.apply()
    assert held(found, "web") == {"a": "one", "b": "two", "stays": "here", "theirs": "x"}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{from: {namespace: web, key: a}, to: none}", '"a" is moved to "none", which is not among the keys'),
        ("{from: {store: mian, namespace: web, key: a}, to: b}", 'moved[0]: unknown store "mian"'),
        ("{from: {namespace: web, key: stays}, to: b}", '"stays" is moved away here, but defined at state/web.yaml'),
        ("{from: {namespace: new, key: b}, to: b}", 'moved[0]: "b" is moved to itself'),
        ("{from: {namespace: secret, key: b}, to: b}", 'moved[0]: would manage "main/secret"'),
        ("{from: {namespace: web}, to: b}", 'missing field "key"'),
    ],
)
async def test_wrong_moves_are_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, message: str) -> None:
    """Each is reported with its line; a file may take keys only from targets that it may name."""
    found = MemoryRepository(tmp_path, monkeypatch)
    found.configure(more='authors: {targets: [{path: "**", namespaces: [web, new]}]}')
    found.state(LEFT)
    found.state(f"store: main\nnamespace: new\nkeys: {{b: two}}\nmoved: [{line}]\n", "new.yaml")
    async with found.open(None) as workspace:
        problems = [str(problem) for problem in workspace.load().problems]
    assert len(problems) == 1
    assert message in problems[0]


@pytest.mark.parametrize("arrives", [True, False])
async def test_the_last_entry_of_a_target_follows_what_leaves_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arrives: bool
) -> None:
    """An entry with `after: all` is written once the moved keys have left, and not at all when one of them has to stay."""
    found = MemoryRepository(tmp_path, monkeypatch)
    found.state(OLD.replace("}", ", sentinel: {value: 1, after: all}}"))
    await found.apply()
    found.state(LEFT.replace("}", ", sentinel: {value: 2, after: all}}"))
    found.state(NEW, "new.yaml")
    if not arrives:
        found.server.fail_entry("a2", WriteStatus.REJECTED)
    found.server.calls.clear()
    report = await found.apply()
    writes = [(call.namespace, call.keys) for call in found.server.calls if call.method == "change"]
    assert writes[-1] == ("web", ("sentinel",) if arrives else ("b",)), writes
    assert outcomes(report)["sentinel"] == ("applied" if arrives else "skipped")
    assert held(found, "web").get("sentinel") == ("2" if arrives else "1")
