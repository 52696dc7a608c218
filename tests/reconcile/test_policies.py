"""What policies do end to end: prune, drift, guard, grace, approvals, moves, absent lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvsync.app import TargetSelection
from kvsync.errors import NotApproved
from kvsync.model.entry import Identity, Mark, Target
from kvsync.model.pass_options import PassOptions
from kvsync.stores.base import WriteStatus
from tests.support.memory_repository import MemoryRepository, is_clean, only, outcomes, refused, reported, rows
from tests.support.stores import KINDS

MANY = {f"k{number:02}": 1 for number in range(20)}


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MemoryRepository:
    return MemoryRepository(tmp_path, monkeypatch)


async def test_prune_off_keeps_what_the_files_dropped(repo: MemoryRepository) -> None:
    """prune: off deletes nothing that is merely no longer asked for."""
    repo.configure("{prune: off}")
    await repo.settle({"a": 1, "b": 1})
    repo.want({"a": 1})
    assert outcomes(await repo.apply()) == {}
    assert repo.values() == {"a": "1", "b": "1"}


async def test_prune_owned_deletes_ours_only(repo: MemoryRepository) -> None:
    """prune: owned deletes the entries that bear our mark, and no others."""
    await repo.settle({"a": 1, "b": 1})
    repo.server.write("web", "theirs", b"x")
    repo.want({"a": 1})
    assert is_clean(await repo.apply())
    assert repo.values() == {"a": "1", "theirs": "x"}


async def test_prune_scope_deletes_whatever_nobody_owns(repo: MemoryRepository) -> None:
    """prune: scope also deletes entries without an owner, under the same guard."""
    repo.configure("{prune: scope}")
    await repo.settle({"a": 1})
    repo.server.write("web", "theirs", b"x")
    assert rows(await repo.plan()) == [("delete", "foreign", "theirs")]
    assert is_clean(await repo.apply())
    assert repo.values() == {"a": "1"}


async def test_prune_scope_is_guarded_by_what_it_reaches(repo: MemoryRepository) -> None:
    """A wide prune: scope is parked although hardly anything of it is ours."""
    repo.configure("{prune: scope}")
    await repo.settle({"a": 1})
    for number in range(20):
        repo.server.write("web", f"theirs{number}", b"x")
    report = await repo.apply()
    assert report.plan.targets[0].parked
    assert len(repo.values()) == 21


async def test_absent_deletes_ours_even_with_prune_off(repo: MemoryRepository) -> None:
    """A key that is absent goes although prune is off, but never one that is not ours."""
    repo.configure("{prune: off}")
    await repo.settle({"a": 1, "old": 1})
    repo.server.write("web", "theirs", b"x")
    repo.want({"a": 1}, "absent: [old, theirs, never-was]\n")
    report = await repo.apply()
    assert outcomes(report) == {"old": "applied", "theirs": "refused"}
    assert repo.values() == {"a": "1", "theirs": "x"}


@pytest.mark.parametrize(
    ("drift", "store_after"),
    [
        ("heal", {"a": "1", "b": "1", "c": "2", "d": "1"}),
        ("report", {"a": "theirs", "c": "theirs", "d": "1"}),
        ("{drifted: report, missing: heal, conflict: report}", {"a": "theirs", "b": "1", "c": "theirs", "d": "1"}),
        ("{drifted: heal, missing: report, conflict: heal}", {"a": "1", "c": "2", "d": "1"}),
    ],
)
async def test_drift_is_healed_or_reported_by_class(
    repo: MemoryRepository, drift: str, store_after: dict[str, str]
) -> None:
    """policy.drift says for each class whether git's state is written again or the difference is only told."""
    repo.configure(f"{{drift: {drift}}}")
    await repo.settle(dict.fromkeys("abcd", 1))
    repo.edit("a", "theirs")
    repo.server.delete("web", "b")
    repo.edit("c", "theirs")
    repo.want({"a": 1, "b": 1, "c": 2, "d": 1})
    plan = (await repo.apply()).plan.targets[0]
    assert repo.values() == store_after
    assert {row[1:] for row in rows(plan) + reported(plan)} == {("drifted", "a"), ("missing", "b"), ("conflict", "c")}


async def test_gated_drift_parks_the_whole_target(repo: MemoryRepository) -> None:
    """drift: gate holds the target until a person approves that very plan."""
    repo.configure("{drift: gate}")
    await repo.settle({"a": 1, "b": 1})
    repo.edit("a", "theirs")
    repo.want({"a": 1, "b": 2})
    report = await repo.apply()
    assert outcomes(report) == {"a": "not-attempted", "b": "not-attempted"}
    assert is_clean(await repo.apply(approvals=[report.plan.targets[0].digest]))
    assert repo.values() == {"a": "1", "b": "2"}


async def test_too_many_deletes_are_parked_until_approved_in_the_state_directory(repo: MemoryRepository) -> None:
    """What the guard holds back is noted by the plan, released by its hash, applied once, and forgotten then."""
    await repo.settle(MANY)
    repo.want({"k00": 1})
    assert (await repo.plan()).parked
    report = await repo.apply()
    assert set(outcomes(report).values()) == {"not-attempted"}
    assert len(repo.values()) == 20
    async with repo.open(writing=None) as workspace:
        record = only(workspace.state.parked.all())
        workspace.state.parked.approve(record.digest[:19], repo.clock.now())
    assert is_clean(await repo.apply())
    assert repo.values() == {"k00": "1"}
    async with repo.open(writing=None) as workspace:
        assert workspace.state.parked.all() == []


async def test_an_approval_is_good_for_one_plan_only(repo: MemoryRepository) -> None:
    """Once the plan is another one, what was approved before releases nothing."""
    await repo.settle(MANY)
    repo.want({"k00": 1})
    digest = (await repo.plan()).digest
    async with repo.open(writing=None) as workspace:
        workspace.state.parked.approve(digest, repo.clock.now())
    repo.want({"k00": 2})
    report = await repo.apply(approvals=[digest])
    assert set(outcomes(report).values()) == {"not-attempted"}
    assert len(repo.values()) == 20
    async with repo.open(writing=None) as workspace:
        with pytest.raises(NotApproved):
            workspace.state.parked.approve(digest, repo.clock.now())


async def test_an_approval_outlives_a_file_that_is_broken_for_a_moment(repo: MemoryRepository) -> None:
    """A target that keeps its state because of a broken file keeps its approval too."""
    await repo.settle(MANY)
    repo.want({"k00": 1})
    digest = (await repo.plan()).digest
    async with repo.open(writing=None) as workspace:
        workspace.state.parked.approve(digest, repo.clock.now())
    repo.state("store: main\nnamespace: web\nkeys: {a: [\n")
    assert (await repo.plan()).problems
    repo.want({"k00": 1})
    assert is_clean(await repo.apply())


async def test_approving_the_whole_plan_releases_its_targets(repo: MemoryRepository) -> None:
    """The hash of a plan over several targets releases all of them, given as an argument, shortened or not."""
    for name in ("web", "api"):
        repo.state(
            f"store: main\nnamespace: {name}\nkeys: {{{', '.join(f'{key}: 1' for key in MANY)}}}\n", f"{name}.yaml"
        )
    assert is_clean(await repo.apply())
    for name in ("web", "api"):
        repo.state(f"store: main\nnamespace: {name}\nkeys: {{a: 1}}\n", f"{name}.yaml")
    plan = await repo.plan_all()
    report = await repo.apply(approvals=[plan.digest.removeprefix("sha256:")[:12]])
    assert is_clean(report)
    assert repo.values() == {"a": "1"}


async def test_a_pass_over_one_target_keeps_the_hash_of_the_whole_plan(repo: MemoryRepository) -> None:
    """The hash of a plan over everything still releases its targets after the daemon has looked at each alone."""
    for name in ("web", "api"):
        repo.state(
            f"store: main\nnamespace: {name}\nkeys: {{{', '.join(f'{key}: 1' for key in MANY)}}}\n", f"{name}.yaml"
        )
    assert is_clean(await repo.apply())
    for name in ("web", "api"):
        repo.state(f"store: main\nnamespace: {name}\nkeys: {{k00: 1}}\n", f"{name}.yaml")
    digest = (await repo.plan_all()).digest
    async with repo.open() as workspace:
        for name in ("web", "api"):
            assert (await workspace.plan(TargetSelection([Target("main", name)]))).targets[0].parked
        assert len(workspace.state.parked.approve(digest, repo.clock.now())) == 2


async def test_no_entries_wanted_meets_the_guard(repo: MemoryRepository) -> None:
    """`keys: {}` never empties a target without approval, however small it is."""
    await repo.settle({"a": 1})
    repo.want({})
    report = await repo.apply()
    assert report.plan.targets[0].parked
    assert repo.values() == {"a": "1"}


async def test_a_target_that_no_file_names_is_not_managed(repo: MemoryRepository) -> None:
    """When the last file of a target goes, its entries stay."""
    await repo.settle({"a": 1})
    (repo.root / "state/web.yaml").unlink()
    repo.state("store: main\nnamespace: other\nkeys: {x: 1}\n", "other.yaml")
    assert is_clean(await repo.apply())
    assert repo.values() == {"a": "1"}


async def test_a_delete_waits_out_the_grace_of_the_policy(repo: MemoryRepository) -> None:
    """With a grace an entry is deleted once it has been undesired that long, and the plan says when to come back."""
    repo.configure("{guard: {grace: 10m}}")
    await repo.settle({"a": 1, "b": 1})
    repo.want({"a": 1})
    report = await repo.apply()
    assert reported(report.plan.targets[0]) == [("delete", "removed", "b")]
    plan = await repo.plan()
    assert plan.next_moment == repo.clock.now() + 600
    repo.clock.advance(599)
    assert rows(await repo.plan()) == []
    repo.clock.advance(1)
    assert is_clean(await repo.apply())
    assert repo.values() == {"a": "1"}


@pytest.mark.parametrize("step", [-3 * 86_400, -3600, 3600, 3 * 86_400], ids=["-3d", "-1h", "1h", "3d"])
async def test_a_grace_lasts_as_long_whatever_the_clock_is_set_to(repo: MemoryRepository, step: float) -> None:
    """A clock that is set forward deletes nothing early, and one that is set back delays no delete."""
    repo.configure("{guard: {grace: 10m}}")
    await repo.settle({"a": 1, "b": 1})
    repo.want({"a": 1})
    await repo.apply()
    repo.clock.advance(300)
    repo.clock.step(step)
    await repo.apply()
    assert repo.values() == {"a": "1", "b": "1"}
    plan = await repo.plan()
    assert plan.next_moment == repo.clock.now() + 300
    repo.clock.advance(300)
    assert is_clean(await repo.apply())
    assert repo.values() == {"a": "1"}


async def test_a_grace_begins_again_once_the_entry_was_wanted_again(repo: MemoryRepository) -> None:
    """An entry that was missing from a half-saved file long ago gets the whole grace when that happens again."""
    half_saved, ask = {"a": 1}, PassOptions(grace=5)
    await repo.settle({"a": 1, "b": 1})
    repo.want(half_saved)
    assert outcomes(await repo.apply(ask)) == {"b": "skipped"}
    repo.want({"a": 1, "b": 1})
    assert outcomes(await repo.apply()) == {}
    repo.clock.advance(3600)
    repo.want(half_saved)
    assert outcomes(await repo.apply(ask)) == {"b": "skipped"}
    assert repo.values() == {"a": "1", "b": "1"}


async def test_looking_at_some_keys_does_not_disturb_the_grace_of_others(repo: MemoryRepository) -> None:
    """A plan narrowed by --key neither starts nor ends the waiting of entries."""
    repo.configure("{guard: {grace: 10m}}")
    await repo.settle({"a": 1, "b": 1})
    repo.want({"a": 1})
    await repo.plan()
    repo.clock.advance(500)
    await repo.plan(PassOptions(keys=("a",)))
    repo.clock.advance(100)
    assert rows(await repo.plan()) == [("delete", "removed", "b")]


async def test_a_moved_key_is_never_absent_under_both_names(repo: MemoryRepository) -> None:
    """A move creates, verifies and only then deletes: before every write one of the names is there."""
    await repo.settle({"greet": "hello", "a": 1})
    repo.want({"greeting": "hello", "a": 1}, "moved: [{from: greet, to: greeting}]\n")
    seen: list[set[str]] = []
    repo.server.before_change(
        lambda: seen.append({name for name in repo.values() if name.startswith("greet")}), times=9
    )
    assert is_clean(await repo.apply())
    assert seen == [{"greet"}, {"greet", "greeting"}]
    assert repo.values() == {"greeting": "hello", "a": "1"}
    assert rows(await repo.plan()) == []


async def test_a_move_whose_new_name_cannot_be_written_keeps_the_old_one(repo: MemoryRepository) -> None:
    """Readers keep the old name as long as the new one could not be put in place."""
    await repo.settle({"greet": "hello", "a": 1})
    repo.want({"greeting": "hello", "a": 1}, "moved: [{from: greet, to: greeting}]\n")
    repo.server.fail_entry("greeting", WriteStatus.REJECTED)
    assert outcomes(await repo.apply()) == {"greeting": "failed", "greet": "skipped"}
    assert repo.values() == {"greet": "hello", "a": "1"}


async def test_a_move_counts_neither_for_the_guard_nor_needs_prune(repo: MemoryRepository) -> None:
    """Renaming many keys is not deleting many keys, and happens with prune: off."""
    repo.configure("{prune: off}")
    await repo.settle(MANY)
    moves = ", ".join(f"{{from: {key}, to: new-{key}}}" for key in MANY)
    repo.want({f"new-{key}": 1 for key in MANY}, f"moved: [{moves}]\n")
    report = await repo.apply()
    assert is_clean(report)
    assert repo.values() == {f"new-{key}": "1" for key in MANY}


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("mode", ["enforce", "create-only", "observe"])
async def test_a_move_onto_a_foreign_key_keeps_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, mode: str
) -> None:
    """The old name is not deleted while the entry under the new name belongs to nobody, whatever mode the files give it."""
    repo = MemoryRepository(tmp_path, monkeypatch, kind, "{adopt: never}")
    await repo.settle({"greet": "hello", "a": 1})
    repo.server.write("web", "greeting", b"hello")
    repo.want({"greeting": f"{{value: hello, mode: {mode}}}", "a": 1}, "moved: [{from: greet, to: greeting}]\n")
    await repo.apply()
    assert repo.values() == {"greet": "hello", "greeting": "hello", "a": "1"}


async def test_a_move_onto_a_key_that_is_adopted_is_done_at_once(repo: MemoryRepository) -> None:
    """A new name that belongs to nobody is adopted when it is equal, and the old one goes in the same run."""
    await repo.settle({"greet": "hello", "a": 1})
    repo.server.write("web", "greeting", b"hello")
    repo.want({"greeting": "hello", "a": 1}, "moved: [{from: greet, to: greeting}]\n")
    assert is_clean(await repo.apply())
    assert repo.values() == {"greeting": "hello", "a": "1"}


@pytest.mark.parametrize("mode", ["create-only", "observe"])
@pytest.mark.parametrize("mark", [None, Mark("team-b", b"f" * 16)])
async def test_a_plan_says_why_a_move_keeps_the_old_key(repo: MemoryRepository, mode: str, mark: Mark | None) -> None:
    """A new name that kvsync neither owns nor will write makes the old one `refused`, with the owner."""
    await repo.settle({"greet": "hello", "a": 1})
    repo.server.write("web", "greeting", b"hello", mark=mark)
    repo.want({"greeting": f"{{value: hello, mode: {mode}}}", "a": 1}, "moved: [{from: greet, to: greeting}]\n")
    plan = await repo.plan()
    assert refused(plan) == [("delete", "removed", "greet")]
    owner = "has no owner" if mark is None else "belongs to owner 'team-b'"
    assert plan.refused[0].reason == f"it is kept, because its new name greeting {owner}"


async def test_a_moved_foreign_key_stays(repo: MemoryRepository) -> None:
    """A move never deletes an old name that is not ours."""
    repo.server.write("web", "greet", b"theirs")
    repo.want({"greeting": "hello", "a": 1}, "moved: [{from: greet, to: greeting}]\n")
    await repo.apply()
    assert repo.values() == {"greet": "theirs", "greeting": "hello", "a": "1"}


async def test_a_narrowed_plan_applies_to_its_keys_alone(repo: MemoryRepository) -> None:
    """--key looks at the entries it names and leaves all others as they are."""
    await repo.settle({"a": 1, "b": 1})
    repo.want({"a": 2, "b": 2})
    assert outcomes(await repo.apply(PassOptions(keys=("a",)))) == {"a": "applied"}
    assert rows(await repo.plan()) == [("update", "changed", "b")]


async def test_a_run_can_be_taken_back(repo: MemoryRepository) -> None:
    """Undo restores what a run changed, spares what someone changed since, and the next plan leaves alone what was undone."""
    await repo.settle({"a": 1, "b": 1, "c": 1})
    repo.want({"a": 2, "b": 2, "d": 1})
    report = await repo.apply()
    repo.edit("b", "since")
    assert report.run is not None
    undone = await repo.undo(report.run)
    assert outcomes(undone) == {"a": "applied", "b": "stale", "c": "applied", "d": "applied"}
    assert repo.values() == {"a": "1", "b": "since", "c": "1"}
    assert {row[2] for row in rows(await repo.plan())} == {"b"}


async def test_a_refused_entry_leaves_the_others_their_plan(repo: MemoryRepository) -> None:
    """What is refused of one entry changes nothing about the others."""
    repo.server.write("web", "b", b"theirs")
    repo.want({"a": 1, "b": 1})
    plan = await repo.plan()
    assert rows(plan) == [("create", "new", "a")]
    assert refused(plan) == [("update", "unowned", "b")]
    assert Identity("b") in repo.server.contents("web")
