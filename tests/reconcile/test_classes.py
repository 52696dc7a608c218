"""Every class of difference, from real files and a real store to the plan and what becomes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvsync.model.entry import Content, Mark
from kvsync.model.pass_options import PassOptions
from kvsync.model.policy import Adopt
from kvsync.stores.base import WriteStatus
from tests.support.memory_repository import MemoryRepository, is_clean, outcomes, refused, reported, rows


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MemoryRepository:
    return MemoryRepository(tmp_path, monkeypatch)


async def test_what_the_files_add_change_and_drop_is_new_changed_and_removed(repo: MemoryRepository) -> None:
    """Differences that the files made are applied, each under its own name."""
    await repo.settle(dict.fromkeys("abcd", 1))
    repo.want({"a": 1, "b": 2, "d": 1, "e": 1})
    report = await repo.apply()
    assert rows(report.plan.targets[0]) == [
        ("update", "changed", "b"),
        ("delete", "removed", "c"),
        ("create", "new", "e"),
    ]
    assert is_clean(report)
    assert repo.values() == {"a": "1", "b": "2", "d": "1", "e": "1"}


async def test_what_the_store_changed_or_lost_is_drift_and_healed(repo: MemoryRepository) -> None:
    """An entry of ours that someone else changed or deleted is drifted or missing, and git's state comes back."""
    await repo.settle({"a": 1, "b": 1})
    repo.edit("a", "edited")
    repo.server.delete("web", "b")
    report = await repo.apply()
    assert rows(report.plan.targets[0]) == [("update", "drifted", "a"), ("create", "missing", "b")]
    assert repo.values() == {"a": "1", "b": "1"}


async def test_when_both_sides_changed_it_is_a_conflict_and_git_wins(repo: MemoryRepository) -> None:
    """An entry that files and store changed differently is a conflict; healing takes the files' side."""
    await repo.settle({"a": 1, "b": 1})
    repo.edit("a", "theirs")
    repo.server.delete("web", "b")
    repo.want({"a": "ours", "b": "ours"})
    report = await repo.apply()
    assert rows(report.plan.targets[0]) == [("update", "conflict", "a"), ("create", "conflict", "b")]
    assert repo.values() == {"a": "ours", "b": "ours"}


async def test_both_sides_changing_to_the_same_is_not_work(repo: MemoryRepository) -> None:
    """Where store and files came to the same value by themselves nothing is written to the value."""
    await repo.settle({"a": 1})
    repo.edit("a", "2")
    repo.want({"a": 2})
    assert outcomes(await repo.apply()) == {}
    assert rows(await repo.plan()) == []
    assert repo.values() == {"a": "2"}


async def test_a_dropped_entry_that_someone_changed_is_a_conflict(repo: MemoryRepository) -> None:
    """Deleting an entry that no longer is as we left it is a conflict, and so under the drift policy."""
    repo.configure("{drift: report}")
    await repo.settle({"a": 1, "b": 1})
    repo.edit("b", "theirs")
    repo.want({"a": 1})
    report = await repo.apply()
    assert reported(report.plan.targets[0]) == [("delete", "conflict", "b")]
    assert repo.held("b") == "theirs"


async def test_what_nobody_asked_for_is_foreign_and_left_alone(repo: MemoryRepository) -> None:
    """Entries without our mark that no file asks for are counted, and nothing else."""
    repo.server.write("web", "theirs", b"x")
    repo.want({"a": 1})
    report = await repo.apply()
    assert report.plan.targets[0].foreign == 1
    assert repo.held("theirs") == "x"
    assert rows(await repo.plan()) == []


@pytest.mark.parametrize(
    ("policy", "equal", "different"),
    [
        ("never", ("refused", "adopt"), ("refused", "update")),
        ("if-equal", ("applied", "adopt"), ("refused", "update")),
        ("always", ("applied", "adopt"), ("applied", "update")),
    ],
)
async def test_an_entry_without_an_owner_is_taken_over_as_the_policy_says(
    repo: MemoryRepository, policy: str, equal: tuple[str, str], different: tuple[str, str]
) -> None:
    """policy.adopt decides about desired entries that exist without an owner, apart for equal and different content."""
    repo.configure(f"{{adopt: {policy}}}")
    repo.server.write("web", "equal", b"1")
    repo.server.write("web", "other", b"theirs")
    repo.want({"equal": 1, "other": 1})
    report = await repo.apply()
    found = {str(one.identity): (one.kind.value, one.action.value) for one in report.targets[0].outcomes}
    assert found == {"equal": equal, "other": different}
    assert repo.held("other") == ("1" if policy == "always" else "theirs")
    assert repo.held("equal") == "1"


async def test_a_refusal_names_the_parts_that_differ(repo: MemoryRepository) -> None:
    """Whoever is refused sees in what the entry of the store differs from the files."""
    repo.server.write("web", "a", Content(b"1", "text/plain", (("team", "web"),)))
    repo.want({"a": "{value: 1, content_type: text/html, tags: {team: api}}"})
    [refusal] = (await repo.plan()).refused
    assert "(different content_type, tags)" in refusal.reason


async def test_the_adopt_of_one_pass_replaces_the_policy(repo: MemoryRepository) -> None:
    """A command may ask for another policy.adopt for once."""
    repo.configure("{adopt: never}")
    repo.server.write("web", "a", b"theirs")
    repo.want({"a": 1})
    assert refused(await repo.plan()) == [("update", "unowned", "a")]
    assert is_clean(await repo.apply(PassOptions(adopt=Adopt.ALWAYS)))
    assert repo.held("a") == "1"


async def test_another_owners_entry_is_taken_and_refused(repo: MemoryRepository) -> None:
    """An entry with another owner's mark is never touched, whatever policy.adopt says."""
    repo.configure("{adopt: always, prune: scope}")
    repo.server.write("web", "a", b"theirs", mark=Mark("team-b", b"f" * 16))
    repo.server.write("web", "b", b"theirs", mark=Mark("team-b", b"f" * 16))
    repo.want({"a": 1, "c": 1})
    report = await repo.apply()
    assert refused(report.plan.targets[0]) == [("update", "taken", "a")]
    assert repo.values() == {"a": "theirs", "b": "theirs", "c": "1"}


async def test_a_protected_entry_waits_for_permission(repo: MemoryRepository) -> None:
    """A protected entry is neither overwritten nor deleted without --allow-protected, also when the files drop it."""
    repo.want({"a": "{value: 1, protected: true}", "b": "{value: 1, protected: true}", "c": 1})
    assert is_clean(await repo.apply())
    repo.want({"a": "{value: 2, protected: true}", "c": 1})
    report = await repo.apply()
    assert refused(report.plan.targets[0]) == [("update", "protected", "a"), ("delete", "protected", "b")]
    assert repo.values() == {"a": "1", "b": "1", "c": "1"}
    assert is_clean(await repo.apply(PassOptions(allow_protected=True)))
    assert repo.values() == {"a": "2", "c": "1"}


async def test_a_locked_entry_is_refused_and_the_rest_is_done(repo: MemoryRepository) -> None:
    """An entry that the store has locked is refused, and nothing else suffers."""
    await repo.settle({"a": 1, "b": 1})
    repo.server.lock("web", "a")
    repo.want({"a": 2, "b": 2})
    report = await repo.apply()
    assert refused(report.plan.targets[0]) == [("update", "locked", "a")]
    assert repo.values() == {"a": "1", "b": "2"}


async def test_an_entry_locked_after_the_plan_is_an_outcome(repo: MemoryRepository) -> None:
    """A lock that the plan could not see ends that one change as refused."""
    await repo.settle({"a": 1, "b": 1})
    repo.want({"a": 2, "b": 2})
    repo.server.before_change(lambda: repo.server.lock("web", "a"))
    assert outcomes(await repo.apply()) == {"a": "refused", "b": "applied"}


async def test_create_only_is_created_once_and_left_to_others(repo: MemoryRepository) -> None:
    """A create-only entry is made where it is missing and never changed after that."""
    repo.want({"seed": '{value: "1", mode: create-only}', "a": 1})
    assert is_clean(await repo.apply())
    repo.edit("seed", "grown")
    repo.want({"seed": '{value: "2", mode: create-only}', "a": 1})
    assert rows(await repo.plan()) == []
    assert repo.held("seed") == "grown"


async def test_observed_entries_are_compared_and_never_written(repo: MemoryRepository) -> None:
    """mode: observe reports a difference and leaves it, also when the entry is not there at all."""
    repo.server.write("web", "seen", b"theirs")
    repo.want({"seen": '{value: "1", mode: observe}', "gone": '{value: "1", mode: observe}', "a": 1})
    report = await repo.apply()
    assert {row[2] for row in reported(report.plan.targets[0])} == {"seen", "gone"}
    assert repo.values() == {"seen": "theirs", "a": "1"}
    assert {row[2] for row in reported(await repo.plan())} == {"seen", "gone"}


async def test_ignored_keys_are_neither_read_written_nor_deleted(repo: MemoryRepository) -> None:
    """policy.ignore takes keys out of the diff altogether, on both sides."""
    await repo.settle({"a": 1, "tmp/x": 1})
    repo.configure('{ignore: ["tmp/*"], prune: scope}')
    repo.server.write("web", "tmp/theirs", b"x")
    repo.want({"a": 1, "tmp/new": 1})
    report = await repo.apply()
    assert rows(report.plan.targets[0]) == []
    assert report.plan.targets[0].ignored == 3
    assert repo.values() == {"a": "1", "tmp/x": "1", "tmp/theirs": "x"}


async def test_labels_are_entries_of_their_own(repo: MemoryRepository) -> None:
    """Each label of a key is created, changed and deleted on its own."""
    repo.want("  theme: {value: light, labels: {prod: dark, dev: neon}}\n  a: 1\n")
    assert is_clean(await repo.apply())
    assert repo.values() == {"theme": "light", "theme [prod]": "dark", "theme [dev]": "neon", "a": "1"}
    repo.want("  theme: {value: light, labels: {prod: black}}\n  a: 1\n")
    report = await repo.apply()
    assert rows(report.plan.targets[0]) == [("delete", "removed", "theme [dev]"), ("update", "changed", "theme [prod]")]
    assert repo.values() == {"theme": "light", "theme [prod]": "black", "a": "1"}


async def test_a_sensitive_entry_is_compared_like_any_other(repo: MemoryRepository) -> None:
    """A sensitive value is created, found unchanged, healed and renewed without being shown."""
    repo.want({"token": "{value: hunter2-and-more, sensitive: true}", "a": 1})
    assert is_clean(await repo.apply())
    assert rows(await repo.plan()) == []
    repo.edit("token", "stolen")
    report = await repo.apply()
    assert rows(report.plan.targets[0]) == [("update", "drifted", "token")]
    assert repo.held("token") == "hunter2-and-more"


async def test_what_the_store_refuses_waits_in_quarantine_until_it_changes(repo: MemoryRepository) -> None:
    """A refused content is left alone for a while, tried again after it, and at once when the files change it."""
    repo.server.fail_entry("bad", WriteStatus.REJECTED, "not this one")
    repo.want({"bad": 1, "good": 1})
    assert outcomes(await repo.apply()) == {"bad": "failed", "good": "applied"}
    plan = await repo.plan()
    assert refused(plan) == [("create", "new", "bad")]
    assert "not this one" in plan.refused[0].reason
    assert plan.next_moment is not None
    assert plan.next_moment > repo.clock.now()
    repo.clock.advance(plan.next_moment - repo.clock.now())
    assert rows(await repo.plan()) == [("create", "new", "bad")]
    await repo.apply()
    repo.want({"bad": 2, "good": 1})
    assert rows(await repo.plan()) == [("create", "new", "bad")]


async def test_a_refusal_is_forgotten_once_the_store_took_the_content(repo: MemoryRepository) -> None:
    """A content that went through in the end starts with the shortest wait when it is refused another time."""
    repo.server.fail_entry("bad", WriteStatus.REJECTED)
    repo.want({"bad": 1, "good": 1})
    waits = []
    for is_healed in (False, False, True, False):
        if is_healed:
            repo.server.heal()
            assert is_clean(await repo.apply())
            repo.server.delete("web", "bad")
            repo.server.fail_entry("bad", WriteStatus.REJECTED)
            continue
        assert outcomes(await repo.apply())["bad"] == "failed"
        until = (await repo.plan()).next_moment
        assert until is not None
        waits.append(until - repo.clock.now())
        repo.clock.advance(waits[-1])
    assert waits[1] > waits[0] == waits[2]


async def test_an_entry_that_is_changed_back_again_and_again_is_healed_ever_more_slowly(repo: MemoryRepository) -> None:
    """Another writer's fight over an entry is called contended, and each round waits longer than the one before."""
    await repo.settle({"a": 1, "b": 1})
    waits = []
    for _ in range(6):
        repo.edit("a", "theirs")
        plan = await repo.plan()
        if refused(plan):
            assert "contended" in plan.refused[0].reason
            assert plan.next_moment is not None
            waits.append(plan.next_moment - repo.clock.now())
            repo.clock.advance(waits[-1])
        assert is_clean(await repo.apply())
        assert repo.held("a") == "1"
    assert len(waits) >= 2
    assert waits == sorted(set(waits))


async def test_files_that_change_a_contended_entry_are_not_kept_waiting(repo: MemoryRepository) -> None:
    """Contention holds back healing only: what the files change is written at once."""
    await repo.settle({"a": 1, "b": 1})
    for _ in range(3):
        repo.edit("a", "theirs")
        await repo.apply()
    repo.want({"a": 2, "b": 1})
    assert is_clean(await repo.apply())
    assert repo.held("a") == "2"


async def test_a_key_that_came_back_is_new(repo: MemoryRepository) -> None:
    """An entry that files and store both lost is new when the files ask for it again, and not reported as missing."""
    repo.configure("{drift: report}")
    await repo.settle({"a": 1, "b": 1})
    repo.want({"a": 1})
    repo.server.delete("web", "b")
    assert rows(await repo.plan(writing="test")) == []
    repo.want({"a": 1, "b": 1})
    assert rows(await repo.plan()) == [("create", "new", "b")]
