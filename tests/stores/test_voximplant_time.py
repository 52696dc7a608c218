"""Lifetimes and ledgers over virtual time: 200 days of passes, machines that come and go, ledgers that are lost."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from tests.stores.emulated import SharedClock, changes, many, outcomes
from tests.stores.voximplant_repo import Repo
from tests.stores.voximplant_service import DELETE, SET, Service

HOUR, DAY = 3600, 86_400
LEDGERS = ("local", "store")


@pytest.fixture(params=LEDGERS)
def either(request: pytest.FixtureRequest, tmp_path: Path, service: Service) -> Repo:
    """A repository with the ledger here or there, and a clock that moves only when told to."""
    repo = Repo(tmp_path, service, ledger=request.param)
    repo.clock = SharedClock(service)
    return repo


@pytest.fixture
def repo(tmp_path: Path, service: Service) -> Repo:
    """A repository with the ledger in the store."""
    repo = Repo(tmp_path, service, ledger="store")
    repo.clock = SharedClock(service)
    return repo


async def test_two_hundred_days(either: Repo, service: Service) -> None:
    """Woken when a plan says so and not else, kvsync never lets an entry go missing over 200 days, and renews each as often as
    it must: three times what should stay, and what has a TTL whenever a third of it is left."""
    clock = either.clock
    assert isinstance(clock, SharedClock)
    begin, renewed, passes = clock.now(), Counter[str](), 0
    either.want(many(20) + "  month: {value: m, ttl: 30d}\n  sale: {value: s, expires_at: 2199-01-01T00:00:00Z}\n")
    await either.apply()
    there = set(service.items())
    while True:
        moment = (await either.plan()).next_moment
        assert moment is not None
        if moment > begin + 200 * DAY:
            break
        clock.advance(moment - clock.now() + 1)
        assert set(service.items()) == there
        report = await either.apply()
        assert set(outcomes(report).values()) <= {"applied"}
        assert {(one.action, one.cause) for one in report.plan.targets[0].changes} <= {("renew", "expiring")}
        renewed.update(one.identity.key for one in report.plan.targets[0].changes)
        passes += 1
    clock.advance(begin + 200 * DAY - clock.now())
    assert set(service.items()) == there
    assert renewed.pop("month") == 9
    assert set(renewed.values()) == {3}
    assert len(renewed) == 21
    assert passes <= 9 + 3 + (3 if either.service.everything("web:#kvsync") else 0)


async def test_a_ledger_outlives_its_own_end(repo: Repo, service: Service) -> None:
    """The ledger in the store is renewed although nothing else is to be done, and written no more often than that."""
    clock = repo.clock
    assert isinstance(clock, SharedClock)
    await repo.settle({"day": "{value: x, expires_at: 2199-01-01T00:00:00Z}"})
    for _ in range(3):
        moment = (await repo.plan()).next_moment
        assert moment is not None
        clock.advance(moment - clock.now() + 1)
        await repo.apply()
        service.clear_requests()
        assert changes(await repo.plan(machine="another")) == []
        await repo.apply()
        assert SET not in service.requests()


async def test_a_daemon_that_was_away_for_too_long(either: Repo, service: Service) -> None:
    """After 90 days without a pass everything is gone, and comes back with the next; that is not drift."""
    clock = either.clock
    assert isinstance(clock, SharedClock)
    await either.settle(many(5))
    clock.advance(91 * DAY)
    assert service.items() == {}
    plan = await either.plan()
    assert {row[0] for row in changes(plan)} == {"create"}
    assert not {row[1] for row in changes(plan)} & {"missing", "conflict"}
    await either.apply()
    assert len(service.items()) == 5


async def test_drift_is_distinguished_from_time(either: Repo, service: Service) -> None:
    """An edit, a deletion and a shortened life are found; the passing of time is not taken for any of them."""
    clock = either.clock
    assert isinstance(clock, SharedClock)
    await either.settle({"edited": "1", "gone": "1", "shorter": "1", "fine": "1", "ttl": "{value: x, ttl: 7d}"})
    clock.advance(3 * DAY)
    assert changes(await either.plan()) == []
    service.put("web:edited", "by hand")
    service.delete("web:gone")
    service.put("web:shorter", "1", ttl=HOUR)
    service.put("web:ttl", "x", ttl=8 * DAY)
    assert changes(await either.plan()) == [
        ("update", "drifted", "edited"),
        ("create", "missing", "gone"),
        ("renew", "expiring", "shorter"),
        ("update", "drifted", "ttl"),
    ]
    await either.apply()
    assert service.values("web:") == {
        "web:edited": "1",
        "web:gone": "1",
        "web:shorter": "1",
        "web:fine": "1",
        "web:ttl": "x",
    }
    assert service.items()["web:ttl"]["expires_at"] == clock.now() + 7 * DAY


# -- the ledger: lost, shared, damaged --------------------------------------------------------------------------------


async def test_a_lost_ledger_deletes_nothing(either: Repo, service: Service) -> None:
    """With neither ledger, nothing is deleted; what is equal is adopted without a write, what differs is reported."""
    await either.settle({"same": "1", "edited": "1", "unwanted": "1"})
    for key in service.everything("web:#kvsync"):
        service.delete(key)
    either.want({"same": "1", "edited": "2", "new": "1"})
    plan = await either.plan(machine="fresh")
    assert changes(plan) == [("create", "new", "new"), ("adopt", "unowned", "same")]
    assert [(one.identity.key, one.cause.value) for one in plan.refused] == [("edited", "unowned")]
    assert plan.foreign == 1
    before = service.items()
    await either.apply(machine="fresh")
    after = service.items()
    assert after.pop("web:new")["value"] == "1"
    assert after == before


async def test_a_ledger_in_the_store_is_found_by_a_fresh_checkout(repo: Repo, service: Service) -> None:
    """Without a state directory of its own another machine knows what is ours: it deletes and changes as the first would."""
    await repo.settle({"a": "1", "b": "1", "c": "{value: x, ttl: 7d}", "secret": "{env: API_TOKEN}"})
    repo.want({"a": "2", "c": "{value: x, ttl: 7d}", "secret": "{env: API_TOKEN}"})
    plan = await repo.plan(machine="fresh")
    assert changes(plan) == [("update", "changed", "a"), ("delete", "removed", "b")]
    assert set(outcomes(await repo.apply(machine="fresh")).values()) == {"applied"}
    for machine in (".kvsync", "fresh"):
        assert changes(await repo.plan(machine=machine)) == []
    assert set(service.items()) == {"web:a", "web:c", "web:secret"}


async def test_two_machines_taking_turns(repo: Repo, service: Service) -> None:
    """Each continues where the other left off, without drift, conflicts or writes that nobody asked for."""
    for turn in range(6):
        repo.want(many(8) + f"  turn: {turn}\n  only-{turn}: x\n")
        report = await repo.apply(machine=f"machine-{turn % 2}")
        assert {one.cause.value for one in report.plan.targets[0].changes} <= {"new", "changed", "removed"}
        assert set(outcomes(report).values()) == {"applied"}
    service.clear_requests()
    for machine in ("machine-0", "machine-1"):
        assert (await repo.apply(machine=machine)).run is None
    assert SET not in service.requests()


async def test_two_machines_at_the_same_time(repo: Repo, service: Service) -> None:
    """While one writes, another does so too: both come out right, whoever leaves its ledger last."""

    repo.want(many(30))
    await asyncio.gather(repo.attempt("one"), repo.attempt("two"))
    for machine in ("one", "two", "one"):
        await repo.converge(machine=machine)
    repo.want(many(10))
    async with repo.open(machine="two") as workspace:
        plan = await workspace.plan()
        assert len(plan.targets[0].changes) == 20
        await workspace.apply(plan, command="test", approvals=[plan.digest])
    assert len(service.items()) == 10
    assert changes(await repo.plan(machine="fresh")) == []


@pytest.mark.parametrize("damage", ["root", "piece", "piece gone"])
async def test_a_damaged_ledger_counts_as_lost(repo: Repo, service: Service, damage: str) -> None:
    """A ledger that someone cut or changed is not gone by: a fresh machine deletes nothing for it, and the machine that
    wrote it leaves it whole again."""
    await repo.settle(many(40))
    keys = sorted(service.everything("web:#kvsync"))
    if damage == "root":
        service.put(keys[0], "nonsense")
    for key in keys[1:]:  # also of the document before, which one of them may belong to
        if damage == "piece":
            service.put(key, service.everything()[key]["value"][:-9])
        elif damage == "piece gone":
            service.delete(key)
    repo.want(many(20))
    fresh = await repo.plan(machine="fresh")
    assert {row[0] for row in changes(fresh)} == {"adopt"}
    assert fresh.foreign == 20
    assert set(outcomes(await repo.apply()).values()) == {"applied"}
    assert len(service.items()) == 20
    assert changes(await repo.plan(machine="another")) == []


async def test_old_pieces_do_not_stay(repo: Repo, service: Service) -> None:
    """However often the ledger is written, what it does not need goes: at the latest with the write that comes an hour
    later."""
    clock = repo.clock
    assert isinstance(clock, SharedClock)
    for turn in range(6):
        repo.want(many(30, f"{turn}-"))
        await repo.apply()
        clock.advance(2 * HOUR)
    pieces = service.everything("web:#kvsync")
    size = sum(len(item["value"]) for item in pieces.values())
    assert size < 3 * 30 * 90  # the ledger, the one before it, and what was announced
    assert service.requests()[DELETE] > 0
