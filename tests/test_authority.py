"""Promise 10: nobody who can only change state files can loosen a guard, read what they were not granted, or reach a target."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvsync.model.entry import Mark
from tests.support.stores import KINDS
from tests.support.world import World


@pytest.fixture(params=sorted(KINDS))
def world(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch, request.param)


async def test_no_line_of_a_state_file_reaches_further(world: World) -> None:
    """On every kind of remote: a file that asks for a looser policy, in any way, changes nothing in the store."""
    world.configure("{adopt: never, guard: {max_deletes: 1}}")
    await world.settle({"a": 1, "b": 1, "c": 1})
    for key in ("theirs", "wanted"):
        world.server.write("web", key, b"theirs")
    if KINDS[world.kind].capabilities.marks == "store":
        world.server.write("web", "team-b", b"theirs", mark=Mark("team-b", b"f" * 16))
    before = world.values()
    loose = "policy: {prune: scope, adopt: always, guard: {max_deletes: 1000000, max_delete_pct: 100}}\n"
    for keys in ({"wanted": 1}, {}):
        world.want(keys, loose)
        report = await world.apply()
        assert world.values() == before
        assert all(one.plan.problems for one in report.targets)
