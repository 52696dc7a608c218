"""Two machines on one store that keeps the ledger: by turns, at the same time, with keys of their own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.machines import SHARED_KINDS, Machine, calls, document, keys_there
from tests.support.memory_repository import MemoryRepository, is_clean, outcomes, rows

SECRET = "{value: hunter2, sensitive: true}"


@pytest.fixture(params=SHARED_KINDS)
def repo(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MemoryRepository:
    return MemoryRepository(
        tmp_path, monkeypatch, request.param, "{adopt: never, drift: report, guard: {max_delete_pct: 100}}"
    )


@pytest.fixture
def machines(repo: MemoryRepository) -> tuple[Machine, Machine]:
    return Machine(repo, "one"), Machine(repo, "two")


async def test_machines_taking_turns_see_what_the_files_changed(
    repo: MemoryRepository, machines: tuple[Machine, Machine]
) -> None:
    """What the other machine did in between is not drift: the next change is a change, although drift is only reported and
    nothing is adopted."""
    for turn in range(1, 6):
        machine = machines[turn % 2]
        repo.want({"always": turn, f"only-{turn}": 1, "steady": 1})
        report = await machine.apply()
        assert is_clean(report)
        assert not report.plan.targets[0].reported
        assert repo.values() == {"always": str(turn), f"only-{turn}": "1", "steady": "1"}
        for one in machines:
            assert rows(await one.plan()) == []
        assert keys_there(repo) == {"always", f"only-{turn}", "steady"}


async def test_going_back_and_forth_is_not_drift(repo: MemoryRepository, machines: tuple[Machine, Machine]) -> None:
    """A change, and its reverse by the other machine, leave the first one knowing what is there."""
    one, two = machines
    for value in (1, 2):
        repo.want({"a": value})
        assert is_clean(await one.apply())
    repo.want({"a": 1})
    assert is_clean(await two.apply())
    repo.want({"a": 3})
    assert rows(await one.plan()) == [("update", "changed", "a")]
    assert is_clean(await one.apply())


async def test_drift_is_drift_on_every_machine(repo: MemoryRepository, machines: tuple[Machine, Machine]) -> None:
    """An edit by hand is seen as such by a machine that did not write the entry."""
    one, two = machines
    repo.want({"a": 1, "b": 1})
    await one.apply()
    repo.edit("a", "by hand")
    plan = await two.plan()
    assert [(change.cause.value, change.identity.key) for change in plan.reported] == [("drifted", "a")]


async def test_a_machine_that_writes_meanwhile_is_heard(
    repo: MemoryRepository, machines: tuple[Machine, Machine]
) -> None:
    """What another machine leaves while a pass is under way is kept when that pass leaves the ledger."""
    one, two = machines
    repo.want({"a": 1})
    await one.apply()

    def meanwhile() -> None:
        repo.want({"a": 1, "b": 1, "c": 1})
        two.apply_meanwhile()

    repo.want({"a": 2})
    repo.server.before_change(lambda: None)  # what is about to be written is announced
    repo.server.before_change(meanwhile)
    assert is_clean(await one.apply())
    assert keys_there(repo) == {"a", "b", "c"}
    repo.want({"a": 2})
    assert is_clean(await one.apply())
    assert repo.values() == {"a": "2"}


async def test_a_ledger_overwritten_by_a_late_machine_is_put_right(
    repo: MemoryRepository, machines: tuple[Machine, Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two machines leave the ledger at the same moment, and the second has not seen the first: what is lost from it is left
    again by the first one's next pass."""
    one, two = machines
    repo.want({"a": 1})
    await one.apply()
    leave = repo.server.put_ledger

    def slowly(*arguments: object) -> None:
        monkeypatch.setattr(repo.server, "put_ledger", leave)
        repo.want({"a": 2, "b": 1})
        two.apply_meanwhile()
        leave(*arguments)  # type: ignore[arg-type]

    repo.want({"a": 1, "c": 1})
    monkeypatch.setattr(repo.server, "put_ledger", slowly)
    await one.apply()
    assert keys_there(repo) == {"a", "c"}, "the other machine's part was overwritten"
    repo.want({"a": 2, "b": 1, "c": 1})
    assert outcomes(await two.apply()) == {}
    assert keys_there(repo) == {"a", "b", "c"}
    for machine in machines:
        plan = await machine.plan()
        assert (rows(plan), plan.reported, plan.refused) == ([], (), ())


async def test_a_sensitive_entry_is_read_once_by_each_machine(
    repo: MemoryRepository, machines: tuple[Machine, Machine]
) -> None:
    """A machine with another key cannot compare what the first one sealed: it reads the value once, remembers, and writes
    nothing, so that the two do not write the ledger by turns."""
    repo.want({"token": SECRET, "a": 1})
    await machines[0].apply()
    text = repo.server.ledgers["web"].text
    for turn in range(6):
        repo.server.calls.clear()
        report = await machines[turn % 2].apply()
        assert (outcomes(report), report.plan.targets[0].reported) == ({}, ())
        reads = 1 if turn == 1 and repo.kind == "memory-shared-bucket" else 0
        assert calls(repo) == {"listing": 1} | ({"lookup": 1} if reads else {})
    assert repo.server.ledgers["web"].text == text


async def test_a_sensitive_change_by_the_other_machine_is_not_drift(
    repo: MemoryRepository, machines: tuple[Machine, Machine]
) -> None:
    """After the other machine changed a secret both agree, and write nothing; without a common key a machine cannot tell its
    own owner's change from someone else's, so that policy.drift decides."""
    repo.configure("{adopt: never}")
    one, two = machines
    for machine, value in ((one, "one"), (two, "two"), (one, "three")):
        repo.want({"token": f"{{value: {value}, sensitive: true}}"})
        assert is_clean(await machine.apply())
        assert repo.values() == {"token": value}
    text = repo.server.ledgers["web"].text
    for machine in (two, one, two):
        report = await machine.apply()
        assert (outcomes(report), report.plan.targets[0].reported) == ({}, ())
    assert repo.server.ledgers["web"].text == text


async def test_machines_with_one_key_compare_secrets(repo: MemoryRepository, machines: tuple[Machine, Machine]) -> None:
    """Where the key file was copied, a secret is known to be unchanged without reading it, and a change is known for what it
    is."""
    one, two = machines
    repo.want({"token": SECRET})
    await one.apply()
    two.path.mkdir()
    shutil.copy(one.path / "key", two.path / "key")
    repo.server.calls.clear()
    await two.apply()
    assert calls(repo) == {"listing": 1}
    for machine, value in ((two, "two"), (one, "three")):
        repo.want({"token": f"{{value: {value}, sensitive: true}}"})
        assert rows(await machine.plan()) == [("update", "changed", "token")]
        assert is_clean(await machine.apply())


async def test_what_one_machine_ended_is_over_for_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry whose declared end has come is not missed, nor made again, on another machine."""
    repo = MemoryRepository(tmp_path, monkeypatch, "memory-shared-bucket")
    one, two = Machine(repo, "one"), Machine(repo, "two")
    repo.want({"a": 1, "promo": "{value: x, ttl: 1h, renew_before: 0s}"})
    await one.apply()
    repo.clock.advance(3601)
    assert rows(await two.plan()) == [("delete", "expired", "promo")]
    assert is_clean(await one.apply())
    plan = await two.plan()
    assert (rows(plan), plan.expired) == ([], 1)


async def test_two_directories_of_one_owner_never_delete_foreign_entries(
    repo: MemoryRepository, machines: tuple[Machine, Machine]
) -> None:
    """What someone made again after a machine deleted it is nobody's to delete, whichever machine looks."""
    one, two = machines
    repo.want({"a": 1, "b": 1})
    await one.apply()
    await two.apply()
    repo.want({"a": 1})
    await two.apply()
    repo.server.write("web", "b", b"1", expires_at=repo.clock.now() + 7_776_000)
    for machine in (one, two, one):
        assert outcomes(await machine.apply()) == {}
    assert repo.values() == {"a": "1", "b": "1"}
    found = document(repo)
    assert found is not None
    assert len(found.rows) == 1
