"""Promise 10: nobody who can only change state files can loosen a guard, read what they were not granted, or reach a target."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvsync.model.entry import Mark
from tests.support.memory_repository import MemoryRepository
from tests.support.stores import KINDS


@pytest.fixture(params=sorted(KINDS))
def repo(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MemoryRepository:
    return MemoryRepository(tmp_path, monkeypatch, request.param)


async def test_no_line_of_a_state_file_reaches_further(repo: MemoryRepository) -> None:
    """On every kind of remote: a file that asks for a looser policy, in any way, changes nothing in the store."""
    repo.configure("{adopt: never, guard: {max_deletes: 1}}")
    await repo.settle({"a": 1, "b": 1, "c": 1})
    for key in ("theirs", "wanted"):
        repo.server.write("web", key, b"theirs")
    if KINDS[repo.kind].capabilities.marks == "store":
        repo.server.write("web", "team-b", b"theirs", mark=Mark("team-b", b"f" * 16))
    before = repo.values()
    loose = "policy: {prune: scope, adopt: always, guard: {max_deletes: 1000000, max_delete_pct: 100}}\n"
    for keys in ({"wanted": 1}, {}):
        repo.want(keys, loose)
        report = await repo.apply()
        assert repo.values() == before
        assert all(one.plan.problems for one in report.targets)
