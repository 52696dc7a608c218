"""A `kvsync.yaml` that changes while the daemon runs: it and the state files are used together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from kvsync.app.config_watch import LONGEST_HOLD, ConfigCheck, ConfigWatch
from kvsync.app.configuration import read_config
from kvsync.app.reconciler import WorkspaceReconciler
from kvsync.daemon.ports import PassRequest
from kvsync.errors import InvalidInput
from kvsync.model.entry import Target
from tests.support.exhaustion import no_descriptors_left
from tests.support.memory_repository import MemoryRepository

WEB = Target("main", "web")
REST = 0.3
HOUR = 3600


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MemoryRepository:
    return MemoryRepository(tmp_path, monkeypatch)


@asynccontextmanager
async def following(repo: MemoryRepository) -> AsyncIterator[WorkspaceReconciler]:
    """A reconciler as the daemon has it, which has looked at the files once."""
    async with repo.open("run") as workspace:
        reconciler = WorkspaceReconciler(workspace, workspace.pass_context, {})
        reconciler.follow_files()
        await reconciler.load()
        yield reconciler
        await reconciler.aclose()


async def look(repo: MemoryRepository, reconciler: WorkspaceReconciler, after: float = 0) -> bool:
    """What the daemon does when something may have changed. Returns whether another configuration is in force."""
    repo.clock.advance(after)
    is_new = await reconciler.config_changed()
    if is_new:
        await reconciler.reload_config()
    await reconciler.load()
    return is_new


async def test_policy_and_keys_change_together(repo: MemoryRepository) -> None:
    """A commit that keeps deletes from happening and takes a key out deletes nothing, whichever file is written first."""
    await repo.settle({"a": 1, "b": 1})
    async with following(repo) as reconciler:
        repo.want({"a": 1})
        repo.configure("{prune: off}")
        assert not await look(repo, reconciler)
        held = await reconciler.reconcile(PassRequest(WEB), lambda: False)
        assert (held.pending, sum(held.changes.values())) == (0, 0)
        assert await look(repo, reconciler, after=REST)
        assert (await reconciler.reconcile(PassRequest(WEB), lambda: False)).ok
    assert repo.values() == {"a": "1", "b": "1"}


async def test_a_configuration_waits_for_state_files_that_move_but_not_forever(repo: MemoryRepository) -> None:
    """A new configuration is used when the state files have rested too, or after a while."""
    await repo.settle({"a": 1})
    async with following(repo) as reconciler:
        repo.configure("{prune: off}")
        await look(repo, reconciler)
        number, began = 10, repo.clock.now()
        repo.want({"a": number})
        while not await look(repo, reconciler, after=REST):
            number += 1
            repo.want({"a": number})
            assert number < 100
        assert number > 13
        assert repo.clock.now() - began < LONGEST_HOLD + 2


@pytest.mark.parametrize("mended", ["taken back", "fixed"])
async def test_a_broken_configuration_holds_every_target_until_it_is_mended(
    repo: MemoryRepository, mended: str
) -> None:
    """The old configuration stays in force, lifetimes are renewed, and nothing else is done."""
    good = {"a": "{value: x, ttl: 3h}", "b": 1}
    await repo.settle(good)
    file = repo.root / "kvsync.yaml"
    before = file.read_bytes()
    async with following(repo) as reconciler:
        file.write_bytes(before + b"\nnonsense: 1\n")
        repo.want({"a": "{value: y, ttl: 3h}", "c": 1})
        await look(repo, reconciler)
        with pytest.raises(InvalidInput, match="nonsense"):
            await look(repo, reconciler, after=REST)
        assert not await look(repo, reconciler)
        loaded = await reconciler.load()
        assert "kvsync.yaml" in str(loaded.hold_all[0])
        assert loaded.problems == ()
        repo.clock.advance(2 * HOUR + 60)
        result = await reconciler.reconcile(PassRequest(WEB), lambda: False)
        assert "nonsense" in str(result.error)
        assert result.changes["applied"] == 1
        assert repo.values() == {"a": "x", "b": "1"}
        file.write_bytes(before if mended == "taken back" else before + b"# ok\n")
        await look(repo, reconciler)
        await look(repo, reconciler, after=REST)
        assert (await reconciler.load()).hold_all == ()
        assert (await reconciler.reconcile(PassRequest(WEB), lambda: False)).error is None
    assert repo.values()["a"] == "y"


async def test_a_configuration_that_is_gone_holds_every_target(repo: MemoryRepository) -> None:
    """A kvsync.yaml that is deleted is not a configuration without stores."""
    await repo.settle({"a": 1})
    async with following(repo) as reconciler:
        (repo.root / "kvsync.yaml").unlink()
        repo.want({"a": 2})
        assert not await look(repo, reconciler)
        with pytest.raises(InvalidInput, match="no such configuration file"):
            await look(repo, reconciler, after=REST)
        await reconciler.load()
        result = await reconciler.reconcile(PassRequest(WEB), lambda: False)
        assert result.error is not None
    assert repo.values() == {"a": "1"}


async def test_a_configuration_that_cannot_be_read_for_a_moment_is_not_broken(repo: MemoryRepository) -> None:
    """Too many open files say nothing of the configuration: nothing is held for it."""
    await repo.settle({"a": 1})
    watch = ConfigWatch(read_config(repo.root / "kvsync.yaml", environ={}), repo.clock)
    with no_descriptors_left():
        assert watch.check() == ConfigCheck()
        repo.clock.advance(REST)
        assert watch.check() == ConfigCheck()


async def test_reload_manual_waits_for_the_signal(repo: MemoryRepository) -> None:
    """With `run.reload: manual` a change on disk means nothing until it is asked for, and a broken one holds nothing."""
    repo.configure(more="run: {reload: manual}\n")
    await repo.settle({"a": 1})
    file = repo.root / "kvsync.yaml"
    async with following(repo) as reconciler:
        file.write_bytes(file.read_bytes() + b"\nnonsense: 1\n")
        await look(repo, reconciler)
        assert not await look(repo, reconciler, after=REST)
        with pytest.raises(InvalidInput):
            await reconciler.reload_config()
        assert (await reconciler.load()).hold_all == ()


async def test_an_environment_that_changes_needs_a_restart(repo: MemoryRepository) -> None:
    """The environment in force is shown in many places; it does not change under them."""
    await repo.settle({"a": 1})
    async with following(repo) as reconciler:
        repo.configure(more="environments: [dev, prod]\nenvironment: prod\n")
        await look(repo, reconciler)
        with pytest.raises(InvalidInput, match="environment cannot change"):
            await look(repo, reconciler, after=REST)


async def test_an_overlay_that_appears_is_loaded_like_the_configuration(repo: MemoryRepository) -> None:
    """The overlay of the environment in force is watched, also while there is none, and a broken one holds every target."""
    repo.configure(more="environments: [dev, prod]\nenvironment: prod\n")
    await repo.settle({"a": 1, "b": 1})
    overlay, other = (repo.root / f"kvsync.{name}.yaml" for name in ("prod", "dev"))
    async with following(repo) as reconciler:
        other.write_text("nonsense: 1\n")
        overlay.write_text("policy: {prune: off}\n")
        repo.want({"a": 1})
        await look(repo, reconciler)
        assert await look(repo, reconciler, after=REST)
        assert (await reconciler.reconcile(PassRequest(WEB), lambda: False)).ok
        assert repo.values() == {"a": "1", "b": "1"}
        overlay.write_text("nonsense: 1\n")
        await look(repo, reconciler)
        with pytest.raises(InvalidInput, match="nonsense"):
            await look(repo, reconciler, after=REST)
        assert "kvsync.prod.yaml" in str((await reconciler.load()).hold_all[0])
