"""Files are read again exactly when they may have changed."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from kvsync.desired.cache import Cache
from kvsync.desired.file_digests import KnownDigests
from kvsync.desired.file_stability import FileStability
from kvsync.desired.model import Reading, Stores
from kvsync.desired.reading import Reader
from kvsync.model.entry import Target
from kvsync.testing import FakeClock
from tests.desired.conftest import Repo
from tests.desired.events import events_since, statuses

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

    def read(self, touched: Collection[Path] | None = None) -> Reading:
        self.opened.clear()
        reading = self._reader.read(None, touched=touched)
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
    assert reading.read() is first
    assert reading.opened == []
    reading.clock.advance(601)
    assert reading.read() is not first
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


def calls_of(work: Callable[[], object]) -> Counter[str]:
    """How often each function, and each built-in one, is called."""
    calls: Counter[str] = Counter()
    sys.setprofile(lambda frame, event, what: calls.update(_called(frame, event, what)))
    try:
        work()
    finally:
        sys.setprofile(None)
    return calls


def add_files(repo: Repo, number: int) -> None:
    for index in range(number):
        repo.web(f"keys: {{k{index}: x}}\n", f"state/more/{index:03}.yaml")


def test_an_unchanged_folder_costs_one_status_for_each_file(repo: Repo, reading: RepeatedReading) -> None:
    """Nothing is opened, listed, compared with patterns or compiled: only statuses grow with the number of files."""

    def calls_of_a_reading(files: int) -> Counter[str]:
        add_files(repo, files)
        first = reading.read()
        calls = calls_of(reading.read)
        assert reading.read() is first
        return calls

    few, many = calls_of_a_reading(20), calls_of_a_reading(60)
    grown = {name: count - few[name] for name, count in many.items() if count != few[name]}
    assert grown == {"stat": 40}


@pytest.mark.parametrize("replaced", [False, True])
def test_an_edit_that_events_name_costs_the_same_among_any_number_of_files(
    repo: Repo, monkeypatch: pytest.MonkeyPatch, replaced: bool
) -> None:
    """No function is called for each file: not to look for what changed, nor to put targets together, nor to let files rest. Of
    a target of other files nothing is done."""
    clock = FakeClock(time.time() + 3600)
    monkeypatch.setattr("kvsync.desired.file_digests.Clock", lambda: clock)
    repo.write("state/core.yaml", "store: core\nnamespace: web\nkeys: {a: x}\n")
    source, file = repo.source(), repo.root / "state" / "core.yaml"
    source.use_only_stable_files(FileStability(0.3, clock))

    def calls_of_an_edit(files: int) -> Counter[str]:
        add_files(repo, files)
        for number in range(2):  # the first edit makes what all others use
            clock.advance(10)
            source.load()
            written = repo.write("new", f"store: core\nnamespace: web\nkeys: {{a: {files}-{number}}}\n")
            change(
                file, partial(written.replace, file) if replaced else partial(file.write_bytes, written.read_bytes())
            )
            calls = calls_of(lambda: source.load(touched=[file, repo.root / "new"]))
            clock.advance(1)
            calls += calls_of(lambda: source.load(touched=[]))
        entries = source.load().targets[Target("core", "web")].entries
        assert [entry.content.value for entry in entries.values()] == [f"{files}-1".encode()]
        return calls

    few, many = calls_of_an_edit(20), calls_of_an_edit(60)
    assert {name: count - few[name] for name, count in many.items() if count - few[name] >= 40} == {}


@pytest.mark.parametrize("replaced", [False, True])
def test_an_edit_reads_and_compiles_one_file(repo: Repo, reading: RepeatedReading, replaced: bool) -> None:
    """Of many. A folder is listed again only if it changed, as when an editor moves a new file over the old one."""
    add_files(repo, 60)
    reading.read()
    file, scratch = repo.root / "state" / "more" / "030.yaml", repo.root / "scratch"

    def edit() -> None:
        scratch.write_text("store: edge\nnamespace: web\nkeys: {k30: edited}\n")
        if replaced:
            scratch.replace(file)
        else:
            file.write_text(scratch.read_text())

    change(file.parent if replaced else file, edit)
    calls = calls_of(reading.read)
    assert reading.opened == ["030.yaml"]
    listed = 1 + replaced  # the folder of the configuration, which may have copies of it, is listed each time
    assert (calls["compiled"], calls["_take"], calls["scandir"]) == (1, 1, listed)
    assert b"edited" in reading.read().units["state/more/030.yaml"][1].chunks[0].rows.values


def _called(frame: FrameType, event: str, what: Any) -> list[str]:
    return [what.__name__] if event == "c_call" else [frame.f_code.co_name] if event == "call" else []


CHANGES: dict[str, Callable[[Repo], object]] = {
    "a file is added": lambda repo: repo.web("keys: {c: x}\n", "state/more.yaml"),
    "a file is removed": lambda repo: (repo.root / "state/web.yaml").unlink(),
    "a file is replaced": lambda repo: repo.web("keys: {a: y}\n", "new").rename(repo.root / "state/web.yaml"),
    "a file becomes a link": lambda repo: relink(repo.root / "state/web.yaml", repo.web("keys: {a: x}\n", "aside")),
    "a value is written": lambda repo: repo.write("state/assets/b", "other"),
    "a folder is moved away": lambda repo: (repo.root / "state").rename(repo.root / "away"),
    "a folder is mounted": lambda repo: mount(repo.root / "state"),
    "a variable changes": lambda repo: repo.environ.update(NAME="other"),
    "a file is linked as the configuration": lambda repo: os.link(
        repo.root / "state/web.yaml", repo.root / "kvsync.yaml.bak"
    ),
}


def relink(name: Path, target: Path) -> None:
    name.unlink()
    name.symlink_to(target)


def mount(folder: Path) -> None:
    """Put a new version into a folder as Kubernetes mounts a ConfigMap."""
    (folder / "..v2").mkdir()
    (folder / "..data").symlink_to("..v2")


@pytest.mark.parametrize("with_events", [False, True])
@pytest.mark.parametrize("change_it", CHANGES.values(), ids=CHANGES)
def test_every_change_ends_what_is_remembered(
    repo: Repo, reading: RepeatedReading, change_it: Callable[[Repo], object], with_events: bool
) -> None:
    """A reading is used again only while each folder, file, variable and protected name is as it was, also where only what
    events name is looked at."""
    repo.environ["NAME"] = "value"
    clock = repo.write("clock", "")
    repo.web("keys: {n: {env: NAME}}\n", "state/variable.yaml")
    first = reading.read()
    assert reading.read() is first
    change(clock, clock.touch)
    before = statuses(repo.root)
    change_it(repo)
    assert reading.read(events_since(before, repo.root) if with_events else None) is not first


def test_what_is_outside_of_the_files_makes_all_be_looked_at(repo: Repo, reading: RepeatedReading) -> None:
    """It may be where a link on the way to them lies."""
    first = reading.read()
    change(repo.root / "state/web.yaml", lambda: repo.web("keys: {a: y}\n"))
    assert reading.read([repo.root / "state/assets"]) is first
    assert reading.read([repo.root.parent / "other"]) is not first
