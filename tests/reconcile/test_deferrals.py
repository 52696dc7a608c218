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
from tests.support.places import located
from tests.support.stores import KINDS
from tests.support.world import World, is_clean, outcomes, refused, rows

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
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


def want(world: World, entry: str = ENTRY) -> None:
    """Ask for the entry `a`, next to another one."""
    world.want({"a": entry, "b": 1})


async def quarantine(world: World, entry: str = ENTRY) -> None:
    """Have the store refuse the entry `a`, and from then on take whatever comes."""
    world.server.fail_entry("a", WriteStatus.REJECTED, "not this one")
    want(world, entry)
    assert outcomes(await world.apply())["a"] == "failed"
    world.server.heal()
    assert [name for *_, name in refused(await world.plan())] == ["a"]


async def contend(world: World, entry: str = ENTRY) -> None:
    """Have another writer delete the entry `a` until kvsync heals it no more."""
    await world.settle({"a": entry, "b": 1})
    for _ in range(5):
        world.server.delete("web", "a")
        if refused(await world.plan()) == [("create", "missing", "a")]:
            return
        assert is_clean(await world.apply())
        world.clock.advance(KINDS[world.kind].capabilities.settle)
    raise AssertionError("it is not contended")


def deferred(world: World) -> int:
    """How many entries the state directory counts as deferred."""
    with StateDir.open(world.root / ".kvsync", writable=False) as state:
        now = world.clock.now()
        return sum([*state.quarantine.counts(now).values(), *state.contended.counts(now).values()])


def retry(world: World, *keys: str, target: str = "main/web") -> list[tuple[Target, Identity]]:
    """`kvsync resume TARGET --key GLOB`."""
    with StateDir.open(world.root / ".kvsync", writable=True) as state:
        return control.retry(state, ("main",), target, keys, world.clock.now(), "test")


# -- any change of the entry in the files -----------------------------------------------------------------------------


@pytest.mark.parametrize("part", PARTS)
async def test_a_refused_entry_is_tried_at_once_when_any_part_of_it_changes(world: World, part: str) -> None:
    """What the store refused is no longer asked for: it is not deferred, nor counted as deferred afterwards."""
    await quarantine(world)
    want(world, PARTS[part])
    assert outcomes(await world.apply()) == {"a": "applied"}
    assert deferred(world) == 0


@pytest.mark.parametrize("part", EVERYWHERE)
@pytest.mark.parametrize("kind", sorted(KINDS))
async def test_so_on_every_kind_of_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, part: str) -> None:
    """A refused entry is tried at once when it changes, whatever the store can do."""
    world = World(tmp_path, monkeypatch, kind)
    await quarantine(world)
    want(world, PARTS[part])
    assert outcomes(await world.apply()) == {"a": "applied"}


async def test_a_refused_entry_waits_while_other_things_change(world: World) -> None:
    """Another entry, another place in the file and another day change nothing of what was refused."""
    await quarantine(world)
    world.want(f"  # moved down\n\n  c: 1\n  a: {ENTRY}\n  b: 2\n")
    world.clock.advance(30)
    assert outcomes(await world.apply()) == {"a": "refused", "b": "applied", "c": "applied"}
    assert deferred(world) == 1


async def test_a_refused_entry_that_leaves_the_files_waits_no_more(world: World) -> None:
    """Nothing is counted as deferred once no file asks for it; asked for again, it is tried at once."""
    await quarantine(world)
    world.want({"b": 1})
    await world.apply()
    assert deferred(world) == 0
    want(world)
    assert outcomes(await world.apply()) == {"a": "applied"}


@pytest.mark.parametrize("part", PARTS)
async def test_a_contended_entry_is_written_at_once_when_any_part_of_it_changes(world: World, part: str) -> None:
    """The count is of one desired entry. Another one is applied whatever class it has, and its heals are counted from one."""
    await contend(world)
    want(world, PARTS[part])
    assert outcomes(await world.apply()) == {"a": "applied"}
    for _ in range(2):
        world.server.delete("web", "a")
        assert refused(await world.plan()) == []
        await world.apply()


@pytest.mark.parametrize("part", EVERYWHERE)
@pytest.mark.parametrize("kind", sorted(KINDS))
async def test_contended_so_on_every_kind_of_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, part: str
) -> None:
    """A contended entry is written at once when it changes, whatever the store can do."""
    world = World(tmp_path, monkeypatch, kind)
    await contend(world)
    want(world, PARTS[part])
    assert outcomes(await world.apply()) == {"a": "applied"}


async def test_a_contended_entry_is_deleted_at_once_when_it_leaves_the_files(world: World) -> None:
    """Another writer changed it, and no file asks for it any more: the wait was for healing it, not for this."""
    await world.settle({"a": 1, "b": 1, "c": 1})
    for _ in range(3):
        world.edit("a", "theirs")
        await world.apply()
    world.edit("a", "theirs")
    world.want({"b": 1, "c": 1})
    report = await world.apply()
    assert rows(report.plan.targets[0]) == [("delete", "conflict", "a")]
    assert is_clean(report)
    assert deferred(world) == 0


async def test_a_contention_that_is_over_is_not_counted(world: World) -> None:
    """The files change an entry that was healed the last time before: nothing is deferred, and no pass is due for it."""
    await world.settle({"a": 1, "b": 1})
    for _ in range(3):
        world.edit("a", "theirs")
        await world.apply()
    assert deferred(world) == 1
    assert (await world.plan()).next_moment is not None
    world.want({"a": 2, "b": 1})
    assert (await world.plan()).next_moment is None
    assert is_clean(await world.apply())
    assert deferred(world) == 0


async def test_a_renewal_does_not_end_a_contention(world: World) -> None:
    """What kvsync renews is the same desired entry: its heals are still counted."""
    entry = "{value: v, ttl: 10m}"
    await world.settle({"a": entry, "b": 1})
    for _ in range(2):
        world.server.delete("web", "a")
        assert is_clean(await world.apply())
    world.clock.advance(500)
    assert rows((await world.apply()).plan.targets[0]) == [("renew", "expiring", "a")]
    world.server.delete("web", "a")
    assert is_clean(await world.apply())
    world.server.delete("web", "a")
    assert refused(await world.plan()) == [("create", "missing", "a")]


# -- what it would overwrite ------------------------------------------------------------------------------------------


async def test_a_refused_update_is_tried_again_when_the_store_changes(world: World) -> None:
    """The write would overwrite another version now, or nothing at all: it is another write."""
    await world.settle({"a": 1, "b": 1})
    await quarantine(world)
    world.edit("a", "by hand")
    assert rows(await world.plan()) == [("update", "conflict", "a")]
    world.server.delete("web", "a")
    assert rows(await world.plan()) == [("create", "conflict", "a")]
    assert outcomes(await world.apply()) == {"a": "applied"}


async def test_a_refused_create_is_tried_again_when_the_entry_appears(world: World) -> None:
    """What was to be created is to be overwritten now."""
    world.configure("{adopt: always}")
    await quarantine(world)
    world.server.write("web", "a", b"theirs")
    assert outcomes(await world.apply()) == {"a": "applied"}


@pytest.mark.parametrize("kind", sorted(kind for kind, one in KINDS.items() if not one.capabilities.compare_and_set))
async def test_without_versions_the_content_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Where the store has no versions a refused update waits as long as it would overwrite the same content."""
    world = World(tmp_path, monkeypatch, kind)
    await world.settle({"a": 1, "b": 1})
    await quarantine(world)
    assert [name for *_, name in refused(await world.plan(PassOptions(deep=True)))] == ["a"]
    world.server.delete("web", "a")
    assert [name for *_, name in rows(await world.plan(PassOptions(deep=True)))] == ["a"]


async def test_a_version_that_moved_during_the_write_is_the_one_that_was_refused(world: World) -> None:
    """Another writer was faster than the refused write: the next plan would overwrite the same version, and waits."""
    await world.settle({"a": 1, "b": 1})
    world.server.before_change(lambda: world.edit("a", "1"))
    world.server.before_change(lambda: world.server.fail_entry("a", WriteStatus.REJECTED))
    want(world)
    assert outcomes(await world.apply()) == {"a": "failed"}
    assert [name for *_, name in refused(await world.plan())] == ["a"]


async def test_a_refused_delete_waits_as_well(world: World) -> None:
    """The store does not let an entry go: kvsync waits, and tries again when the entry was changed."""
    await world.settle({"a": 1, "b": 1})
    world.server.fail_entry("a", WriteStatus.REJECTED, "not this one")
    world.want({"b": 1})
    assert outcomes(await world.apply()) == {"a": "failed"}
    assert refused(await world.plan()) == [("delete", "removed", "a")]
    world.server.heal()
    world.edit("a", "by hand")
    assert outcomes(await world.apply()) == {"a": "applied"}


# -- by hand ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hold", [quarantine, contend])
async def test_retry_tries_deferred_entries(world: World, hold: object) -> None:
    """`apply --retry` writes quarantined and contended entries at once."""
    await hold(world)  # type: ignore[operator]
    report = await world.apply(PassOptions(retry=True))
    assert outcomes(report) == {"a": "applied"}


async def test_a_retry_that_is_refused_again_doubles_the_wait(world: World) -> None:
    """A person who tries does not make kvsync forget how often the store refused."""
    await quarantine(world)
    first = (await world.plan()).next_moment
    world.server.fail_entry("a", WriteStatus.REJECTED)
    assert outcomes(await world.apply(PassOptions(retry=True))) == {"a": "failed"}
    second = (await world.plan()).next_moment
    assert first is not None
    assert second is not None
    assert second - world.clock.now() == 2 * (first - world.clock.now())


@pytest.mark.parametrize("hold", [quarantine, contend])
async def test_the_plan_says_how_to_retry(world: World, hold: object) -> None:
    """The command in the reason, given as it is, makes the next pass try."""
    await hold(world)  # type: ignore[operator]
    (refusal,) = (await world.plan()).refused
    assert "to retry now: kvsync resume main/web --key a)" in refusal.reason
    assert refusal.deferred is not None
    assert retry(world, "a") == [(WEB, Identity("a"))]
    assert deferred(world) == 0
    assert outcomes(await world.apply()) == {"a": "applied"}


async def test_the_command_fits_odd_keys(world: World) -> None:
    """Globs in a key are escaped and the shell's characters quoted, so that the command means this key alone."""
    world.server.fail_entry("a b[1]*", WriteStatus.REJECTED)
    world.want('  "a b[1]*": 1\n  b: 1\n')
    await world.apply()
    (refusal,) = (await world.plan()).refused
    assert "kvsync resume main/web --key 'a b[[]1][*]')" in refusal.reason
    assert retry(world, "a b[[]1][*]") == [(WEB, Identity("a b[1]*"))]


async def test_the_command_fits_odd_namespaces(world: World) -> None:
    """The name of a target is quoted for the shell too."""
    world.server.fail_entry("a", WriteStatus.REJECTED)
    world.state("store: main\nnamespace: my web\nkeys: {a: 1, b: 1}\n")
    await world.apply()
    (refusal,) = (await world.plan()).refused
    assert "kvsync resume 'main/my web' --key a)" in refusal.reason


async def test_entries_with_labels_are_deferred_one_by_one(world: World) -> None:
    """A label is an entry of its own: its change releases it alone, and a key releases all its labels by hand."""
    world.server.fail_entry("a", WriteStatus.REJECTED)
    world.want("  a: {value: 1, labels: {prod: 1}}\n  b: 1\n")
    assert outcomes(await world.apply()) == {"a": "failed", "a [prod]": "failed", "b": "applied"}
    world.server.heal()
    world.want("  a: {value: 1, labels: {prod: 2}}\n  b: 1\n")
    assert outcomes(await world.apply()) == {"a": "refused", "a [prod]": "applied"}
    world.server.fail_entry("a", WriteStatus.REJECTED)
    world.want("  a: {value: 1, labels: {prod: 3}}\n  b: 1\n")
    await world.apply()
    assert retry(world, "a") == [(WEB, Identity("a")), (WEB, Identity("a", "prod"))]


async def test_only_what_is_named_is_retried(world: World) -> None:
    """Other keys, other targets and other stores go on waiting; a store that does not exist is an error."""
    world.server.refuse_batches_with("a", "b")
    world.want({"a": 1, "b": 1})
    await world.apply()
    assert retry(world, "x*") == []
    assert retry(world, "*", target="main/api") == []
    assert deferred(world) == 2
    assert retry(world, "a", target="main") == [(WEB, Identity("a"))]
    with StateDir.open(world.root / ".kvsync", writable=True) as state:
        gone = state.places.enter(located(Target("gone", "web")), world.clock.now())
        state.quarantine.put(gone, Identity("b"), b"", "413", world.clock.now())
    assert retry(world, "b", target="main") == [(WEB, Identity("b"))]
    assert deferred(world) == 1
    with pytest.raises(UsageError, match="unknown target 'other'"):
        retry(world, "*", target="other")


@pytest.mark.parametrize("begin", [quarantine, contend])
async def test_a_clock_that_is_set_back_does_not_lengthen_a_wait(
    world: World, begin: Callable[[World], Awaitable[None]]
) -> None:
    """A wait that was noted by a clock which is set back by hours meanwhile does not last for as many hours."""
    await begin(world)
    world.clock.advance(-7 * 3600)
    assert refused(await world.plan()) == []
    assert deferred(world) == 0
