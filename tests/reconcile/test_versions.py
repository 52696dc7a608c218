"""Listings that know less than a read: what is believed by its version, and what is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvsync.model.entry import Content
from kvsync.model.pass_options import PassOptions
from kvsync.rendering import saved_plan as saved
from kvsync.rendering.plan_selection import select
from kvsync.stores.memory.backend import RemoteKey
from tests.support.machines import WEB, calls
from tests.support.memory_repository import MemoryRepository, is_clean, outcomes, rows

KEYS = {
    "plain": "Hello",
    "mortal": "{value: x, ttl: 7d}",
    "secret": "{value: hunter2, sensitive: true}",
    "guarded": "{value: y, protected: true}",
    "seed": "{value: z, mode: create-only}",
    "data": "{json: {b: 1, a: 2}}",
}


@pytest.fixture(params=["memory-bucket", "memory-shared-bucket"])
def repo(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MemoryRepository:
    return MemoryRepository(tmp_path, monkeypatch, request.param)


@pytest.mark.parametrize("deep", [False, True])
async def test_unchanged_entries_are_not_read(repo: MemoryRepository, deep: bool) -> None:
    """One listing is all it takes, whatever the entries are: with a TTL, sensitive, protected. A deep pass reads what is
    sensitive, for of that no digest is kept."""
    await repo.settle(KEYS)
    repo.server.calls.clear()
    plan = await repo.plan(PassOptions(deep=deep), writing="test")
    assert (rows(plan), plan.unchanged) == ([], len(KEYS))
    assert [call.keys for call in repo.server.calls] == [(), ("secret",)][: 1 + deep]


async def test_no_digest_of_a_secret_is_shown_or_kept(repo: MemoryRepository) -> None:
    """Where etags are made of the content, that of a sensitive entry is in no plan, outcome, journal or ledger: only its size,
    which listings show, is in the ledgers."""
    await repo.settle(KEYS)
    repo.want(KEYS | {"secret": "{value: correct horse, sensitive: true}"})
    report = await repo.apply()
    (change,) = report.plan.targets[0].changes
    assert change.before is not None
    assert (change.before.etag, report.targets[0].outcomes[0].etag) == (None, None)
    async with repo.open(writing=None) as workspace:
        (known,) = workspace.state.ledger.get((await workspace.locate(WEB)).key, [change.identity]).values()
        (record,) = workspace.state.journal.changes(report.run or "")
    assert known.etag == "13"
    assert record.before is not None
    assert (record.etag, record.before.etag) == (None, None)


async def test_an_edit_of_another_size_is_read(repo: MemoryRepository) -> None:
    """What the listing shows to be another version is read, and nothing else is."""
    await repo.settle(KEYS)
    repo.edit("secret", "longer than before")
    repo.server.calls.clear()
    assert rows(await repo.plan()) == [("update", "drifted", "secret")]
    assert [call.keys for call in repo.server.calls if call.method == "lookup"] == [("secret",)]


async def test_an_edit_of_the_same_size_is_found_by_a_deep_pass(repo: MemoryRepository) -> None:
    """A listing of sizes cannot show it; a deep pass does, and reads that entry alone."""
    await repo.settle(KEYS)
    repo.edit("plain", "HELLO")
    assert rows(await repo.plan()) == []
    repo.server.calls.clear()
    assert rows(await repo.plan(PassOptions(deep=True))) == [("update", "drifted", "plain")]
    assert calls(repo) == {"listing": 1, "lookup": 1}
    assert is_clean(await repo.apply(PassOptions(deep=True)))
    assert repo.held("plain") == "Hello"


async def test_json_written_again_is_read_once(repo: MemoryRepository) -> None:
    """Another writer's spelling of the same data makes no difference, and is known from then on."""
    await repo.settle(KEYS)
    held = repo.server.held["web"][RemoteKey("data")]
    repo.server.write("web", "data", Content(b'{ "a": 2, "b": 1 }', *held.content[1:]))
    for reads in (1, 0, 0):
        repo.server.calls.clear()
        assert outcomes(await repo.apply()) == {}
        assert calls(repo).get("lookup", 0) == reads
        assert repo.writes() == 0
    assert repo.held("data") == '{ "a": 2, "b": 1 }'


async def test_a_seed_that_others_changed_is_not_read(repo: MemoryRepository) -> None:
    """What kvsync only creates need not be looked at once it is there."""
    await repo.settle(KEYS)
    repo.edit("seed", "changed by its user")
    repo.server.calls.clear()
    assert rows(await repo.plan()) == []
    assert calls(repo) == {"listing": 1}


async def test_a_saved_plan_is_not_stale_for_a_listings_weakness(repo: MemoryRepository) -> None:
    """Whether an entry was believed, read, or listed deep, its version in a plan is the same one."""
    await repo.settle(KEYS | {"gone": 1})
    repo.want(KEYS | {"plain": "Hullo", "mortal": "{value: other, ttl: 7d}"})
    async with repo.open(writing=None) as workspace:
        kept = saved.load(saved.save(await workspace.plan(), workspace.state.seal, None))
    for deep in (False, True):
        async with repo.open(writing=None) as workspace:
            fresh = await repo.plan_all(PassOptions(deep=deep))
            place = lambda target: workspace.stores[target.store].place(target.namespace)  # noqa: E731
            (selection,) = select(kept, fresh, workspace.state.seal, place).values()
        assert selection.stale == ()
        assert [change.identity.key for change in selection.changes] == ["gone", "mortal", "plain"]


async def test_an_edit_of_the_same_size_between_plan_and_write_is_respected(repo: MemoryRepository) -> None:
    """What was believed is read again before it is written: an edit that only a reading shows stops the write."""
    await repo.settle(KEYS)
    repo.want(KEYS | {"plain": "Hullo"})
    repo.configure("{drift: report}")
    async with repo.open() as workspace:
        plan = await workspace.plan()
        repo.edit("plain", "HELLO")
        report = await workspace.apply(plan, command="test")
    assert outcomes(report) == {"plain": "conflict"}
    assert repo.held("plain") == "HELLO"


async def test_a_renewal_that_only_kvsync_knows_of_is_not_written(repo: MemoryRepository) -> None:
    """Where kvsync keeps lifetimes itself, a renewal is a line in the ledger."""
    await repo.settle(KEYS)
    repo.clock.advance(5 * 86_400)
    repo.server.calls.clear()
    report = await repo.apply()
    assert rows(report.plan.targets[0]) == [("renew", "expiring", "mortal")]
    assert is_clean(report)
    assert repo.writes() == 0
    assert report.plan.targets[0].cost.requests == sum(calls(repo).values()) - 1
    assert rows(await repo.plan()) == []
    repo.clock.advance(3 * 86_400)
    assert repo.held("mortal") == "x"
    assert rows(await repo.plan()) == []
