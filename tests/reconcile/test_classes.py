"""Every class of difference, from real files and a real store to the plan and what becomes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvsync.model.entry import Content, Mark
from kvsync.model.pass_options import PassOptions
from kvsync.model.policy import Adopt
from kvsync.stores.base import WriteStatus
from tests.support.world import World, is_clean, outcomes, refused, reported, rows


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


async def test_what_the_files_add_change_and_drop_is_new_changed_and_removed(world: World) -> None:
    """Differences that the files made are applied, each under its own name."""
    await world.settle(dict.fromkeys("abcd", 1))
    world.want({"a": 1, "b": 2, "d": 1, "e": 1})
    report = await world.apply()
    assert rows(report.plan.targets[0]) == [
        ("update", "changed", "b"),
        ("delete", "removed", "c"),
        ("create", "new", "e"),
    ]
    assert is_clean(report)
    assert world.values() == {"a": "1", "b": "2", "d": "1", "e": "1"}


async def test_what_the_store_changed_or_lost_is_drift_and_healed(world: World) -> None:
    """An entry of ours that somebody else changed or deleted is drifted or missing, and git's state comes back."""
    await world.settle({"a": 1, "b": 1})
    world.edit("a", "edited")
    world.server.delete("web", "b")
    report = await world.apply()
    assert rows(report.plan.targets[0]) == [("update", "drifted", "a"), ("create", "missing", "b")]
    assert world.values() == {"a": "1", "b": "1"}


async def test_when_both_sides_changed_it_is_a_conflict_and_git_wins(world: World) -> None:
    """An entry that files and store changed differently is a conflict; healing takes the files' side."""
    await world.settle({"a": 1, "b": 1})
    world.edit("a", "theirs")
    world.server.delete("web", "b")
    world.want({"a": "ours", "b": "ours"})
    report = await world.apply()
    assert rows(report.plan.targets[0]) == [("update", "conflict", "a"), ("create", "conflict", "b")]
    assert world.values() == {"a": "ours", "b": "ours"}


async def test_both_sides_changing_to_the_same_is_no_work(world: World) -> None:
    """Where store and files came to the same value by themselves nothing is written to the value."""
    await world.settle({"a": 1})
    world.edit("a", "2")
    world.want({"a": 2})
    assert outcomes(await world.apply()) == {}
    assert rows(await world.plan()) == []
    assert world.values() == {"a": "2"}


async def test_a_dropped_entry_that_somebody_changed_is_a_conflict(world: World) -> None:
    """Deleting an entry that no longer is as we left it is a conflict, and so under the drift policy."""
    world.configure("{drift: report}")
    await world.settle({"a": 1, "b": 1})
    world.edit("b", "theirs")
    world.want({"a": 1})
    report = await world.apply()
    assert reported(report.plan.targets[0]) == [("delete", "conflict", "b")]
    assert world.held("b") == "theirs"


async def test_what_nobody_asked_for_is_foreign_and_left_alone(world: World) -> None:
    """Entries without our mark that no file asks for are counted, and nothing else."""
    world.server.write("web", "theirs", b"x")
    world.want({"a": 1})
    report = await world.apply()
    assert report.plan.targets[0].foreign == 1
    assert world.held("theirs") == "x"
    assert rows(await world.plan()) == []


@pytest.mark.parametrize(
    ("policy", "equal", "different"),
    [
        ("never", ("refused", "adopt"), ("refused", "update")),
        ("if-equal", ("applied", "adopt"), ("refused", "update")),
        ("always", ("applied", "adopt"), ("applied", "update")),
    ],
)
async def test_an_entry_without_an_owner_is_taken_over_as_the_policy_says(
    world: World, policy: str, equal: tuple[str, str], different: tuple[str, str]
) -> None:
    """policy.adopt decides about desired entries that exist without an owner, apart for equal and different content."""
    world.configure(f"{{adopt: {policy}}}")
    world.server.write("web", "equal", b"1")
    world.server.write("web", "other", b"theirs")
    world.want({"equal": 1, "other": 1})
    report = await world.apply()
    found = {str(one.identity): (one.kind.value, one.action.value) for one in report.targets[0].outcomes}
    assert found == {"equal": equal, "other": different}
    assert world.held("other") == ("1" if policy == "always" else "theirs")
    assert world.held("equal") == "1"


async def test_a_refusal_names_the_parts_that_differ(world: World) -> None:
    """Whoever is refused sees in what the entry of the store differs from the files."""
    world.server.write("web", "a", Content(b"1", "text/plain", (("team", "web"),)))
    world.want({"a": "{value: 1, content_type: text/html, tags: {team: api}}"})
    [refusal] = (await world.plan()).refused
    assert "(different content_type, tags)" in refusal.reason


async def test_the_adopt_of_one_pass_replaces_the_policy(world: World) -> None:
    """A command may ask for another policy.adopt for once."""
    world.configure("{adopt: never}")
    world.server.write("web", "a", b"theirs")
    world.want({"a": 1})
    assert refused(await world.plan()) == [("update", "unowned", "a")]
    assert is_clean(await world.apply(PassOptions(adopt=Adopt.ALWAYS)))
    assert world.held("a") == "1"


async def test_another_owners_entry_is_taken_and_refused(world: World) -> None:
    """An entry with another owner's mark is never touched, whatever policy.adopt says."""
    world.configure("{adopt: always, prune: scope}")
    world.server.write("web", "a", b"theirs", mark=Mark("team-b", b"f" * 16))
    world.server.write("web", "b", b"theirs", mark=Mark("team-b", b"f" * 16))
    world.want({"a": 1, "c": 1})
    report = await world.apply()
    assert refused(report.plan.targets[0]) == [("update", "taken", "a")]
    assert world.values() == {"a": "theirs", "b": "theirs", "c": "1"}


async def test_a_protected_entry_waits_for_permission(world: World) -> None:
    """A protected entry is neither overwritten nor deleted without --allow-protected, also when the files drop it."""
    world.want({"a": "{value: 1, protected: true}", "b": "{value: 1, protected: true}", "c": 1})
    assert is_clean(await world.apply())
    world.want({"a": "{value: 2, protected: true}", "c": 1})
    report = await world.apply()
    assert refused(report.plan.targets[0]) == [("update", "protected", "a"), ("delete", "protected", "b")]
    assert world.values() == {"a": "1", "b": "1", "c": "1"}
    assert is_clean(await world.apply(PassOptions(allow_protected=True)))
    assert world.values() == {"a": "2", "c": "1"}


async def test_a_locked_entry_is_refused_and_the_rest_is_done(world: World) -> None:
    """An entry that the store has locked is refused, and nothing else suffers."""
    await world.settle({"a": 1, "b": 1})
    world.server.lock("web", "a")
    world.want({"a": 2, "b": 2})
    report = await world.apply()
    assert refused(report.plan.targets[0]) == [("update", "locked", "a")]
    assert world.values() == {"a": "1", "b": "2"}


async def test_an_entry_locked_after_the_plan_is_an_outcome(world: World) -> None:
    """A lock that the plan could not see ends that one change as refused."""
    await world.settle({"a": 1, "b": 1})
    world.want({"a": 2, "b": 2})
    world.server.before_change(lambda: world.server.lock("web", "a"))
    assert outcomes(await world.apply()) == {"a": "refused", "b": "applied"}


async def test_create_only_is_created_once_and_left_to_others(world: World) -> None:
    """A create-only entry is made where it is missing and never changed after that."""
    world.want({"seed": '{value: "1", mode: create-only}', "a": 1})
    assert is_clean(await world.apply())
    world.edit("seed", "grown")
    world.want({"seed": '{value: "2", mode: create-only}', "a": 1})
    assert rows(await world.plan()) == []
    assert world.held("seed") == "grown"


async def test_observed_entries_are_compared_and_never_written(world: World) -> None:
    """mode: observe reports a difference and leaves it, also when the entry is not there at all."""
    world.server.write("web", "seen", b"theirs")
    world.want({"seen": '{value: "1", mode: observe}', "gone": '{value: "1", mode: observe}', "a": 1})
    report = await world.apply()
    assert {row[2] for row in reported(report.plan.targets[0])} == {"seen", "gone"}
    assert world.values() == {"seen": "theirs", "a": "1"}
    assert {row[2] for row in reported(await world.plan())} == {"seen", "gone"}


async def test_ignored_keys_are_neither_read_written_nor_deleted(world: World) -> None:
    """policy.ignore takes keys out of the diff altogether, on both sides."""
    await world.settle({"a": 1, "tmp/x": 1})
    world.configure('{ignore: ["tmp/*"], prune: scope}')
    world.server.write("web", "tmp/theirs", b"x")
    world.want({"a": 1, "tmp/new": 1})
    report = await world.apply()
    assert rows(report.plan.targets[0]) == []
    assert report.plan.targets[0].ignored == 3
    assert world.values() == {"a": "1", "tmp/x": "1", "tmp/theirs": "x"}


async def test_labels_are_entries_of_their_own(world: World) -> None:
    """Each label of a key is created, changed and deleted by itself."""
    world.want("  theme: {value: light, labels: {prod: dark, dev: neon}}\n  a: 1\n")
    assert is_clean(await world.apply())
    assert world.values() == {"theme": "light", "theme [prod]": "dark", "theme [dev]": "neon", "a": "1"}
    world.want("  theme: {value: light, labels: {prod: black}}\n  a: 1\n")
    report = await world.apply()
    assert rows(report.plan.targets[0]) == [("delete", "removed", "theme [dev]"), ("update", "changed", "theme [prod]")]
    assert world.values() == {"theme": "light", "theme [prod]": "black", "a": "1"}


async def test_a_sensitive_entry_is_compared_like_any_other(world: World) -> None:
    """A sensitive value is created, found unchanged, healed and renewed without being shown."""
    world.want({"token": "{value: hunter2-and-more, sensitive: true}", "a": 1})
    assert is_clean(await world.apply())
    assert rows(await world.plan()) == []
    world.edit("token", "stolen")
    report = await world.apply()
    assert rows(report.plan.targets[0]) == [("update", "drifted", "token")]
    assert world.held("token") == "hunter2-and-more"


async def test_what_the_store_refuses_waits_in_quarantine_until_it_changes(world: World) -> None:
    """A refused content is left alone for a while, tried again after it, and at once when the files change it."""
    world.server.fail_entry("bad", WriteStatus.REJECTED, "not this one")
    world.want({"bad": 1, "good": 1})
    assert outcomes(await world.apply()) == {"bad": "failed", "good": "applied"}
    plan = await world.plan()
    assert refused(plan) == [("create", "new", "bad")]
    assert "not this one" in plan.refused[0].reason
    assert plan.next_moment is not None
    assert plan.next_moment > world.clock.now()
    world.clock.advance(plan.next_moment - world.clock.now())
    assert rows(await world.plan()) == [("create", "new", "bad")]
    await world.apply()
    world.want({"bad": 2, "good": 1})
    assert rows(await world.plan()) == [("create", "new", "bad")]


async def test_a_refusal_is_forgotten_once_the_store_took_the_content(world: World) -> None:
    """A content that went through in the end starts with the shortest wait when it is refused another time."""
    world.server.fail_entry("bad", WriteStatus.REJECTED)
    world.want({"bad": 1, "good": 1})
    waits = []
    for is_healed in (False, False, True, False):
        if is_healed:
            world.server.heal()
            assert is_clean(await world.apply())
            world.server.delete("web", "bad")
            world.server.fail_entry("bad", WriteStatus.REJECTED)
            continue
        assert outcomes(await world.apply())["bad"] == "failed"
        until = (await world.plan()).next_moment
        assert until is not None
        waits.append(until - world.clock.now())
        world.clock.advance(waits[-1])
    assert waits[1] > waits[0] == waits[2]


async def test_an_entry_that_is_changed_back_again_and_again_is_healed_ever_more_slowly(world: World) -> None:
    """Another writer's fight over an entry is called contended, and each round waits longer than the one before."""
    await world.settle({"a": 1, "b": 1})
    waits = []
    for _ in range(6):
        world.edit("a", "theirs")
        plan = await world.plan()
        if refused(plan):
            assert "contended" in plan.refused[0].reason
            assert plan.next_moment is not None
            waits.append(plan.next_moment - world.clock.now())
            world.clock.advance(waits[-1])
        assert is_clean(await world.apply())
        assert world.held("a") == "1"
    assert len(waits) >= 2
    assert waits == sorted(set(waits))


async def test_files_that_change_a_contended_entry_are_not_kept_waiting(world: World) -> None:
    """Contention holds back healing only: what the files change is written at once."""
    await world.settle({"a": 1, "b": 1})
    for _ in range(3):
        world.edit("a", "theirs")
        await world.apply()
    world.want({"a": 2, "b": 1})
    assert is_clean(await world.apply())
    assert world.held("a") == "2"


async def test_a_key_that_came_back_is_new(world: World) -> None:
    """An entry that files and store both lost is new when the files ask for it again, and not reported as missing."""
    world.configure("{drift: report}")
    await world.settle({"a": 1, "b": 1})
    world.want({"a": 1})
    world.server.delete("web", "b")
    assert rows(await world.plan(writing="test")) == []
    world.want({"a": 1, "b": 1})
    assert rows(await world.plan()) == [("create", "new", "b")]
