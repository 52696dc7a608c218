"""The daemon over a repository, as a process: what is pushed is applied."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.support import BOUND
from tests.git.repos import Origin, command_lines, left_over
from tests.git.server import serving
from tests.git.test_commands import CONFIG, web
from tests.support.command import Repository


class DaemonProcess:
    """`kvsync run` as a process, with its log."""

    def __init__(self, here: Repository, log: Path) -> None:
        self.here, self.log = here, log
        command = [sys.executable, "-m", "kvsync", "--log-format", "json", "run"]
        with log.open("w") as stream:
            self.process = subprocess.Popen(command, cwd=here.root, env=here.environment(), stderr=stream)

    def events(self, name: str) -> list[dict[str, Any]]:
        lines = [line for line in self.log.read_text().splitlines(keepends=True) if line.endswith("\n")]
        return [event for event in map(json.loads, lines) if event["event"] == name]

    def values(self) -> dict[str, str]:
        with suppress(sqlite3.Error):
            return self.here.values()
        return {}

    def until(self, condition: Any) -> None:
        ends = time.monotonic() + BOUND
        while not condition():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < ends, self.log.read_text()
            time.sleep(0.02)


@contextmanager
def running(here: Repository) -> Iterator[DaemonProcess]:
    run = DaemonProcess(here, here.root / "log")
    try:
        yield run
    finally:
        run.process.terminate()
        assert run.process.wait(BOUND) == 0, run.log.read_text()
        assert "unexpected" not in run.log.read_text()


@pytest.fixture
def origin(tmp_path: Path) -> Origin:
    made = Origin(tmp_path / "origin")
    made.commit(web(a="1"))
    return made


def repository(tmp_path: Path, url: str, every: str) -> Repository:
    return Repository(tmp_path / "here", CONFIG.format(url=url, more=f", every: {every}"))


def test_what_is_pushed_is_applied(tmp_path: Path, origin: Origin) -> None:
    """A push is noticed at the next look, applied, and the run names its commit; a rewrite is refused, and the last good commit
    goes on being kept up."""
    here = repository(tmp_path, origin.url, "1s")
    with running(here) as run:
        run.until(lambda: run.values() == {"a": "1"})
        newer = origin.commit(web(a="2", b="3"))
        run.until(lambda: run.values() == {"a": "2", "b": "3"})
        assert run.events("source.fetched")[-1]["commit"] == newer
        assert json.loads(here.run("history", "-o", "json", code=0).stdout)["runs"][0]["source"] == newer
        origin.write(web(a="evil"))
        origin.git("commit", "--all", "--amend", "--quiet", "--message=rewritten")
        run.until(lambda: run.events("source.refused"))
        here.by_hand("UPDATE entries SET value = X'64' WHERE key = 'a'")
        run.process.send_signal(signal.SIGUSR1)
        run.until(lambda: run.values() == {"a": "2", "b": "3"})
        assert len(run.events("source.refused")) == 1
        assert run.events("source.refused")[0]["kept"] == newer
    assert left_over_of(here) == []


def left_over_of(here: Repository) -> list[str]:
    """As `left_over`, for the state directory of a repository."""
    (here.root / "state-link").mkdir()
    (here.root / "state-link/state").symlink_to(here.root / ".kvsync")
    return left_over(here.root / "state-link")


def test_a_signal_is_a_reason_to_look(tmp_path: Path, origin: Origin) -> None:
    """With an hour between looks, SIGUSR1 (and so a hook) fetches at once."""
    here = repository(tmp_path, origin.url, "1h")
    with running(here) as run:
        run.until(lambda: run.values() == {"a": "1"})
        origin.commit(web(a="2"))
        run.process.send_signal(signal.SIGUSR1)
        run.until(lambda: run.values() == {"a": "2"})


def test_a_reload_goes_on_with_the_commit(tmp_path: Path, origin: Origin) -> None:
    """SIGHUP keeps the commit in force, also while the repository cannot be had, and what comes later is still fetched."""
    here = repository(tmp_path, origin.url, "1h")
    with running(here) as run:
        run.until(lambda: run.events("daemon.ready"))
        gone = origin.path.with_name("elsewhere")
        origin.path.rename(gone)
        run.process.send_signal(signal.SIGHUP)
        run.until(lambda: run.events("config.reloaded") and run.events("source.unavailable"))
        here.by_hand("UPDATE entries SET value = X'64'")
        run.process.send_signal(signal.SIGUSR1)
        run.until(lambda: run.values() == {"a": "1"})
        gone.rename(origin.path)
        origin.commit(web(a="2"))
        run.process.send_signal(signal.SIGUSR1)
        run.until(lambda: run.values() == {"a": "2"})
        assert run.events("source.invalid") == []


def test_the_first_start_without_a_network(tmp_path: Path, origin: Origin) -> None:
    """A daemon that can fetch nothing yet stays, says why, is not ready, and begins once it can."""
    gone = origin.path.with_name("elsewhere")
    origin.path.rename(gone)
    here = repository(tmp_path, origin.url, "1s")
    with running(here) as run:
        run.until(lambda: run.events("source.unavailable"))
        run.until(lambda: run.events("source.invalid"))
        assert run.events("daemon.ready") == []
        gone.rename(origin.path)
        run.process.send_signal(signal.SIGUSR1)
        run.until(lambda: run.values() == {"a": "1"})
        run.until(lambda: run.events("daemon.ready"))
        assert run.events("source.available")


def test_a_restart_without_a_network(tmp_path: Path, origin: Origin) -> None:
    """A daemon that is started while the repository cannot be had keeps the store at the last good commit, and is ready."""
    here = repository(tmp_path, origin.url, "1h")
    here.run("run", "--once", code=0)
    origin.path.rename(origin.path.with_name("elsewhere"))
    here.by_hand("UPDATE entries SET value = X'64'")
    with running(here) as run:
        run.until(lambda: run.values() == {"a": "1"})
        run.until(lambda: run.events("daemon.ready"))
        assert len(run.events("source.unavailable")) == 1


def test_commands_next_to_the_daemon(tmp_path: Path, origin: Origin) -> None:
    """plan fetches next to a daemon that looks once an hour, without a lock of its own, and the daemon takes the commit up when
    it looks."""
    here = repository(tmp_path, origin.url, "1h")
    with running(here) as run:
        run.until(lambda: run.events("daemon.ready"))
        newest = origin.commit(web(a="2"))
        document = json.loads(here.run("plan", "-o", "json", code=0).stdout)
        assert document["source"] == newest
        assert len(document["targets"][0]["changes"]) == 1
        assert run.values() == {"a": "1"}
        run.process.send_signal(signal.SIGUSR1)
        run.until(lambda: run.values() == {"a": "2"})
        assert run.events("source.fetched")[-1]["commit"] == newest


def test_another_source_by_reload(tmp_path: Path, origin: Origin) -> None:
    """SIGHUP with another ref goes over to it, without a restart."""
    here = repository(tmp_path, origin.url, "1h")
    origin.git("checkout", "--quiet", "-b", "next")
    origin.commit(web(a="9"))
    with running(here) as run:
        run.until(lambda: run.values() == {"a": "1"})
        config = (here.root / "kvsync.yaml").read_text()
        (here.root / "kvsync.yaml").write_text(config.replace("ref: main", "ref: next"))
        run.process.send_signal(signal.SIGHUP)
        run.until(lambda: run.values() == {"a": "9"})


def test_leaving_during_a_fetch(tmp_path: Path, origin: Origin) -> None:
    """SIGTERM while a server does not answer ends the daemon in time, and the git that it started."""
    with serving(tmp_path) as server:
        here = repository(tmp_path, server.url("origin/.git"), "1h")
        here.run("plan", code=0)
        server.held.clear()
        server.asked.clear()
        with running(here) as run:
            assert server.asked.wait(BOUND)
            run.process.terminate()
            assert run.process.wait(BOUND) == 0
        assert not [one for one in command_lines() if server.url("").encode() in one]
