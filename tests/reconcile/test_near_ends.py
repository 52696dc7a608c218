"""Entries that are about to end: nothing is tried that the store would refuse, and so nothing is quarantined for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvsync.app.release import plan_release
from kvsync.model.pass_options import PassOptions
from kvsync.model.policy import Adopt
from tests.support.memory_repository import MemoryRepository, refused, rows

SHORTEST = 60
"""Seconds below which the store of these tests accepts no lifetime."""


async def ending(folder: Path, patch: pytest.MonkeyPatch) -> tuple[MemoryRepository, int]:
    """A repository that asks for an entry which ends in 50 seconds, and the moment of that."""
    found = MemoryRepository(folder, patch, "memory-edge")
    end = int(found.clock.now()) + SHORTEST - 10
    found.want({"soon": f"{{value: x, expires_at: {end}}}".replace(str(end), _moment(end)), "stays": "y"})
    return found, end


def _moment(epoch: int) -> str:
    from kvsync.rendering.words import moment

    return moment(epoch)


async def test_an_entry_about_to_end_is_not_adopted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused with the reason instead of failing and being quarantined, and forgotten once it has ended."""
    found, end = await ending(tmp_path, monkeypatch)
    found.server.write("web", "soon", b"x", expires_at=float(end))
    found.server.write("web", "stays", b"y")
    plan = await found.plan(PassOptions(deep=True, adopt=Adopt.IF_EQUAL), writing="test")
    assert refused(plan) == [("adopt", "unowned", "soon")]
    assert "it expires in less than 60 s" in plan.refused[0].reason
    await found.apply()
    async with found.open(None) as workspace:
        assert [workspace.state.quarantine.all(one.place) for one in workspace.state.places.all().values()] == [{}]
    found.clock.advance(SHORTEST)
    plan = await found.plan(writing="test")
    assert (rows(plan), refused(plan)) == ([], [])


async def test_an_entry_about_to_end_is_not_created(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no way to write it any more, and the plan says so, until it has ended or the files give it more time."""
    found, _ = await ending(tmp_path, monkeypatch)
    plan = await found.plan(writing="test")
    assert (rows(plan), refused(plan)) == ([("create", "new", "stays")], [("create", "new", "soon")])
    assert "it expires in less than 60 s" in plan.refused[0].reason
    found.want({"soon": "x", "stays": "y"})
    assert rows(await found.plan(writing="test")) == [("create", "new", "soon"), ("create", "new", "stays")]


async def test_an_entry_about_to_end_is_not_released(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its mark ends with it."""
    found = MemoryRepository(tmp_path, monkeypatch, "memory-edge")
    await found.settle({"soon": "{value: x, ttl: 3m}", "stays": "y"})
    found.clock.advance(SHORTEST + 10)
    async with found.open(None) as workspace:
        (plan,) = (await plan_release(workspace, workspace.load(), ["main/web"], ())).targets
    assert rows(plan) == [("release", "unowned", "stays")]
    assert refused(plan) == [("release", "unowned", "soon")]
