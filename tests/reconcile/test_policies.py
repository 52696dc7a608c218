"""What policies do end to end: prune, drift, guard, grace, approvals, moves, absent lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvsync.app import TargetSelection
from kvsync.errors import NotApproved
from kvsync.model.entry import Identity, Mark, Target
from kvsync.model.pass_options import PassOptions
from kvsync.stores.base import WriteStatus
from tests.support.stores import KINDS
from tests.support.world import World, is_clean, only, outcomes, refused, reported, rows

MANY = {f"k{number:02}": 1 for number in range(20)}


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


async def test_prune_off_keeps_what_the_files_dropped(world: World) -> None:
    """prune: off deletes nothing that is merely no longer asked for."""
    world.configure("{prune: off}")
    await world.settle({"a": 1, "b": 1})
    world.want({"a": 1})
    assert outcomes(await world.apply()) == {}
    assert world.values() == {"a": "1", "b": "1"}


async def test_prune_owned_deletes_ours_only(world: World) -> None:
    """prune: owned deletes the entries that bear our mark, and no others."""
    await world.settle({"a": 1, "b": 1})
    world.server.write("web", "theirs", b"x")
    world.want({"a": 1})
    assert is_clean(await world.apply())
    assert world.values() == {"a": "1", "theirs": "x"}


async def test_prune_scope_deletes_whatever_nobody_owns(world: World) -> None:
    """prune: scope also deletes entries without an owner, under the same guard."""
    world.configure("{prune: scope}")
    await world.settle({"a": 1})
    world.server.write("web", "theirs", b"x")
    assert rows(await world.plan()) == [("delete", "foreign", "theirs")]
    assert is_clean(await world.apply())
    assert world.values() == {"a": "1"}


async def test_prune_scope_is_guarded_by_what_it_reaches(world: World) -> None:
    """A wide prune: scope is parked although hardly anything of it is ours."""
    world.configure("{prune: scope}")
    await world.settle({"a": 1})
    for number in range(20):
        world.server.write("web", f"theirs{number}", b"x")
    report = await world.apply()
    assert report.plan.targets[0].parked
    assert len(world.values()) == 21


async def test_absent_deletes_ours_even_with_prune_off(world: World) -> None:
    """A key that is absent goes although prune is off, but never one that is not ours."""
    world.configure("{prune: off}")
    await world.settle({"a": 1, "old": 1})
    world.server.write("web", "theirs", b"x")
    world.want({"a": 1}, "absent: [old, theirs, never-was]\n")
    report = await world.apply()
    assert outcomes(report) == {"old": "applied", "theirs": "refused"}
    assert world.values() == {"a": "1", "theirs": "x"}


@pytest.mark.parametrize(
    ("drift", "store_after"),
    [
        ("heal", {"a": "1", "b": "1", "c": "2", "d": "1"}),
        ("report", {"a": "theirs", "c": "theirs", "d": "1"}),
        ("{drifted: report, missing: heal, conflict: report}", {"a": "theirs", "b": "1", "c": "theirs", "d": "1"}),
        ("{drifted: heal, missing: report, conflict: heal}", {"a": "1", "c": "2", "d": "1"}),
    ],
)
async def test_drift_is_healed_or_reported_by_class(world: World, drift: str, store_after: dict[str, str]) -> None:
    """policy.drift says for each class whether git's state is written again or the difference is only told."""
    world.configure(f"{{drift: {drift}}}")
    await world.settle(dict.fromkeys("abcd", 1))
    world.edit("a", "theirs")
    world.server.delete("web", "b")
    world.edit("c", "theirs")
    world.want({"a": 1, "b": 1, "c": 2, "d": 1})
    plan = (await world.apply()).plan.targets[0]
    assert world.values() == store_after
    assert {row[1:] for row in rows(plan) + reported(plan)} == {("drifted", "a"), ("missing", "b"), ("conflict", "c")}


async def test_gated_drift_parks_the_whole_target(world: World) -> None:
    """drift: gate holds the target until a person approves that very plan."""
    world.configure("{drift: gate}")
    await world.settle({"a": 1, "b": 1})
    world.edit("a", "theirs")
    world.want({"a": 1, "b": 2})
    report = await world.apply()
    assert outcomes(report) == {"a": "not-attempted", "b": "not-attempted"}
    assert is_clean(await world.apply(approvals=[report.plan.targets[0].digest]))
    assert world.values() == {"a": "1", "b": "2"}


async def test_too_many_deletes_are_parked_until_approved_in_the_state_directory(world: World) -> None:
    """What the guard holds back is noted by the plan, released by its hash, applied once, and forgotten then."""
    await world.settle(MANY)
    world.want({"k00": 1})
    assert (await world.plan()).parked
    report = await world.apply()
    assert set(outcomes(report).values()) == {"not-attempted"}
    assert len(world.values()) == 20
    async with world.open(writing=None) as workspace:
        record = only(workspace.state.parked.all())
        workspace.state.parked.approve(record.digest[:19], world.clock.now())
    assert is_clean(await world.apply())
    assert world.values() == {"k00": "1"}
    async with world.open(writing=None) as workspace:
        assert workspace.state.parked.all() == []


async def test_an_approval_is_good_for_one_plan_only(world: World) -> None:
    """Once the plan is another one, what was approved before releases nothing."""
    await world.settle(MANY)
    world.want({"k00": 1})
    digest = (await world.plan()).digest
    async with world.open(writing=None) as workspace:
        workspace.state.parked.approve(digest, world.clock.now())
    world.want({"k00": 2})
    report = await world.apply(approvals=[digest])
    assert set(outcomes(report).values()) == {"not-attempted"}
    assert len(world.values()) == 20
    async with world.open(writing=None) as workspace:
        with pytest.raises(NotApproved):
            workspace.state.parked.approve(digest, world.clock.now())


async def test_an_approval_outlives_a_file_that_is_broken_for_a_moment(world: World) -> None:
    """A target that keeps its state because of a broken file keeps its approval too."""
    await world.settle(MANY)
    world.want({"k00": 1})
    digest = (await world.plan()).digest
    async with world.open(writing=None) as workspace:
        workspace.state.parked.approve(digest, world.clock.now())
    world.state("store: main\nnamespace: web\nkeys: {a: [\n")
    assert (await world.plan()).problems
    world.want({"k00": 1})
    assert is_clean(await world.apply())


async def test_approving_the_whole_plan_releases_its_targets(world: World) -> None:
    """The hash of a plan over several targets releases all of them, given as an argument, shortened or not."""
    for name in ("web", "api"):
        world.state(
            f"store: main\nnamespace: {name}\nkeys: {{{', '.join(f'{key}: 1' for key in MANY)}}}\n", f"{name}.yaml"
        )
    assert is_clean(await world.apply())
    for name in ("web", "api"):
        world.state(f"store: main\nnamespace: {name}\nkeys: {{a: 1}}\n", f"{name}.yaml")
    plan = await world.plan_all()
    report = await world.apply(approvals=[plan.digest.removeprefix("sha256:")[:12]])
    assert is_clean(report)
    assert world.values() == {"a": "1"}


async def test_a_pass_over_one_target_keeps_the_hash_of_the_whole_plan(world: World) -> None:
    """The hash of a plan over everything still releases its targets after the daemon has looked at each alone."""
    for name in ("web", "api"):
        world.state(
            f"store: main\nnamespace: {name}\nkeys: {{{', '.join(f'{key}: 1' for key in MANY)}}}\n", f"{name}.yaml"
        )
    assert is_clean(await world.apply())
    for name in ("web", "api"):
        world.state(f"store: main\nnamespace: {name}\nkeys: {{k00: 1}}\n", f"{name}.yaml")
    digest = (await world.plan_all()).digest
    async with world.open() as workspace:
        for name in ("web", "api"):
            assert (await workspace.plan(TargetSelection([Target("main", name)]))).targets[0].parked
        assert len(workspace.state.parked.approve(digest, world.clock.now())) == 2


async def test_no_entries_wanted_meets_the_guard(world: World) -> None:
    """`keys: {}` never empties a target without approval, however small it is."""
    await world.settle({"a": 1})
    world.want({})
    report = await world.apply()
    assert report.plan.targets[0].parked
    assert world.values() == {"a": "1"}


async def test_a_target_that_no_file_names_is_not_managed(world: World) -> None:
    """When the last file of a target goes, its entries stay."""
    await world.settle({"a": 1})
    (world.root / "state/web.yaml").unlink()
    world.state("store: main\nnamespace: other\nkeys: {x: 1}\n", "other.yaml")
    assert is_clean(await world.apply())
    assert world.values() == {"a": "1"}


async def test_a_delete_waits_out_the_grace_of_the_policy(world: World) -> None:
    """With a grace an entry is deleted once it has been undesired that long, and the plan says when to come back."""
    world.configure("{guard: {grace: 10m}}")
    await world.settle({"a": 1, "b": 1})
    world.want({"a": 1})
    report = await world.apply()
    assert reported(report.plan.targets[0]) == [("delete", "removed", "b")]
    plan = await world.plan()
    assert plan.next_moment == world.clock.now() + 600
    world.clock.advance(599)
    assert rows(await world.plan()) == []
    world.clock.advance(1)
    assert is_clean(await world.apply())
    assert world.values() == {"a": "1"}


async def test_a_grace_begins_anew_once_the_entry_was_wanted_again(world: World) -> None:
    """An entry that was missing from a half-saved file long ago gets the whole grace when that happens again."""
    half_saved, ask = {"a": 1}, PassOptions(grace=5)
    await world.settle({"a": 1, "b": 1})
    world.want(half_saved)
    assert outcomes(await world.apply(ask)) == {"b": "skipped"}
    world.want({"a": 1, "b": 1})
    assert outcomes(await world.apply()) == {}
    world.clock.advance(3600)
    world.want(half_saved)
    assert outcomes(await world.apply(ask)) == {"b": "skipped"}
    assert world.values() == {"a": "1", "b": "1"}


async def test_looking_at_some_keys_does_not_disturb_the_grace_of_others(world: World) -> None:
    """A plan narrowed by --key neither starts nor ends the waiting of entries."""
    world.configure("{guard: {grace: 10m}}")
    await world.settle({"a": 1, "b": 1})
    world.want({"a": 1})
    await world.plan()
    world.clock.advance(500)
    await world.plan(PassOptions(keys=("a",)))
    world.clock.advance(100)
    assert rows(await world.plan()) == [("delete", "removed", "b")]


async def test_a_moved_key_is_never_absent_under_both_names(world: World) -> None:
    """A move creates, verifies and only then deletes: before every write one of the names is there."""
    await world.settle({"greet": "hello", "a": 1})
    world.want({"greeting": "hello", "a": 1}, "moved: [{from: greet, to: greeting}]\n")
    seen: list[set[str]] = []
    world.server.before_change(
        lambda: seen.append({name for name in world.values() if name.startswith("greet")}), times=9
    )
    assert is_clean(await world.apply())
    assert seen == [{"greet"}, {"greet", "greeting"}]
    assert world.values() == {"greeting": "hello", "a": "1"}
    assert rows(await world.plan()) == []


async def test_a_move_whose_new_name_cannot_be_written_keeps_the_old_one(world: World) -> None:
    """Readers keep the old name as long as the new one could not be put in place."""
    await world.settle({"greet": "hello", "a": 1})
    world.want({"greeting": "hello", "a": 1}, "moved: [{from: greet, to: greeting}]\n")
    world.server.fail_entry("greeting", WriteStatus.REJECTED)
    assert outcomes(await world.apply()) == {"greeting": "failed", "greet": "skipped"}
    assert world.values() == {"greet": "hello", "a": "1"}


async def test_a_move_counts_neither_for_the_guard_nor_needs_prune(world: World) -> None:
    """Renaming many keys is not deleting many keys, and happens with prune: off."""
    world.configure("{prune: off}")
    await world.settle(MANY)
    moves = ", ".join(f"{{from: {key}, to: new-{key}}}" for key in MANY)
    world.want({f"new-{key}": 1 for key in MANY}, f"moved: [{moves}]\n")
    report = await world.apply()
    assert is_clean(report)
    assert world.values() == {f"new-{key}": "1" for key in MANY}


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("mode", ["enforce", "create-only", "observe"])
async def test_a_move_onto_a_foreign_key_keeps_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, mode: str
) -> None:
    """The old name is not deleted while the entry under the new name belongs to nobody, whatever mode the files give it."""
    world = World(tmp_path, monkeypatch, kind, "{adopt: never}")
    await world.settle({"greet": "hello", "a": 1})
    world.server.write("web", "greeting", b"hello")
    world.want({"greeting": f"{{value: hello, mode: {mode}}}", "a": 1}, "moved: [{from: greet, to: greeting}]\n")
    await world.apply()
    assert world.values() == {"greet": "hello", "greeting": "hello", "a": "1"}


async def test_a_move_onto_a_key_that_is_adopted_is_done_at_once(world: World) -> None:
    """A new name that belongs to nobody is adopted when it is equal, and the old one goes in the same run."""
    await world.settle({"greet": "hello", "a": 1})
    world.server.write("web", "greeting", b"hello")
    world.want({"greeting": "hello", "a": 1}, "moved: [{from: greet, to: greeting}]\n")
    assert is_clean(await world.apply())
    assert world.values() == {"greeting": "hello", "a": "1"}


@pytest.mark.parametrize("mode", ["create-only", "observe"])
@pytest.mark.parametrize("mark", [None, Mark("team-b", b"f" * 16)])
async def test_a_plan_says_why_a_move_keeps_the_old_key(world: World, mode: str, mark: Mark | None) -> None:
    """A new name that kvsync neither owns nor will write makes the old one `refused`, with the owner."""
    await world.settle({"greet": "hello", "a": 1})
    world.server.write("web", "greeting", b"hello", mark=mark)
    world.want({"greeting": f"{{value: hello, mode: {mode}}}", "a": 1}, "moved: [{from: greet, to: greeting}]\n")
    plan = await world.plan()
    assert refused(plan) == [("delete", "removed", "greet")]
    owner = "has no owner" if mark is None else "belongs to owner 'team-b'"
    assert plan.refused[0].reason == f"it is kept, because its new name greeting {owner}"


async def test_a_moved_foreign_key_stays(world: World) -> None:
    """A move never deletes an old name that is not ours."""
    world.server.write("web", "greet", b"theirs")
    world.want({"greeting": "hello", "a": 1}, "moved: [{from: greet, to: greeting}]\n")
    await world.apply()
    assert world.values() == {"greet": "theirs", "greeting": "hello", "a": "1"}


async def test_a_narrowed_plan_applies_to_its_keys_alone(world: World) -> None:
    """--key looks at the entries it names and leaves all others as they are."""
    await world.settle({"a": 1, "b": 1})
    world.want({"a": 2, "b": 2})
    assert outcomes(await world.apply(PassOptions(keys=("a",)))) == {"a": "applied"}
    assert rows(await world.plan()) == [("update", "changed", "b")]


async def test_a_run_can_be_taken_back(world: World) -> None:
    """Undo restores what a run changed, spares what somebody changed since, and the next plan wants the files' state again."""
    await world.settle({"a": 1, "b": 1, "c": 1})
    world.want({"a": 2, "b": 2, "d": 1})
    report = await world.apply()
    world.edit("b", "since")
    assert report.run is not None
    undone = await world.undo(report.run)
    assert outcomes(undone) == {"a": "applied", "b": "stale", "c": "applied", "d": "applied"}
    assert world.values() == {"a": "1", "b": "since", "c": "1"}
    assert {row[2] for row in rows(await world.plan())} == {"a", "b", "c", "d"}


async def test_a_refused_entry_leaves_the_others_their_plan(world: World) -> None:
    """What is refused of one entry changes nothing about the others."""
    world.server.write("web", "b", b"theirs")
    world.want({"a": 1, "b": 1})
    plan = await world.plan()
    assert rows(plan) == [("create", "new", "a")]
    assert refused(plan) == [("update", "unowned", "b")]
    assert Identity("b") in world.server.contents("web")
