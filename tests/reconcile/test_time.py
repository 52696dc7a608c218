"""Lifetimes, moments and late listings, with a clock that moves only when told to, over every kind of store."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kvsync.model.capabilities import Lifetimes
from kvsync.model.pass_options import PassOptions
from kvsync.model.plan import TargetPlan
from kvsync.stores.base import Store
from kvsync.stores.memory.backend import RemoteKey
from kvsync.stores.wrapper import StoreWrapper
from kvsync.util.clock import Clock
from tests.support.memory_repository import MemoryRepository, is_clean, outcomes, refused, rows
from tests.support.stores import KINDS

HOUR, DAY = 3600, 86_400
LATE = "memory-edge"


@pytest.fixture(params=sorted(KINDS))
def repo(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MemoryRepository:
    return MemoryRepository(tmp_path, monkeypatch, request.param)


@pytest.fixture
def plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MemoryRepository:
    return MemoryRepository(tmp_path, monkeypatch)


@pytest.fixture
def late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MemoryRepository:
    repo = MemoryRepository(tmp_path, monkeypatch, LATE)
    repo.server.list_late(KINDS[LATE].capabilities.settle)
    return repo


class SkewedClock(Clock):
    """A machine's clock that is `off` seconds."""

    def __init__(self, right: Clock, off: float) -> None:
        self._right, self._off = right, off

    def now(self) -> float:
        return self._right.now() + self._off

    def monotonic(self) -> float:
        return self._right.monotonic()


class TimeOfStore(Clock):
    """What a store knows of the time once its server was heard."""

    def __init__(self, right: Clock, here: Clock) -> None:
        self._right, self._here = right, here

    def now(self) -> float:
        return self._right.now()

    def local(self) -> float:
        return self._here.now()

    def monotonic(self) -> float:
        return self._right.monotonic()


def give_clock(store: Store, clock: Clock) -> None:
    """Let a store, and what is wrapped around it, go by this clock."""
    store.context = replace(store.context, clock=clock)
    if isinstance(store, StoreWrapper):
        give_clock(store._inner, clock)


def at(repo: MemoryRepository, seconds: float) -> str:
    moment = datetime.fromtimestamp(repo.clock.now() + seconds, UTC)
    return f'"{moment.strftime("%Y-%m-%dT%H:%M:%SZ")}"'


async def test_a_ttl_is_renewed_when_a_third_is_left(repo: MemoryRepository) -> None:
    """An entry with a TTL is left alone until a third of its life is left, and is renewed then; the plan says when."""
    await repo.settle({"a": "{value: x, ttl: 3h}", "b": 1})
    plan = await repo.plan()
    assert plan.next_moment is not None
    repo.clock.advance(plan.next_moment - repo.clock.now() - 1)
    assert rows(await repo.plan()) == []
    repo.clock.advance(2)
    assert rows(await repo.plan()) == [("renew", "expiring", "a")]
    assert is_clean(await repo.apply())
    repo.clock.advance(2 * HOUR - 60)
    assert rows(await repo.plan()) == []
    assert repo.held("a") == "x"


async def test_a_renewal_is_due_at_the_very_moment_that_was_reported(repo: MemoryRepository) -> None:
    """A pass at exactly the moment that the last plan named renews: one that looked away then would forget the renewal."""
    await repo.settle({"a": "{value: x, ttl: 3h}", "b": 1})
    plan = await repo.plan()
    assert plan.next_moment is not None
    repo.clock.advance(plan.next_moment - repo.clock.now())
    while repo.clock.now() < plan.next_moment:  # what was added may be rounded
        repo.clock.advance(1e-6)
    assert rows(await repo.plan(writing="test")) == [("renew", "expiring", "a")]


async def test_what_ended_for_good_is_not_a_reason_to_come_back(repo: MemoryRepository) -> None:
    """Once an entry ended as declared no later pass is planned for it."""
    await repo.settle({"a": "{value: x, ttl: 1h, renew_before: 0s}", "b": 1})
    repo.clock.advance(2 * HOUR)
    await repo.apply()
    repo.clock.advance(60)
    plan = await repo.plan()
    assert plan.expired == 1
    assert plan.next_moment is None or KINDS[repo.kind].capabilities.always_expires


async def test_an_end_far_away_is_come_up_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where everything ends within 90 days an entry that should end in 200 is there until then, renewed when a third of the
    store's longest life is left and once its end is within reach, and gone right after."""
    repo = MemoryRepository(tmp_path, monkeypatch, "memory-mortal")
    begin, renewals = repo.clock.now(), []
    await repo.settle({"sale": f"{{value: x, expires_at: {at(repo, 200 * DAY)}}}"})
    while (moment := (await repo.plan()).next_moment) is not None:
        repo.clock.advance(moment - repo.clock.now() + 1)
        assert repo.held("sale") == "x"
        assert rows(await repo.plan()) == [("renew", "expiring", "sale")]
        assert is_clean(await repo.apply())
        assert rows(await repo.plan()) == []
        renewals.append(round((repo.clock.now() - begin) / DAY))
    assert renewals == [60, 110]
    repo.clock.advance(begin + 200 * DAY - repo.clock.now() - 1)
    assert repo.held("sale") == "x"
    repo.clock.advance(2)
    assert repo.values() == {}
    assert rows(await repo.plan()) == []


async def test_a_renewal_that_came_too_late_brings_the_entry_back(repo: MemoryRepository) -> None:
    """After kvsync was away for longer than the TTL the entry is there again, and that is not drift."""
    await repo.settle({"a": "{value: x, ttl: 1h}", "b": 1})
    repo.clock.advance(2 * HOUR)
    report = await repo.apply()
    assert is_clean(report)
    assert {row[1] for row in rows(report.plan.targets[0])} == {"expiring"}
    assert repo.held("a") == "x"
    repo.clock.advance(60)
    assert rows(await repo.plan()) == []


async def test_renew_before_moves_the_renewal(plain: MemoryRepository) -> None:
    """renew_before says how much life must be left."""
    await plain.settle({"a": "{value: x, ttl: 3h, renew_before: 10m}", "b": 1})
    assert (await plain.plan()).next_moment == plain.clock.now() + 3 * HOUR - 600


async def test_a_ttl_without_renewal_ends_and_stays_away(repo: MemoryRepository) -> None:
    """With renew_before: 0 the entry ends as declared, which is not drift, and it is not made again."""
    await repo.settle({"a": "{value: x, ttl: 1h, renew_before: 0s}", "b": 1})
    repo.clock.advance(2 * HOUR)
    await repo.apply()
    plan = await repo.plan()
    assert rows(plan) == []
    assert plan.expired == 1
    if KINDS[repo.kind].capabilities.lifetimes is Lifetimes.EMULATED:
        assert repo.held("a") is None


@pytest.mark.parametrize(
    "restart", ["{value: y, ttl: 1h, renew_before: 0s}", "{value: x, ttl: 2h, renew_before: 0s}", "x"]
)
async def test_what_ended_comes_back_when_the_files_ask_for_it_again(repo: MemoryRepository, restart: str) -> None:
    """An entry that ended as declared is made again once its declaration is another one."""
    await repo.settle({"a": "{value: x, ttl: 1h, renew_before: 0s}", "b": 1})
    repo.clock.advance(2 * HOUR)
    await repo.apply()
    repo.clock.advance(60)
    repo.want({"a": restart, "b": 1})
    report = await repo.apply()
    assert [row[0] for row in rows(report.plan.targets[0]) if row[2] == "a"] == ["create"]
    assert is_clean(report)


async def test_a_moment_that_is_put_off_brings_the_entry_back(repo: MemoryRepository) -> None:
    """An entry that had ended is there again when the files give it a later end."""
    await repo.settle({"a": f"{{value: x, expires_at: {at(repo, HOUR)}}}", "b": 1})
    repo.clock.advance(2 * HOUR)
    await repo.apply()
    repo.clock.advance(60)
    repo.want({"a": f"{{value: x, expires_at: {at(repo, HOUR)}}}", "b": 1})
    assert is_clean(await repo.apply())
    assert repo.held("a") == "x"


async def test_what_someone_makes_after_the_end_is_theirs(repo: MemoryRepository) -> None:
    """Once our entry has ended, another one under its name belongs to whoever made it."""
    await repo.settle({"a": "{value: x, ttl: 1h, renew_before: 0s}", "b": 1})
    repo.clock.advance(2 * HOUR)
    await repo.apply()
    repo.server.write("web", "a", b"theirs", expires_at=repo.clock.now() + HOUR)
    repo.clock.advance(61)
    report = await repo.apply()
    assert refused(report.plan.targets[0]) == [("update", "unowned", "a")]
    assert repo.held("a") == "theirs"


async def test_an_entry_ends_at_its_moment(repo: MemoryRepository) -> None:
    """expires_at is reached without drift; where the store cannot end entries, the daemon learns when to, and does."""
    await repo.settle({"a": f"{{value: x, expires_at: {at(repo, HOUR)}}}", "b": 1})
    plan = await repo.plan()
    assert rows(plan) == []
    assert plan.next_moment is not None or KINDS[repo.kind].capabilities.lifetimes is Lifetimes.NATIVE
    repo.clock.advance(HOUR)
    await repo.apply()
    repo.clock.advance(60)
    plan = await repo.plan()
    assert rows(plan) == []
    assert plan.expired == 1
    if KINDS[repo.kind].capabilities.lifetimes is Lifetimes.EMULATED:
        assert repo.held("a") is None


async def test_an_entry_whose_moment_is_past_is_never_made(repo: MemoryRepository) -> None:
    """What had ended before it was ever written is not written."""
    repo.want({"a": f"{{value: x, expires_at: {at(repo, -HOUR)}}}", "b": 1})
    assert outcomes(await repo.apply()) == {"b": "applied"}


async def test_many_ends_by_time_at_once_meet_the_guard(plain: MemoryRepository) -> None:
    """A clock that jumps must not delete half of a target: where kvsync ends entries itself, the guard counts them."""
    plain.kind = "memory-prefix"
    plain.configure()
    await plain.settle({f"k{n}": f"{{value: x, expires_at: {at(plain, HOUR)}}}" for n in range(20)} | {"b": "1"})
    plain.clock.advance(HOUR)
    plan = await plain.plan()
    assert "would delete 20 of 21 entries" in plan.parked[0]
    assert is_clean(await plain.apply(approvals=[plan.digest]))
    assert plain.values() == {"b": "1"}


async def test_a_few_ends_by_time_wait_for_nobody(plain: MemoryRepository) -> None:
    """Entries that end within the limits of the guard are deleted at their moment."""
    plain.kind = "memory-prefix"
    plain.configure()
    ending = {f"k{n}": f"{{value: x, expires_at: {at(plain, HOUR)}}}" for n in range(3)}
    await plain.settle(ending | {f"b{n}": "1" for n in range(20)})
    plain.clock.advance(HOUR)
    assert is_clean(await plain.apply())
    assert not ending.keys() & plain.values().keys()


@pytest.mark.parametrize("off", [-6 * HOUR, 3 * DAY])
async def test_lifetimes_end_by_the_time_of_the_store(repo: MemoryRepository, off: float) -> None:
    """A machine whose clock is off by hours or days ends nothing early, and renews in time: the store's time decides."""
    await repo.settle({"a": "{value: x, ttl: 3h}", "b": f"{{value: y, expires_at: {at(repo, DAY)}}}"})
    right, here = repo.clock, SkewedClock(repo.clock, off)

    async def planned() -> TargetPlan:
        async with repo.open("run", clock=here) as workspace:
            give_clock(workspace.stores["main"], TimeOfStore(right, here))
            (plan,) = (await workspace.plan()).targets
            return plan

    plan = await planned()
    assert rows(plan) == []
    assert plan.next_moment is not None
    assert plan.next_moment - here.now() == pytest.approx(2 * HOUR, abs=60)
    right.advance(2 * HOUR + 60)
    assert rows(await planned()) == [("renew", "expiring", "a")]


async def test_another_ttl_in_the_files_is_a_change(repo: MemoryRepository) -> None:
    """A TTL that the files change is written although the value is the same."""
    await repo.settle({"a": "{value: x, ttl: 1h}", "b": 1})
    repo.want({"a": "{value: x, ttl: 2h}", "b": 1})
    assert rows(await repo.plan()) == [("update", "changed", "a")]
    assert is_clean(await repo.apply())
    repo.clock.advance(60)
    assert rows(await repo.plan()) == []


async def test_a_lifetime_that_someone_took_away_is_drift(plain: MemoryRepository) -> None:
    """An entry of ours that lost its TTL in the store gets it back."""
    await plain.settle({"a": "{value: x, ttl: 1h}", "b": 1})
    held = next(held for slot, held in plain.server.held["web"].items() if slot.key == "a")
    plain.server.write("web", "a", b"x", mark=held.mark)
    assert rows(await plain.plan()) == [("update", "drifted", "a")]


async def test_what_was_just_written_is_not_drift_where_the_listing_is_late(late: MemoryRepository) -> None:
    """Right after creates, updates and deletes the next pass has nothing to do, although the listing shows the past."""
    late.want({"a": 1, "b": 1, "c": 1, "d": 1})
    assert is_clean(await late.apply())
    assert rows(await late.plan()) == []
    late.clock.advance(61)
    late.want({"a": 2, "b": 1, "d": 1, "e": 1})
    assert is_clean(await late.apply())
    plan = await late.plan()
    assert rows(plan) == []
    assert plan.next_moment is not None
    assert plan.next_moment <= late.clock.now() + 60
    late.clock.advance(61)
    assert rows(await late.plan()) == []
    assert late.values() == {"a": "2", "b": "1", "d": "1", "e": "1"}


async def test_files_that_change_again_are_applied_while_the_listing_is_late(late: MemoryRepository) -> None:
    """A second edit does not wait until the listing has caught up with the first."""
    late.want({"a": 1, "b": 1})
    assert is_clean(await late.apply())
    late.want({"a": 2, "b": 1})
    assert is_clean(await late.apply())
    late.want({"a": 3})
    assert is_clean(await late.apply())
    assert late.held("a") == "3"
    assert rows(await late.plan()) == []
    late.clock.advance(61)
    assert is_clean(await late.apply())
    assert late.values() == {"a": "3"}
    late.clock.advance(61)
    assert rows(await late.plan()) == []


STEPS = pytest.mark.parametrize("step", [-90 * DAY, -HOUR, -45, 45, HOUR, 90 * DAY], ids="{:+}".format)


@STEPS
async def test_a_clock_that_is_set_does_not_end_the_time_in_which_a_listing_is_late(
    late: MemoryRepository, step: float
) -> None:
    """The past that such a listing shows is taken neither for drift nor for another writer, for as long as it may be shown and
    no longer."""
    await late.settle({"a": 1, "b": 1, "c": 1})
    late.want({"a": 2, "c": 1, "d": 1})
    assert is_clean(await late.apply())
    late.clock.advance(30)
    late.clock.step(step)
    plan = await late.plan()
    assert (rows(plan), plan.next_moment) == ([], late.clock.now() + 30)
    late.server.list_late(0)
    late.clock.advance(31)
    late.server.delete("web", "a")
    assert rows(await late.plan()) == [("create", "missing", "a")]


async def test_real_drift_shows_once_the_listing_has_caught_up(late: MemoryRepository) -> None:
    """What someone changed right after us is drift once the store can be believed."""
    late.want({"a": 1, "b": 1})
    assert is_clean(await late.apply())
    late.server.write("web", "a", b"theirs")
    late.server.delete("web", "b")
    late.clock.advance(61)
    assert {row[2] for row in rows(await late.plan())} | {one.identity.key for one in (await late.plan()).refused} == {
        "a",
        "b",
    }


async def test_what_someone_writes_right_after_us_is_drift_at_once(late: MemoryRepository) -> None:
    """A listing that shows neither what we wrote nor what we overwrote is not late: someone else was there."""
    await late.settle({"a": 1, "b": 1, "c": 1, "secret": "{value: s1, sensitive: true}"})
    late.want({"a": 2, "b": 1, "c": 2, "secret": "{value: s2, sensitive: true}"})
    assert is_clean(await late.apply())
    assert rows(await late.plan()) == []
    late.server.list_late(0)
    for key in ("a", "secret"):
        late.edit(key, "theirs")
    late.server.delete("web", "c")
    assert {row[1:] for row in rows(await late.plan(PassOptions(deep=True)))} == {
        ("drifted", "a"),
        ("drifted", "secret"),
        ("missing", "c"),
    }
    assert [row[1:] for row in rows(await late.plan())] == [("missing", "c")]
    late.server.write("web", "a", b"theirs")
    assert [row for row in rows(await late.plan()) if row[2] == "a"] == [("update", "drifted", "a")]


async def test_an_end_that_someone_moves_right_after_a_renewal_is_drift(late: MemoryRepository) -> None:
    """Within the time in which the listing may be late, the end before the renewal is the past, and any other is drift."""
    await late.settle({"a": "{value: x, ttl: 3h}", "b": 1})
    late.clock.advance(2 * HOUR + 60)
    assert is_clean(await late.apply())
    assert rows(await late.plan()) == []
    held = late.server.held["web"][RemoteKey("a")]
    late.server.list_late(0)
    late.server.write("web", "a", b"x", mark=held.mark)
    assert rows(await late.plan()) == [("update", "drifted", "a")]
