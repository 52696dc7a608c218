"""`explain`: what it asks the stores for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from kvsync.app.explain import EntryExplanation, explain
from tests.support.stores import KINDS
from tests.support.world import World, only


@pytest.fixture(params=sorted(KINDS))
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> World:
    return World(tmp_path, monkeypatch, request.param)


async def explained(world: World, key: str) -> Sequence[EntryExplanation]:
    """The explanations of a key, as a command of its own."""
    world.server.calls.clear()
    async with world.open(writing=None) as workspace:
        return await explain(workspace, workspace.load(), key)


def held(one: EntryExplanation) -> bytes | None:
    """The value that the store holds, as explained."""
    return one.actual.content.value if one.actual is not None and one.actual.content is not None else None


async def test_each_target_is_listed_once(world: World) -> None:
    """An equal entry, a drifted one and one that no file names are each explained with one listing of the target, and the
    value is read once where the listing does not carry it."""
    await world.settle({"equal": 1, "drifted": 1})
    world.edit("drifted", "by hand")
    world.server.write("web", "foreign", b"x")
    for key, value in (("equal", b"1"), ("drifted", b"by hand"), ("foreign", b"x")):
        assert held(only(await explained(world, key))) == value
        assert world.server.count("listing") == 1
        read = [name for call in world.server.calls if call.method == "lookup" for name in call.keys]
        assert read.count(key) == (0 if KINDS[world.kind].capabilities.values_in_listing else 1)


async def test_a_target_whose_files_have_problems_is_listed_once(world: World) -> None:
    """Where the files cannot be read, nothing is planned, and the entry in the store is explained all the same."""
    world.server.write("web", "foreign", b"x")
    world.state("store: main\nnamespace: web\nkeys: {a: 1, a: 2}\n")
    one = only(await explained(world, "foreign"))
    assert held(one) == b"x"
    assert any("duplicate" in sentence or "twice" in sentence for sentence in one.why)
    assert world.server.count("listing") == 1
