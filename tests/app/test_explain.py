"""`explain`: what it asks the stores for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from kvsync.app.explain import EntryExplanation, explain
from tests.support.memory_repository import MemoryRepository, only
from tests.support.stores import KINDS


@pytest.fixture(params=sorted(KINDS))
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> MemoryRepository:
    return MemoryRepository(tmp_path, monkeypatch, request.param)


async def explained(repo: MemoryRepository, key: str) -> Sequence[EntryExplanation]:
    """The explanations of a key, as a command of its own."""
    repo.server.calls.clear()
    async with repo.open(writing=None) as workspace:
        return await explain(workspace, workspace.load(), key)


def held(one: EntryExplanation) -> bytes | None:
    """The value that the store holds, as explained."""
    return one.actual.content.value if one.actual is not None and one.actual.content is not None else None


async def test_each_target_is_listed_once(repo: MemoryRepository) -> None:
    """An equal entry, a drifted one and one that no file names are each explained with one listing of the target, and the
    value is read once where the listing does not carry it."""
    await repo.settle({"equal": 1, "drifted": 1})
    repo.edit("drifted", "by hand")
    repo.server.write("web", "foreign", b"x")
    for key, value in (("equal", b"1"), ("drifted", b"by hand"), ("foreign", b"x")):
        assert held(only(await explained(repo, key))) == value
        assert repo.server.count("listing") == 1
        read = [name for call in repo.server.calls if call.method == "lookup" for name in call.keys]
        assert read.count(key) == (0 if KINDS[repo.kind].capabilities.values_in_listing else 1)


async def test_a_target_whose_files_have_problems_is_listed_once(repo: MemoryRepository) -> None:
    """Where the files cannot be read, nothing is planned, and the entry in the store is explained all the same."""
    repo.server.write("web", "foreign", b"x")
    repo.state("store: main\nnamespace: web\nkeys: {a: 1, a: 2}\n")
    one = only(await explained(repo, "foreign"))
    assert held(one) == b"x"
    assert any("duplicate" in sentence or "twice" in sentence for sentence in one.why)
    assert repo.server.count("listing") == 1
