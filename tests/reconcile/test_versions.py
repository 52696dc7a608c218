"""Listings that know less than a read: what is believed by its version, and what is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvsync.model.entry import Content
from kvsync.model.pass_options import PassOptions
from kvsync.rendering import saved_plan as saved
from kvsync.stores.memory.backend import RemoteKey
from tests.support.machines import WEB, calls
from tests.support.world import World, is_clean, outcomes, rows

KEYS = {
    "plain": "Hello",
    "mortal": "{value: x, ttl: 7d}",
    "secret": "{value: hunter2, sensitive: true}",
    "guarded": "{value: y, protected: true}",
    "seed": "{value: z, mode: create-only}",
    "data": "{json: {b: 1, a: 2}}",
}


@pytest.fixture(params=["memory-bucket", "memory-shared-bucket"])
def world(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch, request.param)


@pytest.mark.parametrize("deep", [False, True])
async def test_unchanged_entries_are_not_read(world: World, deep: bool) -> None:
    """One listing is all it takes, whatever the entries are: with a TTL, sensitive, protected. A deep pass reads what is
    sensitive, for of that no digest is kept."""
    await world.settle(KEYS)
    world.server.calls.clear()
    plan = await world.plan(PassOptions(deep=deep), writing="test")
    assert (rows(plan), plan.unchanged) == ([], len(KEYS))
    assert [call.keys for call in world.server.calls] == [(), ("secret",)][: 1 + deep]


async def test_no_digest_of_a_secret_is_shown_or_kept(world: World) -> None:
    """Where etags are made of the content, that of a sensitive entry is in no plan, outcome, journal or ledger: only its size,
    which listings show, is in the ledgers."""
    await world.settle(KEYS)
    world.want(KEYS | {"secret": "{value: correct horse, sensitive: true}"})
    report = await world.apply()
    (change,) = report.plan.targets[0].changes
    assert change.before is not None
    assert (change.before.etag, report.targets[0].outcomes[0].etag) == (None, None)
    async with world.open(writing=None) as workspace:
        (known,) = workspace.state.ledger.get((await workspace.locate(WEB)).key, [change.identity]).values()
        (record,) = workspace.state.journal.changes(report.run or "")
    assert known.etag == "13"
    assert record.before is not None
    assert (record.etag, record.before.etag) == (None, None)


async def test_an_edit_of_another_size_is_read(world: World) -> None:
    """What the listing shows to be another version is read, and nothing else is."""
    await world.settle(KEYS)
    world.edit("secret", "longer than before")
    world.server.calls.clear()
    assert rows(await world.plan()) == [("update", "drifted", "secret")]
    assert [call.keys for call in world.server.calls if call.method == "lookup"] == [("secret",)]


async def test_an_edit_of_the_same_size_is_found_by_a_deep_pass(world: World) -> None:
    """A listing of sizes cannot show it; a deep pass does, and reads that entry alone."""
    await world.settle(KEYS)
    world.edit("plain", "HELLO")
    assert rows(await world.plan()) == []
    world.server.calls.clear()
    assert rows(await world.plan(PassOptions(deep=True))) == [("update", "drifted", "plain")]
    assert calls(world) == {"listing": 1, "lookup": 1}
    assert is_clean(await world.apply(PassOptions(deep=True)))
    assert world.held("plain") == "Hello"


async def test_json_written_anew_is_read_once(world: World) -> None:
    """Another writer's spelling of the same data is no difference, and known from then on."""
    await world.settle(KEYS)
    held = world.server.held["web"][RemoteKey("data")]
    world.server.write("web", "data", Content(b'{ "a": 2, "b": 1 }', *held.content[1:]))
    for reads in (1, 0, 0):
        world.server.calls.clear()
        assert outcomes(await world.apply()) == {}
        assert calls(world).get("lookup", 0) == reads
        assert world.writes() == 0
    assert world.held("data") == '{ "a": 2, "b": 1 }'


async def test_a_seed_that_others_changed_is_not_read(world: World) -> None:
    """What kvsync only creates need not be looked at once it is there."""
    await world.settle(KEYS)
    world.edit("seed", "changed by its user")
    world.server.calls.clear()
    assert rows(await world.plan()) == []
    assert calls(world) == {"listing": 1}


async def test_a_saved_plan_is_not_stale_for_a_listings_weakness(world: World) -> None:
    """Whether an entry was believed, read, or listed deep, its version in a plan is the same one."""
    await world.settle(KEYS | {"gone": 1})
    world.want(KEYS | {"plain": "Hullo", "mortal": "{value: other, ttl: 7d}"})
    async with world.open(writing=None) as workspace:
        kept = saved.load(saved.save(await workspace.plan(), workspace.state.seal, None))
    for deep in (False, True):
        async with world.open(writing=None) as workspace:
            fresh = await world.plan_all(PassOptions(deep=deep))
            place = lambda target: workspace.stores[target.store].place(target.namespace)  # noqa: E731
            (selection,) = saved.select(kept, fresh, workspace.state.seal, place).values()
        assert selection.stale == ()
        assert [change.identity.key for change in selection.changes] == ["gone", "mortal", "plain"]


async def test_an_edit_of_the_same_size_between_plan_and_write_is_respected(world: World) -> None:
    """What was believed is read again before it is written: an edit that only a reading shows stops the write."""
    await world.settle(KEYS)
    world.want(KEYS | {"plain": "Hullo"})
    world.configure("{drift: report}")
    async with world.open() as workspace:
        plan = await workspace.plan()
        world.edit("plain", "HELLO")
        report = await workspace.apply(plan, command="test")
    assert outcomes(report) == {"plain": "conflict"}
    assert world.held("plain") == "HELLO"


async def test_a_renewal_that_only_kvsync_knows_of_is_not_written(world: World) -> None:
    """Where kvsync keeps lifetimes itself, a renewal is a line in the ledger."""
    await world.settle(KEYS)
    world.clock.advance(5 * 86_400)
    world.server.calls.clear()
    report = await world.apply()
    assert rows(report.plan.targets[0]) == [("renew", "expiring", "mortal")]
    assert is_clean(report)
    assert world.writes() == 0
    assert report.plan.targets[0].cost.requests == sum(calls(world).values()) - 1
    assert rows(await world.plan()) == []
    world.clock.advance(3 * 86_400)
    assert world.held("mortal") == "x"
    assert rows(await world.plan()) == []
