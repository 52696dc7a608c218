"""Files are read again exactly when they may have changed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kvsync.desired.cache import Cache
from kvsync.desired.file_digests import KnownDigests
from kvsync.desired.model import Reading, Stores
from kvsync.desired.reading import Reader
from kvsync.testing import FakeClock
from tests.desired.conftest import Repo

_open = os.open


def change(file: Path, how: Callable[[], object]) -> None:
    """Do something to a file until its status shows another time: clocks of file systems are coarse."""
    before = file.stat().st_ctime_ns
    for _ in range(10_000):
        how()
        if file.stat().st_ctime_ns != before:
            return
        time.sleep(0.001)
    pytest.fail("the file system does not keep times")


class RepeatedReading:
    """Reads a repository again and again, an hour after its files were written; `opened` are the files read by the last one."""

    def __init__(self, repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
        config, stores = repo.parts()
        self.clock = FakeClock(time.time() + 3600)
        given = Stores(stores, config.stores, config.authority)
        self._reader = Reader(config, given, Cache(None, None), repo.environ, KnownDigests(self.clock))
        self.opened: list[str] = []
        monkeypatch.setattr(os, "open", self._open)

    def read(self) -> Reading:
        self.opened.clear()
        reading = self._reader.read(None)
        self._reader.units = reading.units
        return reading

    def _open(self, path: str, flags: int, *rest: int, dir_fd: int | None = None) -> int:
        if not flags & os.O_DIRECTORY:
            self.opened.append(path)
        return _open(path, flags, *rest, dir_fd=dir_fd)


@pytest.fixture
def reading(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> RepeatedReading:
    repo.web("keys: {a: x}\n")
    repo.write("state/core.yaml", "store: core\nnamespace: web\nkeys: {b: {file: assets/b}}\n")
    repo.write("state/assets/b", "long")
    return RepeatedReading(repo, monkeypatch)


def test_files_that_have_not_changed_are_not_read_again(reading: RepeatedReading) -> None:
    first = reading.read()
    assert sorted(reading.opened) == ["b", "core.yaml", "web.yaml"]
    reading.read()
    assert reading.opened == ["b"], "a value is known from the second reading on"
    again = reading.read()
    assert reading.opened == []
    assert (again.units, again.states) == (first.units, first.states)
    reading.clock.advance(601)
    reading.read()
    assert sorted(reading.opened) == ["b", "core.yaml", "web.yaml"], "in case the file system does not keep times"


@pytest.mark.parametrize("touch", [True, False])
def test_a_file_of_the_same_size_is_read_again(repo: Repo, reading: RepeatedReading, touch: bool) -> None:
    """Also when its time of modification was set back to what it was."""
    reading.read()
    file = repo.root / "state" / "assets" / "b"
    before = file.stat()

    def rewrite() -> None:
        file.write_text("gone")
        if touch:
            os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))

    change(file, rewrite)
    after = reading.read()
    assert set(after.fresh) == {"state/core.yaml"}
    assert b"gone" in repr(after.fresh["state/core.yaml"][1].chunks[0].load()).encode()


def test_a_file_that_was_changed_a_moment_ago_is_not_trusted(reading: RepeatedReading) -> None:
    """It may be changed again without any sign."""
    reading.clock.advance(-3600)
    reading.read()
    reading.read()
    assert sorted(reading.opened) == ["b", "core.yaml", "web.yaml"]


def test_a_file_with_a_problem_is_read_again(repo: Repo, reading: RepeatedReading) -> None:
    """Its problems are shown as often as it is read."""
    repo.web("keys: {a: [}\n")
    first, again = reading.read(), reading.read()
    assert [one.problems for _, one in first.units.values()] == [one.problems for _, one in again.units.values()]
    assert any(one.problems for _, one in again.units.values())


def test_a_pointer_of_git_lfs_stays_a_problem(repo: Repo, reading: RepeatedReading) -> None:
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 12\n"
    reading.read()
    change(repo.root / "state" / "web.yaml", lambda: repo.write("state/web.yaml", pointer))
    for _ in range(3):
        found = [problem.message for _, unit in reading.read().units.values() for problem in unit.problems]
        assert len(found) == 1
        assert "Git LFS pointer" in found[0]
