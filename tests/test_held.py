"""Targets whose files cannot be used keep their last good state: nothing runs out there, and nothing else is touched."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from kvsync.app import Workspace
from kvsync.app.reconciler import WorkspaceReconciler
from kvsync.daemon.ports import PassRequest
from kvsync.model.entry import Target
from tests.support.command import Repository
from tests.support.memory_repository import MemoryRepository, is_clean, only, outcomes, refused, reported, rows
from tests.support.stores import KINDS

WEB = Target("main", "web")
HOUR = 3600
GOOD = {"a": "{value: x, ttl: 3h}", "b": 1, "c": 1, "d": "{value: x, ttl: 3h}"}
BROKEN = {
    "a reference": "store: main\nnamespace: web\nkeys: {b: 2, new: 1, e: {env: NOT_SET}}\n",
    "the end": "store: main\nnamespace: web\nkeys: {a: [\n",
    "its names": "just text\n",
    "the file": None,
}
"""State files that cannot be used, by what is wrong with them; None: there is none any more."""


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MemoryRepository:
    return MemoryRepository(tmp_path, monkeypatch)


def spoil(repo: MemoryRepository, what: str = "a reference") -> None:
    text = BROKEN[what]
    if text is None:
        (repo.root / "state" / "web.yaml").unlink()
    else:
        repo.state(text)


async def do_pass(workspace: Workspace) -> dict[str, str]:
    """Plan and apply as the daemon does, and return what became of each entry."""
    return outcomes(await workspace.apply(await workspace.plan(), command="run"))


@pytest.mark.parametrize("what", BROKEN)
@pytest.mark.parametrize("kind", sorted(KINDS))
async def test_only_renewals_are_done_while_files_are_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, what: str
) -> None:
    """What was read before the file broke is renewed in time; drift, losses and lost keys wait until the file is mended."""
    repo = MemoryRepository(tmp_path, monkeypatch, kind)
    await repo.settle(GOOD)
    async with repo.open("run") as workspace:
        workspace.load()
        spoil(repo, what)
        repo.server.write("web", "b", b"theirs", mark=None)
        repo.server.delete("web", "c")
        repo.edit("d", "theirs")
        repo.clock.advance(2 * HOUR + 1)
        plan = only((await workspace.plan()).targets)
        assert ("renew", "expiring", "a") in rows(plan)
        assert {action for action, _, _ in rows(plan)} == {"renew"}
        assert (refused(plan), reported(plan), plan.parked) == ([], [], ())
        assert plan.problems
        assert plan.cost.requests
        done = await do_pass(workspace)
        # A listing that carries fingerprints shows d as it was; a look before the write shows that it is not.
        assert done == ({"a": "applied", "d": "conflict"} if kind == "memory-edge" else {"a": "applied"})
        assert repo.values() == {"a": "x", "b": "theirs", "d": "theirs"}
        repo.clock.advance(HOUR - 60)
        assert await do_pass(workspace) == {}
        repo.clock.advance(HOUR + 61)
        assert await do_pass(workspace) == {"a": "applied"}


async def test_nothing_is_asked_of_the_store_where_no_good_state_is_known(repo: MemoryRepository) -> None:
    """A process that never saw the files without problems leaves the target alone."""
    await repo.settle(GOOD)
    spoil(repo)
    repo.clock.advance(2 * HOUR + 1)
    assert outcomes(await repo.apply()) == {}
    assert repo.server.calls == []


async def test_what_left_the_files_is_not_renewed(repo: MemoryRepository) -> None:
    """A target that no file named when all files were good is not managed, whatever breaks afterwards."""
    await repo.settle(GOOD)
    async with repo.open("run") as workspace:
        workspace.load()
        repo.state("store: main\nnamespace: api\nkeys: {a: 1}\n", "api.yaml")
        (repo.root / "state" / "web.yaml").unlink()
        workspace.load()
        repo.state("just text\n", "more.yaml")
        repo.clock.advance(2 * HOUR + 1)
        assert [one.target.namespace for one in (await workspace.plan()).targets] == ["api"]


async def test_a_mended_file_is_applied_whole(repo: MemoryRepository) -> None:
    """What waited while the file was broken is done once it is as it was before: nothing was taken for seen to."""
    await repo.settle(GOOD)
    async with repo.open("run") as workspace:
        workspace.load()
        spoil(repo)
        repo.server.delete("web", "c")
        await do_pass(workspace)
        repo.want(GOOD)
        assert await do_pass(workspace) == {"c": "applied"}


async def test_a_plan_that_waits_for_approval_still_waits(repo: MemoryRepository) -> None:
    """Renewals of a held target neither need an approval nor use one up."""
    entries = {f"k{n}": 1 for n in range(12)}
    await repo.settle({"a": GOOD["a"], **entries})
    async with repo.open("run") as workspace:
        repo.want({"a": GOOD["a"]})
        parked = only((await workspace.plan()).targets)
        assert parked.parked
        workspace.state.parked.approve(parked.digest, repo.clock.now())
        spoil(repo)
        repo.clock.advance(2 * HOUR + 1)
        assert await do_pass(workspace) == {"a": "applied"}
        assert repo.values().keys() == {"a", *entries}
        assert workspace.state.parked.approved(WEB, parked.digest)


@pytest.mark.parametrize("what", BROKEN)
async def test_the_daemon_learns_when_to_renew_and_what_is_wrong(repo: MemoryRepository, what: str) -> None:
    """A pass over a held target is an error that says where, and still names the moment of the next renewal."""
    await repo.settle(GOOD)
    async with repo.open("run") as workspace:
        reconciler = WorkspaceReconciler(workspace, workspace.pass_context, {})
        await reconciler.load()
        spoil(repo, what)
        await reconciler.load()
        first = await reconciler.reconcile(PassRequest(WEB), lambda: False)
        assert first.next_moment is not None
        repo.clock.advance(first.next_moment + 1 - repo.clock.now())
        files_loaded = await reconciler.reconcile(PassRequest(WEB, apply=False), lambda: False)
        then = await reconciler.reconcile(PassRequest(WEB), lambda: False)
    assert "state" in str(first.error)
    assert (first.unavailable, first.retryable, first.pending) == (False, False, 0)
    assert (files_loaded.pending, files_loaded.changes) == (2, {})
    assert (then.changes["applied"], then.pending) == (2, 0)
    assert then.next_moment is not None
    assert then.next_moment > first.next_moment


async def test_a_reload_forgets_no_good_state(repo: MemoryRepository) -> None:
    """A configuration that is read again while a file is broken goes on with the renewals, unless the policy is another."""
    await repo.settle({"a": GOOD["a"], "b": 1})
    async with repo.open("run") as workspace:
        reconciler = WorkspaceReconciler(workspace, workspace.pass_context, {})
        await reconciler.load()
        spoil(repo)
        repo.configure(more="# another line\n")
        await reconciler.reload_config()
        repo.clock.advance(2 * HOUR + 1)
        assert (await reconciler.reconcile(PassRequest(WEB), lambda: False)).changes["applied"] == 1
        repo.configure("{ignore: [a]}")
        await reconciler.reload_config()
        repo.clock.advance(2 * HOUR + 1)
        assert (await reconciler.reconcile(PassRequest(WEB), lambda: False)).changes["applied"] == 0


async def test_the_mended_repository_is_clean(repo: MemoryRepository) -> None:
    """After a time with broken files the next good pass has nothing to do when nothing changed."""
    await repo.settle(GOOD)
    async with repo.open("run") as workspace:
        workspace.load()
        spoil(repo)
        repo.clock.advance(2 * HOUR + 1)
        assert await do_pass(workspace) == {"a": "applied", "d": "applied"}
    repo.want(GOOD)
    report = await repo.apply()
    assert is_clean(report)
    assert outcomes(report) == {}


def test_a_running_daemon_renews_while_the_file_stays_broken(tmp_path: Path) -> None:
    """Broken by an edit, the file is reported with its place, and an entry with a short TTL lives on well beyond its end."""
    repository = Repository(tmp_path)
    repository.want("  a: {value: x, ttl: 300s, renew_before: 299s}\n  b: 1\n")
    command = [sys.executable, "-m", "kvsync", "--log-format", "json", "run"]
    process = subprocess.Popen(
        command, cwd=tmp_path, env=repository.environment(), stderr=subprocess.PIPE, text=True, bufsize=1
    )
    try:
        read_until(process, "pass.finished")
        repository.want("  b: 2\n  c: {env: NOT_SET}\n")
        assert read_until(process, "source.invalid")["line"] == 5
        began = expires_at(repository)
        deadline = time.monotonic() + 60
        while expires_at(repository) < began + 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 0
    assert repository.values() == {"a": "x", "b": "1"}


def read_until(process: subprocess.Popen[str], event: str) -> dict[str, object]:
    assert process.stderr is not None
    for line in process.stderr:
        said: dict[str, object] = json.loads(line)
        if said["event"] == event:
            return said
    raise AssertionError(f"the daemon ended without {event}")


def expires_at(repository: Repository) -> float:
    with closing(sqlite3.connect(repository.root / "store.db")) as connection:
        return float(connection.execute("SELECT expires_at FROM entries WHERE key = 'a'").fetchone()[0])
