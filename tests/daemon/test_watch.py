"""The watcher, on real directories: what changes is seen, however it changes."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from watchfiles._rust_notify import RustNotify, WatchfilesRustInternalError

from kvsync.daemon.watch import Watcher, WatchTiming, own_paths
from kvsync.daemon.watch_plan import plan_watches
from tests.daemon.support import BOUND, Log, until

NEVER = WatchTiming(scan=3600)


class WatchReports:
    """What a watcher reported, since the last time someone asked."""

    def __init__(self) -> None:
        self.reports: list[frozenset[Path]] = []
        self.touched: list[frozenset[Path] | None] = []

    def __call__(self, directories: frozenset[Path], touched: frozenset[Path] | None) -> None:
        self.reports.append(directories)
        self.touched.append(touched)

    async def directory(self, wanted: Path) -> None:
        """Wait until something in this directory was reported, and forget what was."""
        await until(lambda: any(wanted in report for report in self.reports))
        self.reports.clear()


@asynccontextmanager
async def watching(*directories: Path, pace: WatchTiming = NEVER) -> AsyncIterator[tuple[Watcher, WatchReports]]:
    seen = WatchReports()
    watcher = Watcher(seen, pace)
    watcher.arm(directories)
    task = asyncio.create_task(watcher.run())
    try:
        if directories:
            await seen.directory(directories[0])  # what was armed is reported once
        yield watcher, seen
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_an_edit_is_seen(tmp_path: Path) -> None:
    """A file that is written, renamed over or removed is a change of its directory."""
    async with watching(tmp_path) as (_, seen):
        (tmp_path / "web.yaml").write_text("a")
        await seen.directory(tmp_path)
        (tmp_path / ".web.swp").write_text("b")
        (tmp_path / ".web.swp").rename(tmp_path / "web.yaml")
        await seen.directory(tmp_path)
        (tmp_path / "web.yaml").unlink()
        await seen.directory(tmp_path)


async def test_the_paths_that_events_name_are_reported(tmp_path: Path) -> None:
    """By their real path; None where anything may have changed: when directories were just armed, and now and then."""
    real, link = tmp_path / "real", tmp_path / "link"
    real.mkdir()
    link.symlink_to("real")
    async with watching(link) as (_, seen):
        assert seen.touched == [None]
        (real / "web.yaml").write_text("a")
        await seen.directory(link)
        [paths] = seen.touched[1:]
        assert paths is not None
        assert [(path.parent.name, path.name) for path in paths] == [("real", "web.yaml")]
    async with watching(tmp_path, pace=WatchTiming(scan=0.05)) as (_, seen):
        await seen.directory(tmp_path)
        assert set(seen.touched) == {None}


async def test_only_the_directory_concerned_is_reported(tmp_path: Path) -> None:
    """A change in one directory is not reported for another."""
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    async with watching(one, two) as (_, seen):
        (one / "web.yaml").write_text("a")
        await until(lambda: seen.reports)
        assert seen.reports == [frozenset({one})]


async def test_own_writes_wake_nobody(tmp_path: Path) -> None:
    """What kvsync writes next to the files is not a change, even through a link on the way, and a change next to it is one."""
    real, link = tmp_path / "real", tmp_path / "link"
    real.mkdir()
    link.symlink_to("real")
    async with watching(link) as (watcher, seen):
        watcher.arm([link], own_paths([link / "store.db"]))
        for number in range(20):
            (real / "store.db").write_text(str(number))
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)
        assert seen.reports == []
        (real / "web.yaml").write_text("a")
        await seen.directory(link)


async def test_own_writes_do_not_put_off_the_safety_scan(tmp_path: Path) -> None:
    """Everything is looked at now and then, however often a file changes that means nothing."""
    async with watching(tmp_path, pace=WatchTiming(scan=0.2)) as (watcher, seen):
        watcher.arm([tmp_path], own_paths([tmp_path / "store.db"]))
        async with asyncio.timeout(BOUND):
            while len(seen.reports) < 2:
                (tmp_path / "store.db").write_text("x")
                await asyncio.sleep(0.01)


async def test_a_burst_is_few_reports(tmp_path: Path) -> None:
    """A thousand files written at once are a handful of reports, not a thousand."""
    async with watching(tmp_path, pace=WatchTiming(scan=3600, longest=60)) as (_, seen):
        await asyncio.to_thread(_write_many, tmp_path, 1000)
        await until(lambda: seen.reports)
        (tmp_path / "last").write_text("")
        await until(lambda: len(list(tmp_path.iterdir())) == 1001)
        assert len(seen.reports) < 20


def _write_many(directory: Path, count: int) -> None:
    for number in range(count):
        (directory / f"{number}.yaml").write_text(str(number))


async def test_a_stream_of_changes_is_reported_while_it_lasts(tmp_path: Path) -> None:
    """Changes that never pause are reported all the same, at the latest after `longest`."""
    async with watching(tmp_path, pace=WatchTiming(scan=3600, quiet=30, longest=0.2)) as (_, seen):
        stream = await asyncio.create_subprocess_exec(
            sys.executable, "-c", "import sys\nwhile True: open(sys.argv[1], 'a').write('x')", str(tmp_path / "busy")
        )
        try:
            await seen.directory(tmp_path)
            await seen.directory(tmp_path)
        finally:
            stream.kill()
            await stream.wait()


async def test_a_configmap_update_is_seen(tmp_path: Path) -> None:
    """The swap of `..data` is seen, although no file of the directory itself is touched."""
    for version in ("..v1", "..v2"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "web.yaml").write_text(version)
    (tmp_path / "..data").symlink_to("..v1")
    (tmp_path / "web.yaml").symlink_to("..data/web.yaml")
    async with watching(tmp_path) as (_, seen):
        (tmp_path / "..data_tmp").symlink_to("..v2")
        (tmp_path / "..data_tmp").rename(tmp_path / "..data")
        await seen.directory(tmp_path)


async def test_a_link_flip_is_seen_and_followed(tmp_path: Path) -> None:
    """When a link on the way is pointed elsewhere, that is a change, and so is every later one behind the link."""
    for version in ("v1", "v2"):
        (tmp_path / "trees" / version / "state").mkdir(parents=True)
    link, watched = tmp_path / "current", tmp_path / "current" / "state"
    link.symlink_to("trees/v1")
    async with watching(watched) as (_, seen):
        (tmp_path / "next").symlink_to("trees/v2")
        (tmp_path / "next").rename(link)
        await seen.directory(watched)
        (tmp_path / "trees" / "v2" / "state" / "web.yaml").write_text("a")
        await seen.directory(watched)


def test_what_happens_next_to_a_link_is_not_a_change(tmp_path: Path) -> None:
    """The directory that holds a link is watched for the link alone."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    watch_plan, base = plan_watches([tmp_path / "link"]), Path(os.path.realpath(tmp_path))
    assert str(base) in watch_plan.paths
    assert watch_plan.touched([base / "other"]) == frozenset()
    assert watch_plan.touched([base / "real" / "web.yaml"]) == {tmp_path / "link"}


async def test_a_directory_made_again_is_watched_again(tmp_path: Path) -> None:
    """Deleting a watched directory and making it again leaves nothing unseen, at any depth."""
    watched = tmp_path / "a" / "b" / "state"
    watched.mkdir(parents=True)
    async with watching(watched) as (_, seen):
        for _ in range(3):
            watched.rmdir()
            watched.parent.rmdir()
            watched.parent.parent.rmdir()
            await seen.directory(watched)
            watched.mkdir(parents=True)
            await seen.directory(watched)
            (watched / "web.yaml").write_text("a")
            await seen.directory(watched)
            (watched / "web.yaml").unlink()
            await seen.directory(watched)


async def test_a_directory_replaced_by_another_is_watched(tmp_path: Path) -> None:
    """A directory that is renamed away, with another in its place, is seen, and the new one watched."""
    watched, other = tmp_path / "state", tmp_path / "other"
    watched.mkdir()
    other.mkdir()
    async with watching(watched) as (_, seen):
        watched.rename(tmp_path / "old")
        other.rename(watched)
        await seen.directory(watched)
        (watched / "web.yaml").write_text("a")
        await seen.directory(watched)


async def test_a_directory_that_is_missing_is_waited_for(tmp_path: Path) -> None:
    """A directory that does not exist yet may be armed, and is seen when it appears."""
    watched = tmp_path / "later" / "state"
    async with watching(watched) as (_, seen):
        watched.mkdir(parents=True)
        await seen.directory(watched)
        (watched / "web.yaml").write_text("a")
        await seen.directory(watched)


async def test_arming_again_replaces_what_was_watched(tmp_path: Path) -> None:
    """Only what was armed last is watched; it is reported once, as it may have changed before."""
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    async with watching(one) as (watcher, seen):
        watcher.arm([two])
        await seen.directory(two)
        (one / "web.yaml").write_text("a")
        (two / "web.yaml").write_text("a")
        await until(lambda: seen.reports)
        assert seen.reports == [frozenset({two})]


async def test_a_scan_reports_everything_now_and_then(tmp_path: Path) -> None:
    """Without any event all directories are reported every `scan`: events can be lost."""
    async with watching(tmp_path, pace=WatchTiming(scan=0.05)) as (_, seen):
        await seen.directory(tmp_path)
        await seen.directory(tmp_path)


EXHAUSTED = """
import asyncio, sys
from pathlib import Path
from kvsync.daemon.watch import WatchTiming, Watcher
from kvsync.logs import configure

async def main():
    count = 0
    def seen(directories, touched):
        nonlocal count
        count += 1
        if count == 3:
            limit.write_text("100")
    configure("json", "info", stream=sys.stdout)
    limit = Path("/proc/sys/user/max_inotify_instances")
    limit.write_text("0")
    watcher = Watcher(seen, WatchTiming(poll=0.01, scan=3600))
    watcher.arm([Path(sys.argv[1])])
    task = asyncio.create_task(watcher.run())
    while count < 4:
        await asyncio.sleep(0.01)
    task.cancel()
asyncio.run(main())
"""


@pytest.mark.skipif(
    subprocess.run(["unshare", "--user", "--map-root-user", "true"], capture_output=True).returncode != 0,
    reason="takes a user namespace of its own, to use up the watches of nobody else",
)
def test_without_watches_it_polls_and_says_so(tmp_path: Path) -> None:
    """Where the system has no watches left the watcher polls, says so once, and comes back when there are some."""
    command = ["unshare", "--user", "--map-root-user", sys.executable, "-c", EXHAUSTED, str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=BOUND, cwd=Path.cwd(), check=False)
    assert run.returncode == 0, run.stderr
    events = [line.split('"event":')[1].split('"')[1] for line in run.stdout.splitlines()]
    assert events == ["watch.polling", "watch.armed"]


async def test_an_idle_watcher_wakes_rarely(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While nothing changes, the notifier is looked at 20 times a second at most."""
    looks: list[float] = []

    class CountedEvent(threading.Event):
        """Counts how often the notifier asks whether to stop, which is once for each look."""

        def is_set(self) -> bool:
            looks.append(time.monotonic())
            return super().is_set()

    monkeypatch.setattr(threading, "Event", CountedEvent)
    async with watching(tmp_path):
        looks.clear()
        began = time.monotonic()
        await asyncio.sleep(0.5)
        assert looks
        assert len(looks) <= (time.monotonic() - began) * 20 + 2


async def test_what_is_armed_is_logged(tmp_path: Path, log: Log) -> None:
    """The log says how many directories are watched."""
    async with watching(tmp_path):
        pass
    assert [event["directories"] for event in log.events("watch.armed")] == [1]


def test_every_holder_of_a_link_is_a_bearing(tmp_path: Path) -> None:
    """Links to links, relative and absolute ones, are followed; a loop of links is not an endless loop."""
    real = tmp_path / "real"
    (real / "state").mkdir(parents=True)
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    (tmp_path / "one" / "link").symlink_to(tmp_path / "two" / "link")
    (tmp_path / "two" / "link").symlink_to("../real")
    (tmp_path / "loop").symlink_to("loop")
    watch_plan = plan_watches([tmp_path / "one" / "link" / "state", tmp_path / "loop" / "state"])
    base = Path(os.path.realpath(tmp_path))
    assert watch_plan.contents == {base / "real" / "state": frozenset({tmp_path / "one" / "link" / "state"})}
    assert watch_plan.link_parents >= {base / "one", base / "two", base}


def test_the_notifier_of_watchfiles_is_as_expected(tmp_path: Path) -> None:
    """`RustNotify` has a private module name. It is made, asked and stopped as the watcher does it."""
    stop = threading.Event()
    with RustNotify([str(tmp_path)], False, False, 0, False, False) as notifier:
        assert notifier.watch(1000, 1, 1, stop) == "timeout"
        (tmp_path / "web.yaml").write_text("a")
        changes = notifier.watch(1000, 1, 20_000, stop)
        assert not isinstance(changes, str)
        assert {path for _, path in changes} == {str(tmp_path / "web.yaml")}
        stop.set()
        assert notifier.watch(1000, 1, 20_000, stop) == "stop"
    with pytest.raises(OSError, match="missing"):
        RustNotify([str(tmp_path / "missing")], False, False, 0, False, False)
    assert issubclass(WatchfilesRustInternalError, RuntimeError)
