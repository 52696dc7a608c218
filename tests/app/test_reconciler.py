"""What the daemon drives: passes over real files and stores, one target at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kvsync.app import pass_log
from kvsync.app.reconciler import WorkspaceReconciler
from kvsync.daemon.ports import PassRequest
from kvsync.errors import InvalidInput, PermanentError, TransientError
from kvsync.model.entry import Target
from kvsync.model.place import Place
from kvsync.model.result import PassResult
from kvsync.rendering.words import moment
from kvsync.stores.base import WriteStatus
from kvsync.stores.memory.store import _SHARED, MemoryStore
from kvsync.testing import MemoryServer
from tests.support.memory_repository import MemoryRepository, is_clean

WEB = Target("main", "web")


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MemoryRepository:
    return MemoryRepository(tmp_path, monkeypatch)


@asynccontextmanager
async def reconciling(repo: MemoryRepository, writing: str | None = "run") -> AsyncIterator[WorkspaceReconciler]:
    async with repo.open(writing) as workspace:
        yield WorkspaceReconciler(workspace, workspace.pass_context, {})


async def reconcile(reconciler: WorkspaceReconciler, target: Target = WEB, **request: Any) -> PassResult:
    """Look at the files, then do one pass."""
    await reconciler.load()
    return await reconciler.reconcile(PassRequest(target, **request), lambda: False)


async def test_a_pass_applies_and_tells_what_became_of_it(repo: MemoryRepository) -> None:
    """A pass brings the target to the files' state, counts outcomes, and has nothing left to do the next time."""
    repo.want({"a": 1, "b": "{value: x, ttl: 3h}"})
    async with reconciling(repo) as reconciler:
        first = await reconcile(reconciler)
        second = await reconcile(reconciler)
    assert first.ok
    assert (first.changes["applied"], first.pending) == (2, 0)
    assert (sum(second.changes.values()), second.pending) == (0, 0)
    assert second.next_moment == repo.clock.now() + 2 * 3600
    assert repo.values() == {"a": "1", "b": "x"}


async def test_a_pass_that_may_not_apply_only_looks(repo: MemoryRepository) -> None:
    """While observing, paused or in a window the pass tells what is pending and writes nothing."""
    await repo.settle({"a": 1, "b": 1})
    repo.edit("a", "theirs")
    repo.want({"a": 1, "b": 2})
    async with reconciling(repo) as reconciler:
        result = await reconcile(reconciler, apply=False)
    assert result.ok
    assert (result.pending, dict(result.drift)) == (2, {"drifted": 1})
    assert repo.writes() == 0


async def test_a_parked_target_waits_and_is_released(repo: MemoryRepository) -> None:
    """A parked plan is reported with its digest and reasons; once it is approved the next pass applies it."""
    await repo.settle({f"k{n}": 1 for n in range(12)})
    repo.want({"k0": 1})
    async with reconciling(repo) as reconciler:
        held = await reconcile(reconciler)
        assert held.parked
        assert held.pending == 11
        async with repo.open(writing=None) as other:
            other.state.parked.approve(held.digest, repo.clock.now())
        done = await reconcile(reconciler)
    assert done.parked == ()
    assert done.changes["applied"] == 11
    assert repo.values() == {"k0": "1"}


async def test_a_refusal_that_stays_is_logged_once(repo: MemoryRepository, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also next to other changes that are applied; it is logged again once it was over, and if its reason changes."""
    events = PassEvents(monkeypatch)
    await repo.settle({"a": 1})
    repo.server.write("web", "theirs", b"x")
    repo.want({"a": 1, "theirs": 1})
    async with reconciling(repo) as reconciler:
        await reconcile(reconciler)
        repo.edit("a", "drift")
        for _ in range(2):
            await reconcile(reconciler)
        assert events.refused == ["theirs"]
        repo.want({"a": 1})
        await reconcile(reconciler)
        repo.want({"a": 1, "theirs": 1})
        await reconcile(reconciler)
        assert events.refused == ["theirs"] * 2


class PassEvents:
    """Keys of the entries that a daemon's passes logged as refused."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.refused: list[str] = []
        patch.setattr(pass_log, "_log", self)

    def warning(self, event: str, **fields: Any) -> None:
        """Remember the key of a refused entry."""
        if event == "change.refused":
            self.refused.append(fields["key"])

    info = error = warning

    def is_enabled(self, _level: str) -> bool:
        """True, so that everything is logged."""
        return True


async def test_a_pause_is_seen_at_once(repo: MemoryRepository) -> None:
    """A pause of a target or its store, set by another process, is known before the next pass."""
    repo.want({"a": 1})
    async with reconciling(repo) as reconciler, repo.open(writing=None) as other:
        assert not reconciler.is_paused(WEB)
        other.state.pauses.pause("main", None, "a change freeze", repo.clock.now())
        assert reconciler.is_paused(WEB)
        elsewhere = Target("other", "web")
        assert reconciler.paused_among([WEB, elsewhere]) == {WEB}
        other.state.pauses.pause("other", "web", None, repo.clock.now())
        assert reconciler.paused_among([WEB, elsewhere]) == {WEB, elsewhere}


async def test_while_files_move_a_delete_waits(repo: MemoryRepository) -> None:
    """The daemon's grace keeps what a half-saved file dropped, and says when to look again."""
    await repo.settle({"a": 1, "b": 1})
    repo.want({"a": 1})
    async with reconciling(repo) as reconciler:
        result = await reconcile(reconciler, grace=1.0)
        assert repo.values() == {"a": "1", "b": "1"}
        assert result.next_moment == repo.clock.now() + 1
        repo.clock.advance(1)
        await reconcile(reconciler, grace=0)
    assert repo.values() == {"a": "1"}


async def test_a_broken_file_holds_its_target_and_says_where(repo: MemoryRepository) -> None:
    """A target whose file is broken keeps its state; the problem is in the load and in the pass."""
    await repo.settle({"a": 1})
    repo.state("store: main\nnamespace: web\nkeys: {a: [}\n")
    async with reconciling(repo) as reconciler:
        loaded = await reconciler.load()
        result = await reconcile(reconciler)
    assert WEB not in loaded.targets
    assert loaded.held.keys() == {WEB} or loaded.hold_all
    assert "state/web.yaml:3:" in str(result.error)
    assert not result.unavailable
    assert repo.values() == {"a": "1"}


@pytest.mark.parametrize(
    ("error", "retryable", "after"),
    [
        (TransientError("503", 7), True, 7),
        (TransientError("no route"), True, None),
        (PermanentError("403"), False, None),
    ],
)
async def test_a_store_that_cannot_be_reached_is_unavailable(
    repo: MemoryRepository, error: Exception, retryable: bool, after: float | None
) -> None:
    """The result says whether the store is the reason, whether trying again may help, and when."""
    repo.want({"a": 1})
    repo.server.fail(error)  # type: ignore[arg-type]
    async with reconciling(repo) as reconciler:
        result = await reconcile(reconciler)
    assert (result.error, result.unavailable, result.retryable, result.retry_after) == (
        str(error),
        True,
        retryable,
        after,
    )


async def test_a_place_that_changes_during_a_pass_is_not_an_outage(
    repo: MemoryRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is written, the next pass tries again, and the store does not count as unavailable."""
    repo.want({"a": 1})

    async def locate(store: MemoryStore, namespace: str, *, writing: bool = False) -> Place:
        place = store.place(namespace)
        return replace(place, parts=(*place.parts, ("id", "another"))) if writing else place

    monkeypatch.setattr(MemoryStore, "locate", locate, raising=False)
    async with reconciling(repo) as reconciler:
        result = await reconcile(reconciler)
    assert "changed its place after the plan was made" in (result.error or "")
    assert (result.unavailable, result.retryable) == (False, True)
    assert repo.values() == {}


async def test_entries_that_failed_are_worth_another_try(repo: MemoryRepository) -> None:
    """A pass with a failed entry asks for another one soon, which finds the entry in quarantine and knows until when."""
    repo.server.fail_entry("bad", WriteStatus.REJECTED)
    repo.want({"bad": 1, "good": 1})
    async with reconciling(repo) as reconciler:
        first = await reconcile(reconciler)
        second = await reconcile(reconciler)
    assert (first.failed, first.retryable) == (1, True)
    assert (second.failed, second.retryable, second.pending) == (0, False, 1)
    assert second.next_moment is not None


async def test_a_changed_file_ends_a_contention_in_a_daemon(repo: MemoryRepository) -> None:
    """A contended entry is counted as deferred, and applied in the first pass with the files that change it."""
    await repo.settle({"a": 1, "b": 1})
    async with reconciling(repo) as reconciler:
        for _ in range(3):
            repo.edit("a", "theirs")
            await reconcile(reconciler)
        repo.edit("a", "theirs")
        waits = await reconcile(reconciler)
        repo.want({"a": 2, "b": 1})
        await reconciler.load()
        done = await reconcile(reconciler)
    assert (waits.deferred, waits.pending, waits.drift) == (1, 1, {"drifted": 1})
    assert (done.deferred, done.pending, done.changes["applied"]) == (0, 0, 1)
    assert repo.held("a") == "2"


async def test_where_the_listing_is_late_the_daemon_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a write to a store that shows it late, the next look is due once the store can be believed."""
    repo = MemoryRepository(tmp_path, monkeypatch, "memory-edge")
    repo.want({"a": 1})
    async with reconciling(repo) as reconciler:
        assert (await reconcile(reconciler)).next_moment == repo.clock.now() + 60


async def test_a_new_configuration_is_used_from_the_next_pass_on(
    repo: MemoryRepository, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A reload brings new stores and policies, and passes that are under way end with what they began with."""
    other = MemoryServer(repo.clock)
    monkeypatch.setitem(_SHARED, "other", other)
    repo.want({"a": 1})
    async with reconciling(repo) as reconciler:
        await reconcile(reconciler)
        repo.configure("{prune: off}", stores="other: {type: memory, shared: other}\n", more="run: {every: 7m}")
        repo.state("store: other\nnamespace: web\nkeys: {x: 1}\n", "other.yaml")
        settings = await reconciler.reload_config()
        assert settings.every == 420
        result = await reconcile(reconciler, Target("other", "web"))
        assert result.ok
        repo.want({"b": 1})
        await reconcile(reconciler)
    assert len(other.contents("web")) == 1
    assert repo.values() == {"a": "1", "b": "1"}


@pytest.mark.parametrize(
    "broken",
    [
        "version: 1\nowner: team-a\n",
        "version: 1\nowner: somebody-else\nstate: [state/*.yaml]\npolicy: {prune: owned}\nstores: {main: {type: memory}}\n",
        "version: 1\nowner: team-a\nstate: [s]\nstate_dir: other\npolicy: {prune: owned}\nstores: {main: {type: memory}}\n",
        "{",
    ],
)
async def test_a_broken_configuration_changes_nothing(repo: MemoryRepository, broken: str) -> None:
    """A reload that fails says why and leaves the old configuration in force; owner and state_dir cannot change."""
    repo.want({"a": 1})
    async with reconciling(repo) as reconciler:
        (repo.root / "kvsync.yaml").write_text(broken)
        with pytest.raises(InvalidInput):
            await reconciler.reload_config()
        assert (await reconcile(reconciler)).changes["applied"] == 1
    assert repo.values() == {"a": "1"}


async def test_stopping_ends_a_pass_after_its_batch(repo: MemoryRepository) -> None:
    """A pass that should stop finishes what is in flight, counts the rest, and the next pass does it."""
    repo.kind = "memory-narrow"
    repo.configure()
    repo.want({f"k{n}": 1 for n in range(9)})
    async with reconciling(repo) as reconciler:
        await reconciler.load()
        result = await reconciler.reconcile(PassRequest(WEB), lambda: repo.server.count("change") > 0)
        assert (result.changes["applied"], result.pending) == (3, 6)
        assert (await reconcile(reconciler)).changes["applied"] == 6


async def test_a_daemon_that_only_observes_never_writes(repo: MemoryRepository) -> None:
    """A reading workspace under the reconciler reports, and its stores would refuse anything else."""
    repo.want({"a": 1})
    async with reconciling(repo, writing=None) as reconciler:
        assert (await reconcile(reconciler, apply=False)).pending == 1
    assert repo.writes() == 0
    assert is_clean(await repo.apply())


class TestRests:
    """A store that asks for a rest of a day: seen, and never waited for within a pass."""

    async def test_the_pass_ends_at_once_and_says_until_when(self, repo: MemoryRepository) -> None:
        """One call is turned away; nothing more is sent, and the result says until when the store rests."""
        repo.want(dict.fromkeys("abcdef", 1))
        async with reconciling(repo) as reconciler:
            repo.server.throttle(86_400, times=100, on=["change"])
            began = repo.clock.monotonic()
            result = await reconcile(reconciler)
        assert repo.clock.monotonic() == began
        assert (result.rest, result.retry_after) == (86_400, 900), "it is tried again after limits.rest"
        assert result.retryable
        assert result.error is not None
        assert f"resting until {moment(repo.clock.now() + 86_400)}" in result.error
        assert result.changes["failed"] + result.changes["not-attempted"] == 6

    async def test_a_pass_before_its_end_tries_at_once(self, repo: MemoryRepository) -> None:
        """The next pass, whoever asked for it, sends, and is answered."""
        repo.want({"a": 1})
        async with reconciling(repo) as reconciler:
            repo.server.throttle(86_400, on=["change"])
            await reconcile(reconciler)
            began = repo.clock.monotonic()
            result = await reconcile(reconciler)
        assert result.ok
        assert result.rest is None
        assert repo.clock.monotonic() == began
        assert repo.values() == {"a": "1"}

    @pytest.mark.parametrize(("asked", "waited", "again"), [(4, 8, None), (11, 0, 11), (300, 0, 60)])
    async def test_the_configuration_limits_every_wait(
        self, repo: MemoryRepository, asked: float, waited: float, again: float | None
    ) -> None:
        """A pass retries within `limits.retry_time`, and leaves a longer wait to the daemon, which ends it at `limits.rest`."""
        repo.configure(more="limits: {retry_time: 10s, rest: 1m}")
        repo.want({"a": 1})
        async with reconciling(repo) as reconciler:
            repo.server.throttle(asked, times=100, on=["change"])
            began = repo.clock.monotonic()
            result = await reconcile(reconciler)
        assert waited <= repo.clock.monotonic() - began <= 10
        assert (result.ok, result.retry_after) == (False, again)

    async def test_a_wait_of_millennia_is_a_mistake(self, repo: MemoryRepository) -> None:
        """It is not believed at all: the write is tried again after the usual pause, in the same pass."""
        repo.want({"a": 1})
        async with reconciling(repo) as reconciler:
            repo.server.throttle(99_999_999_999, on=["change"])
            result = await reconcile(reconciler)
        assert result.ok
        assert repo.values() == {"a": "1"}
