"""Entries that cannot be read: they wait, with the reason, and nothing else waits for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from kvsync.app.dump import dump
from kvsync.app.explain import explain
from kvsync.model.entry import Actual, Identity
from kvsync.model.pass_options import PassOptions
from kvsync.stores.memory.store import MemoryStore
from kvsync.stores.partial import EntryUnreadable, ReadFailures
from tests.support.memory_repository import MemoryRepository, is_clean, outcomes, refused, rows

KINDS = ("memory-edge", "memory-bucket", "memory-mortal")
"""Stores that read entries one by one, with marks and with a ledger."""


@pytest.fixture(params=KINDS)
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> MemoryRepository:
    """A store in which no key that begins with `blocked` can be read once `block` was called."""
    return MemoryRepository(tmp_path, monkeypatch, request.param)


def block(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let something in front of the store refuse calls that name such a key."""
    original = MemoryStore.read

    async def read(store: MemoryStore, namespace: str, identities: Sequence[Identity]) -> Mapping[Identity, Actual]:
        failures = ReadFailures()
        for identity in identities:
            if identity.key.startswith("blocked"):
                await failures.note(identity, refusal())
        passing = [identity for identity in identities if not identity.key.startswith("blocked")]
        return failures.check(await original(store, namespace, passing) if passing else {})

    monkeypatch.setattr(MemoryStore, "read", read)


async def refusal() -> None:
    """The answer to such a call."""
    raise EntryUnreadable("status 403")


async def test_the_others_are_written(repo: MemoryRepository, monkeypatch: pytest.MonkeyPatch) -> None:
    """A changed entry that cannot be read is not written and not taken for absent; the others are applied."""
    await repo.settle({"a": 1, "blocked": 1})
    repo.clock.advance(120)
    block(monkeypatch)
    repo.want({"a": 2, "blocked": 2, "new": 1})
    report = await repo.apply()
    assert (outcomes(report)["a"], outcomes(report)["new"]) == ("applied", "applied")
    assert outcomes(report)["blocked"] in ("refused", "failed")
    assert "status 403" in str(report.targets[0].outcomes)
    assert repo.values() == {"a": "2", "blocked": "1", "new": "1"}


async def test_it_is_written_once_it_can_be_read(repo: MemoryRepository, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is forgotten: as soon as the entry can be read, it is brought to what the files ask."""
    await repo.settle({"blocked": 1})
    repo.clock.advance(120)
    with monkeypatch.context() as patch:
        block(patch)
        repo.want({"blocked": 2})
        await repo.apply()
    assert is_clean(await repo.apply())
    assert repo.values() == {"blocked": "2"}


async def test_a_deep_look_says_what_it_could_not_see(repo: MemoryRepository, monkeypatch: pytest.MonkeyPatch) -> None:
    """A deep plan names the entry, counts as incomplete, and finds drift in the others."""
    await repo.settle({"a": 1, "blocked": 1})
    repo.clock.advance(120)
    block(monkeypatch)
    repo.edit("a", "3")
    plan = await repo.plan(PassOptions(deep=True))
    assert [key for _, _, key in rows(plan)] == ["a"]
    assert plan.complete is (repo.kind != "memory-edge")  # the others need not read for it
    assert refused(plan) == []


async def test_a_dump_lists_it_and_writes_the_others(repo: MemoryRepository, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be read is named with the reason, as everything that a dump leaves out."""
    await repo.settle({"a": 1, "blocked": 1})
    block(monkeypatch)
    async with repo.open(None) as workspace:
        (dumped,) = await dump(workspace, "main", ["web"])
    if repo.kind == "memory-mortal":  # its listing carries values, so nothing has to be read
        assert (dumped.entries, dumped.left_out) == (2, ())
    else:
        (left_out,) = dumped.left_out
        assert (dumped.entries, left_out.identity) == (1, Identity("blocked"))
        assert left_out.reason == "it could not be read: status 403"


async def test_undo_takes_back_the_others(repo: MemoryRepository, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry that cannot be read stays as it is, with the reason, in the preview and in what is done."""
    await repo.settle({"a": 1, "blocked": 1})
    repo.want({"a": 2, "blocked": 2})
    run = (await repo.apply()).run
    assert run is not None
    repo.clock.advance(120)
    block(monkeypatch)
    report = await repo.undo(run)
    assert outcomes(report) == {"a": "applied", "blocked": "refused"}
    (one,) = [outcome for outcome in report.targets[0].outcomes if outcome.identity.key == "blocked"]
    assert one.error == "it could not be read: status 403"
    assert repo.values() == {"a": "1", "blocked": "2"}


async def test_explain_says_so(repo: MemoryRepository, monkeypatch: pytest.MonkeyPatch) -> None:
    """The entry is not taken for one that the store lacks."""
    await repo.settle({"a": 1, "blocked": 1})
    repo.want({"a": 1, "blocked": 2})
    repo.clock.advance(120)
    block(monkeypatch)
    async with repo.open(None) as workspace:
        (explained,) = await explain(workspace, workspace.load(), "blocked")
    if repo.kind != "memory-mortal":
        assert explained.actual is not None
        assert any("could not be read: status 403" in why for why in explained.why)
