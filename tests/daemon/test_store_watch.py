"""Passes because another program changed something in a store: in virtual time, and with a real etcd."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from pathlib import Path
from random import Random

import pytest

from kvsync.daemon.store_watch import MIN_GAP, StoreWatcher
from kvsync.errors import TransientError
from kvsync.model.entry import Target
from tests.daemon.support import A, B, C, Log, ManualClock, turns
from tests.leader.support import Replica
from tests.support.etcd import running_members


class FakeStores:
    """Stores that report changes when told to."""

    def __init__(self, *names: str) -> None:
        self.names = names
        self.watching: dict[str, tuple[frozenset[str], Callable[[str], None]]] = {}
        self.began: list[str] = []
        self.fails = asyncio.Event()

    def watched_stores(self) -> Collection[str]:
        return self.names

    async def watch_store(self, store: str, namespaces: Collection[str], changed: Callable[[str], None]) -> None:
        self.began.append(store)
        self.watching[store] = frozenset(namespaces), changed
        await self.fails.wait()
        raise TransientError("edge: the stream ended")

    def change(self, target: Target) -> None:
        """Report a change in a target."""
        self.watching[target.store][1](target.namespace)


class WatcherSetup:
    """A watcher of stores, and what it reported."""

    def __init__(self, *names: str) -> None:
        self.clock, self.stores = ManualClock(), FakeStores(*names)
        self.reported: list[Target] = []
        self.watcher = StoreWatcher(self.stores, self.clock, Random(1), self.reported.append)


async def test_stores_that_report_changes_are_watched() -> None:
    """Each is watched once, with the namespaces of its targets, and again only when these change or the configuration does."""
    setup = WatcherSetup("edge")
    setup.watcher.use([A, B, C])
    await turns()
    assert setup.stores.watching.keys() == {"edge"}
    assert setup.stores.watching["edge"][0] == {"a", "b"}
    setup.watcher.use([B, A, C])
    await turns()
    assert setup.stores.began == ["edge"]
    setup.watcher.use([A, C])
    await turns()
    assert setup.stores.watching["edge"][0] == {"a"}
    setup.watcher.use([A, C], restart=True)
    await turns()
    assert setup.stores.began == ["edge"] * 3
    await setup.watcher.aclose()


async def test_a_busy_target_is_reported_once_a_gap() -> None:
    """The first change is reported at once, those that follow together, and none is lost; other targets do not wait."""
    setup = WatcherSetup("edge")
    setup.watcher.use([A, B])
    await turns()
    for _ in range(100):
        setup.stores.change(A)
    setup.stores.change(B)
    assert setup.reported == [A, B]
    await setup.clock.advance(MIN_GAP)
    assert setup.reported == [A, B, A]
    await setup.clock.advance(10 * MIN_GAP)
    assert setup.reported == [A, B, A]
    await setup.watcher.aclose()


async def test_a_watch_that_ends_is_begun_again(log: Log) -> None:
    """A store that cannot be watched is tried again, ever less often, and named in the log once."""
    setup = WatcherSetup("edge")
    setup.stores.fails.set()
    setup.watcher.use([A])
    await setup.clock.advance(3_600)
    assert 5 < len(setup.stores.began) < 100
    assert [event["store"] for event in log.events("store.unwatched")] == ["edge"]
    await setup.watcher.aclose()


@pytest.mark.system
def test_the_daemon_heals_at_once_what_others_change_in_etcd(tmp_path: Path) -> None:
    """With hours between two scheduled passes, drift is seen and healed; the daemon's own writes cause no pass."""
    with running_members(tmp_path) as (member,):
        config = f"""\
version: 1
owner: team-a
state: ["state/*.yaml"]
policy: {{prune: owned, guard: {{max_update_pct: 100}}}}
stores:
  core: {{type: etcd, endpoints: [{member.url}]}}
run: {{every: 5h}}
"""
        daemon = Replica(tmp_path / "daemon", config)
        daemon.want("store: core\nnamespace: web\nkeys: {greeting: Hello, other: x}\n")
        daemon.start()
        try:
            daemon.heard("daemon.ready")
            member.put("web/greeting", "changed by hand")
            assert daemon.heard("drift.detected")["key"] == "greeting"
            assert daemon.heard("change.applied", 3)["class"] == "drifted"
            assert member.value("web/greeting") == b"Hello"
            passes = [event["trigger"] for event in daemon.events("pass.finished")]
            assert passes.count("store") <= 1
        finally:
            daemon.end()
