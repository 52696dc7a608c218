"""Ledgers in stores that change hands: `transfer --from-owner` makes the ledger of the named owner ours with one write."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kvsync.app import TargetSelection
from kvsync.errors import PermanentError
from kvsync.model.pass_options import PassOptions
from kvsync.model.policy import Adopt
from tests.support.machines import SHARED_KINDS, Machine, document, leave, ledger_of
from tests.support.memory_repository import OWNER, MemoryRepository, outcomes, refused, reported, rows

TRANSFER = PassOptions(deep=True, adopt=Adopt.IF_EQUAL, from_owner=OWNER)
KEYS = {"a": 1, "drifts": 1, "gone": 1, "secret": "{value: hunter2, sensitive: true}", "left": 1}
KEPT = {name: value for name, value in KEYS.items() if name != "left"}
DRIFT = {("update", "drifted", "drifts"), ("create", "missing", "gone")}
KEY = b"k" * 32


@pytest.fixture
def repo(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MemoryRepository:
    """A repository whose owner has just become `team-b`, with drift in the store."""
    found = MemoryRepository(
        tmp_path, monkeypatch, getattr(request, "param", SHARED_KINDS[0]), "{drift: report, adopt: never}"
    )
    found.owner_keys = (KEY,)
    return found


async def change_owner(repo: MemoryRepository) -> None:
    """Apply as the previous owner; then let the store drift, and give the repository another owner."""
    repo.server.write("web", "theirs", b"x", expires_at=repo.clock.now() + 7_776_000)
    await repo.settle(KEYS)
    repo.edit("drifts", "other")
    repo.server.delete("web", "gone")
    repo.want(KEPT)
    rename_owner(repo)


def rename_owner(repo: MemoryRepository, owner: str = "team-b") -> None:
    repo.owner = owner
    repo.configure("{drift: report, adopt: never}")


async def check(repo: MemoryRepository, machine: Machine) -> None:
    """The entries are ours on every machine, drift is still drift, and nothing was written."""
    assert keys_there_as(repo, "team-b") == {"a", "drifts", "gone", "secret"}
    for one in (machine, Machine(repo, "fresh")):
        plan = await one.plan()
        assert (plan.error, rows(plan), refused(plan), set(reported(plan))) == (None, [], [], DRIFT)
    assert repo.values() == {"a": "1", "drifts": "other", "secret": "hunter2", "left": "1", "theirs": "x"}


def keys_there_as(repo: MemoryRepository, owner: str) -> set[str]:
    """The keys in the server's ledger, which must be that of this owner."""
    found = document(repo, owner)
    return set() if found is None else {name.key for name in found.rows}


@pytest.mark.parametrize(("repo", "name"), [(SHARED_KINDS[0], "same"), (SHARED_KINDS[1], "other")], indirect=["repo"])
async def test_a_ledger_is_taken_over(repo: MemoryRepository, name: str) -> None:
    """By the machine that applied before, or by another one: planned first, then done with one write of the ledger, and what
    no file defines belongs to nobody."""
    await change_owner(repo)
    machine = Machine(repo, name)
    if name == "same":
        machine.path = repo.root / ".kvsync"
    before = repo.server.ledgers["web"]
    seen = await machine.plan(TRANSFER)
    assert {row for row in rows(seen) if row[0] == "adopt"} == {
        ("adopt", "taken", "a"), ("adopt", "taken", "drifts"), ("adopt", "taken", "secret"),
    }  # fmt: skip
    assert "the ledger of owner 'team-a' in the store is taken over: 4 of its 5 entries" in seen.notes[0]
    assert repo.server.ledgers["web"] == before
    repo.server.calls.clear()
    report = await machine.apply(TRANSFER)
    assert (report.targets[0].error, set(outcomes(report).values())) == (None, {"applied", "skipped"})
    assert [call.method for call in repo.server.calls].count("change") == 0
    await check(repo, machine)


@pytest.mark.parametrize("is_written", [False, True])
async def test_a_transfer_that_breaks_off_at_its_write_is_finished(repo: MemoryRepository, is_written: bool) -> None:
    """Whether the ledger had been written or not: each entry belongs to one of the two owners, and the next run finishes."""
    await change_owner(repo)
    machine, whole = Machine(repo, "one"), repo.server.put_ledger

    def breaks(*arguments: object) -> None:
        if is_written:
            whole(*arguments)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    repo.server.put_ledger = breaks  # type: ignore[method-assign,assignment]
    with pytest.raises(KeyboardInterrupt):
        await machine.apply(TRANSFER)
    repo.server.put_ledger = whole  # type: ignore[method-assign]
    assert keys_there_as(repo, "team-b" if is_written else OWNER) >= {"a", "drifts", "gone", "secret"}
    assert (await machine.apply(TRANSFER)).targets[0].error is None
    await check(repo, machine)


async def test_a_ledger_that_cannot_be_written_changes_nothing(repo: MemoryRepository) -> None:
    """Nothing is recorded as ours before the store says so."""
    await change_owner(repo)
    machine = Machine(repo, "one")
    repo.server.fail(PermanentError("the disk is full"), on=["put_ledger"])
    report = await machine.apply(TRANSFER)
    assert "the disk is full" in str(report.targets[0].error)
    repo.server.heal()
    assert keys_there_as(repo, OWNER) == KEYS.keys()
    assert await machine.ledger() == {}
    assert (await machine.apply(TRANSFER)).targets[0].error is None
    await check(repo, machine)


async def test_only_a_proven_ledger_of_the_named_owner_is_taken_over(repo: MemoryRepository) -> None:
    """Not that of a third owner, not one that is not signed, not one that was changed after the plan, and none in part."""
    await change_owner(repo)
    machine, ours = Machine(repo, "one"), repo.server.ledgers["web"].text
    plan = await machine.plan(replace(TRANSFER, from_owner="team-c"))
    assert "it belongs to owner 'team-a'" in str(plan.error)
    assert "can only be taken over as a whole" in str((await machine.plan(replace(TRANSFER, keys=("a",)))).error)
    leave(repo, ours.replace(b'"revision":', b'"revision":1'))
    assert "it is not signed with the owner key" in str((await machine.plan(TRANSFER)).error)
    leave(repo, ours)
    async with repo.open(state_dir=machine.path) as workspace:
        made = await workspace.plan(TargetSelection(ask=TRANSFER))
        leave(repo, ledger_of(OWNER, repo))
        report = await workspace.apply(made, command="transfer")
    assert "was changed after the plan was made" in str(report.targets[0].error)
    assert keys_there_as(repo, OWNER) == set()
