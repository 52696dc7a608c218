"""Deferred entries (quarantined or contended), and what lets them be tried again, end to end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from kvsync.errors import UsageError
from kvsync.model.entry import Identity, Target
from kvsync.model.pass_options import PassOptions
from kvsync.state import StateDir
from kvsync.state import operator as control
from kvsync.stores.base import WriteStatus
from tests.support.memory_repository import MemoryRepository, is_clean, outcomes, refused, rows
from tests.support.places import located
from tests.support.stores import KINDS

WEB = Target("main", "web")
ENTRY = "{value: v, ttl: 2h}"
PARTS = {
    "value": "{value: w, ttl: 2h}",
    "content type": "{value: v, ttl: 2h, content_type: text/plain}",
    "tags": "{value: v, ttl: 2h, tags: {a: b}}",
    "metadata": "{value: v, ttl: 2h, metadata: {a: 1}}",
    "ttl": "{value: v, ttl: 3h}",
    "no lifetime": "{value: v}",
    "expires_at": "{value: v, expires_at: 2100-01-01T00:00:00Z}",
    "renew_before": "{value: v, ttl: 2h, renew_before: 10m}",
    "sensitive": "{value: v, ttl: 2h, sensitive: true}",
    "protected": "{value: v, ttl: 2h, protected: true}",
    "mode": "{value: v, ttl: 2h, mode: create-only}",
}
EVERYWHERE = ("value", "ttl", "no lifetime", "expires_at", "sensitive", "mode")
"""The parts that every store has."""


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MemoryRepository:
    return MemoryRepository(tmp_path, monkeypatch)


def want(repo: MemoryRepository, entry: str = ENTRY) -> None:
    """Ask for the entry `a`, next to another one."""
    repo.want({"a": entry, "b": 1})


async def quarantine(repo: MemoryRepository, entry: str = ENTRY) -> None:
    """Have the store refuse the entry `a`, and from then on take whatever comes."""
    repo.server.fail_entry("a", WriteStatus.REJECTED, "not this one")
    want(repo, entry)
    assert outcomes(await repo.apply())["a"] == "failed"
    repo.server.heal()
    assert [name for *_, name in refused(await repo.plan())] == ["a"]


async def contend(repo: MemoryRepository, entry: str = ENTRY) -> None:
    """Have another writer delete the entry `a` until kvsync heals it no more."""
    await repo.settle({"a": entry, "b": 1})
    for _ in range(5):
        repo.server.delete("web", "a")
        if refused(await repo.plan()) == [("create", "missing", "a")]:
            return
        assert is_clean(await repo.apply())
        repo.clock.advance(KINDS[repo.kind].capabilities.settle)
    raise AssertionError("it is not contended")


def deferred(repo: MemoryRepository) -> int:
    """How many entries the state directory counts as deferred."""
    with StateDir.open(repo.root / ".kvsync", writable=False, clock=repo.clock) as state:
        now = repo.clock.now()
        return sum([*state.quarantine.counts(now).values(), *state.contended.counts(now).values()])


def retry(repo: MemoryRepository, *keys: str, target: str = "main/web") -> list[tuple[Target, Identity]]:
    """`kvsync resume TARGET --key GLOB`."""
    with StateDir.open(repo.root / ".kvsync", writable=True, clock=repo.clock) as state:
        return control.retry(state, ("main",), target, keys, repo.clock.now(), "test")


# -- any change of the entry in the files -----------------------------------------------------------------------------


@pytest.mark.parametrize("part", PARTS)
async def test_a_refused_entry_is_tried_at_once_when_any_part_of_it_changes(repo: MemoryRepository, part: str) -> None:
    """What the store refused is no longer asked for: it is not deferred, nor counted as deferred afterwards."""
    await quarantine(repo)
    want(repo, PARTS[part])
    assert outcomes(await repo.apply()) == {"a": "applied"}
    assert deferred(repo) == 0


@pytest.mark.parametrize("part", EVERYWHERE)
@pytest.mark.parametrize("kind", sorted(KINDS))
async def test_so_on_every_kind_of_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, part: str) -> None:
    """A refused entry is tried at once when it changes, whatever the store can do."""
    repo = MemoryRepository(tmp_path, monkeypatch, kind)
    await quarantine(repo)
    want(repo, PARTS[part])
    assert outcomes(await repo.apply()) == {"a": "applied"}


async def test_a_refused_entry_waits_while_other_things_change(repo: MemoryRepository) -> None:
    """Another entry, another place in the file and another day change nothing of what was refused."""
    await quarantine(repo)
    repo.want(f"  # moved down\n\n  c: 1\n  a: {ENTRY}\n  b: 2\n")
    repo.clock.advance(30)
    assert outcomes(await repo.apply()) == {"a": "refused", "b": "applied", "c": "applied"}
    assert deferred(repo) == 1


async def test_a_refused_entry_that_leaves_the_files_waits_no_more(repo: MemoryRepository) -> None:
    """Nothing is counted as deferred once no file asks for it; asked for again, it is tried at once."""
    await quarantine(repo)
    repo.want({"b": 1})
    await repo.apply()
    assert deferred(repo) == 0
    want(repo)
    assert outcomes(await repo.apply()) == {"a": "applied"}


@pytest.mark.parametrize("part", PARTS)
async def test_a_contended_entry_is_written_at_once_when_any_part_of_it_changes(
    repo: MemoryRepository, part: str
) -> None:
    """The count is of one desired entry. Another one is applied whatever class it has, and its heals are counted from one."""
    await contend(repo)
    want(repo, PARTS[part])
    assert outcomes(await repo.apply()) == {"a": "applied"}
    for _ in range(2):
        repo.server.delete("web", "a")
        assert refused(await repo.plan()) == []
        await repo.apply()


@pytest.mark.parametrize("part", EVERYWHERE)
@pytest.mark.parametrize("kind", sorted(KINDS))
async def test_contended_so_on_every_kind_of_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, part: str
) -> None:
    """A contended entry is written at once when it changes, whatever the store can do."""
    repo = MemoryRepository(tmp_path, monkeypatch, kind)
    await contend(repo)
    want(repo, PARTS[part])
    assert outcomes(await repo.apply()) == {"a": "applied"}


async def test_a_contended_entry_is_deleted_at_once_when_it_leaves_the_files(repo: MemoryRepository) -> None:
    """Another writer changed it, and no file asks for it any more: the wait was for healing it, not for this."""
    await repo.settle({"a": 1, "b": 1, "c": 1})
    for _ in range(3):
        repo.edit("a", "theirs")
        await repo.apply()
    repo.edit("a", "theirs")
    repo.want({"b": 1, "c": 1})
    report = await repo.apply()
    assert rows(report.plan.targets[0]) == [("delete", "conflict", "a")]
    assert is_clean(report)
    assert deferred(repo) == 0


async def test_a_contention_that_is_over_is_not_counted(repo: MemoryRepository) -> None:
    """The files change an entry that was healed the last time before: nothing is deferred, and no pass is due for it."""
    await repo.settle({"a": 1, "b": 1})
    for _ in range(3):
        repo.edit("a", "theirs")
        await repo.apply()
    assert deferred(repo) == 1
    assert (await repo.plan()).next_moment is not None
    repo.want({"a": 2, "b": 1})
    assert (await repo.plan()).next_moment is None
    assert is_clean(await repo.apply())
    assert deferred(repo) == 0


async def test_a_renewal_does_not_end_a_contention(repo: MemoryRepository) -> None:
    """What kvsync renews is the same desired entry: its heals are still counted."""
    entry = "{value: v, ttl: 10m}"
    await repo.settle({"a": entry, "b": 1})
    for _ in range(2):
        repo.server.delete("web", "a")
        assert is_clean(await repo.apply())
    repo.clock.advance(500)
    assert rows((await repo.apply()).plan.targets[0]) == [("renew", "expiring", "a")]
    repo.server.delete("web", "a")
    assert is_clean(await repo.apply())
    repo.server.delete("web", "a")
    assert refused(await repo.plan()) == [("create", "missing", "a")]


# -- what it would overwrite ------------------------------------------------------------------------------------------


async def test_a_refused_update_is_tried_again_when_the_store_changes(repo: MemoryRepository) -> None:
    """The write would overwrite another version now, or nothing at all: it is another write."""
    await repo.settle({"a": 1, "b": 1})
    await quarantine(repo)
    repo.edit("a", "by hand")
    assert rows(await repo.plan()) == [("update", "conflict", "a")]
    repo.server.delete("web", "a")
    assert rows(await repo.plan()) == [("create", "conflict", "a")]
    assert outcomes(await repo.apply()) == {"a": "applied"}


async def test_a_refused_create_is_tried_again_when_the_entry_appears(repo: MemoryRepository) -> None:
    """What was to be created is to be overwritten now."""
    repo.configure("{adopt: always}")
    await quarantine(repo)
    repo.server.write("web", "a", b"theirs")
    assert outcomes(await repo.apply()) == {"a": "applied"}


@pytest.mark.parametrize("kind", sorted(kind for kind, one in KINDS.items() if not one.capabilities.compare_and_set))
async def test_without_versions_the_content_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Where the store has no versions a refused update waits as long as it would overwrite the same content."""
    repo = MemoryRepository(tmp_path, monkeypatch, kind)
    await repo.settle({"a": 1, "b": 1})
    await quarantine(repo)
    assert [name for *_, name in refused(await repo.plan(PassOptions(deep=True)))] == ["a"]
    repo.server.delete("web", "a")
    assert [name for *_, name in rows(await repo.plan(PassOptions(deep=True)))] == ["a"]


async def test_a_version_that_moved_during_the_write_is_the_one_that_was_refused(repo: MemoryRepository) -> None:
    """Another writer was faster than the refused write: the next plan would overwrite the same version, and waits."""
    await repo.settle({"a": 1, "b": 1})
    repo.server.before_change(lambda: repo.edit("a", "1"))
    repo.server.before_change(lambda: repo.server.fail_entry("a", WriteStatus.REJECTED))
    want(repo)
    assert outcomes(await repo.apply()) == {"a": "failed"}
    assert [name for *_, name in refused(await repo.plan())] == ["a"]


async def test_a_refused_delete_waits_as_well(repo: MemoryRepository) -> None:
    """The store does not let an entry go: kvsync waits, and tries again when the entry was changed."""
    await repo.settle({"a": 1, "b": 1})
    repo.server.fail_entry("a", WriteStatus.REJECTED, "not this one")
    repo.want({"b": 1})
    assert outcomes(await repo.apply()) == {"a": "failed"}
    assert refused(await repo.plan()) == [("delete", "removed", "a")]
    repo.server.heal()
    repo.edit("a", "by hand")
    assert outcomes(await repo.apply()) == {"a": "applied"}


# -- by hand ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hold", [quarantine, contend])
async def test_retry_tries_deferred_entries(repo: MemoryRepository, hold: object) -> None:
    """`apply --retry` writes quarantined and contended entries at once."""
    await hold(repo)  # type: ignore[operator]
    report = await repo.apply(PassOptions(retry=True))
    assert outcomes(report) == {"a": "applied"}


async def test_a_retry_that_is_refused_again_doubles_the_wait(repo: MemoryRepository) -> None:
    """A person who tries does not make kvsync forget how often the store refused."""
    await quarantine(repo)
    first = (await repo.plan()).next_moment
    repo.server.fail_entry("a", WriteStatus.REJECTED)
    assert outcomes(await repo.apply(PassOptions(retry=True))) == {"a": "failed"}
    second = (await repo.plan()).next_moment
    assert first is not None
    assert second is not None
    assert second - repo.clock.now() == 2 * (first - repo.clock.now())


@pytest.mark.parametrize("hold", [quarantine, contend])
async def test_the_plan_says_how_to_retry(repo: MemoryRepository, hold: object) -> None:
    """The command in the reason, given as it is, makes the next pass try."""
    await hold(repo)  # type: ignore[operator]
    (refusal,) = (await repo.plan()).refused
    assert "to retry now: kvsync resume main/web --key a)" in refusal.reason
    assert refusal.deferred is not None
    assert retry(repo, "a") == [(WEB, Identity("a"))]
    assert deferred(repo) == 0
    assert outcomes(await repo.apply()) == {"a": "applied"}


async def test_the_command_fits_odd_keys(repo: MemoryRepository) -> None:
    """Globs in a key are escaped and the shell's characters quoted, so that the command means this key alone."""
    repo.server.fail_entry("a b[1]*", WriteStatus.REJECTED)
    repo.want('  "a b[1]*": 1\n  b: 1\n')
    await repo.apply()
    (refusal,) = (await repo.plan()).refused
    assert "kvsync resume main/web --key 'a b[[]1][*]')" in refusal.reason
    assert retry(repo, "a b[[]1][*]") == [(WEB, Identity("a b[1]*"))]


async def test_the_command_fits_odd_namespaces(repo: MemoryRepository) -> None:
    """The name of a target is quoted for the shell too."""
    repo.server.fail_entry("a", WriteStatus.REJECTED)
    repo.state("store: main\nnamespace: my web\nkeys: {a: 1, b: 1}\n")
    await repo.apply()
    (refusal,) = (await repo.plan()).refused
    assert "kvsync resume 'main/my web' --key a)" in refusal.reason


async def test_entries_with_labels_are_deferred_one_by_one(repo: MemoryRepository) -> None:
    """A label is an entry of its own: its change releases it alone, and a key releases all its labels by hand."""
    repo.server.fail_entry("a", WriteStatus.REJECTED)
    repo.want("  a: {value: 1, labels: {prod: 1}}\n  b: 1\n")
    assert outcomes(await repo.apply()) == {"a": "failed", "a [prod]": "failed", "b": "applied"}
    repo.server.heal()
    repo.want("  a: {value: 1, labels: {prod: 2}}\n  b: 1\n")
    assert outcomes(await repo.apply()) == {"a": "refused", "a [prod]": "applied"}
    repo.server.fail_entry("a", WriteStatus.REJECTED)
    repo.want("  a: {value: 1, labels: {prod: 3}}\n  b: 1\n")
    await repo.apply()
    assert retry(repo, "a") == [(WEB, Identity("a")), (WEB, Identity("a", "prod"))]


async def test_only_what_is_named_is_retried(repo: MemoryRepository) -> None:
    """Other keys, other targets and other stores go on waiting; a store that does not exist is an error."""
    repo.server.refuse_batches_with("a", "b")
    repo.want({"a": 1, "b": 1})
    await repo.apply()
    assert retry(repo, "x*") == []
    assert retry(repo, "*", target="main/api") == []
    assert deferred(repo) == 2
    assert retry(repo, "a", target="main") == [(WEB, Identity("a"))]
    with StateDir.open(repo.root / ".kvsync", writable=True, clock=repo.clock) as state:
        gone = state.places.enter(located(Target("gone", "web")), repo.clock.now()).key
        state.quarantine.put(gone, Identity("b"), b"", "413", repo.clock.now())
    assert retry(repo, "b", target="main") == [(WEB, Identity("b"))]
    assert deferred(repo) == 1
    with pytest.raises(UsageError, match="unknown target 'other'"):
        retry(repo, "*", target="other")


@pytest.mark.parametrize("begin", [quarantine, contend])
async def test_a_clock_that_is_set_back_does_not_lengthen_a_wait(
    repo: MemoryRepository, begin: Callable[[MemoryRepository], Awaitable[None]]
) -> None:
    """A wait that was noted by a clock which is set back by hours meanwhile does not last for as many hours."""
    await begin(repo)
    repo.clock.advance(-7 * 3600)
    assert refused(await repo.plan()) == []
    assert deferred(repo) == 0
