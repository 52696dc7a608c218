"""Bad input and bad luck: half-saved files, folders that flip, disks that are full, stores that are locked."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from pathlib import Path

import pytest

from kvsync.app import TargetSelection
from kvsync.model.change import Action
from kvsync.model.pass_options import PassOptions
from tests.daemon.support import until
from tests.status.support import DaemonProcess, process, want
from tests.status.support import repository as write_repository
from tests.support.command import Repository
from tests.support.memory_repository import MemoryRepository, is_clean

MOUNT = ("unshare", "--mount", "sh", "-c")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repo")


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MemoryRepository:
    return MemoryRepository(tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def mounting() -> None:
    """Skip where no file system can be mounted."""
    if subprocess.run([*MOUNT, "mount -t tmpfs tmpfs /mnt"], capture_output=True).returncode:
        pytest.skip("needs the right to mount in a namespace of its own")


STATE_FILE = """\
store: main
namespace: web
defaults: {ttl: 7d}
keys:
  greeting: Hello
  limits: {json: {rps: 10}}
  theme:
    value: light
    labels: {prod: dark, dev: {value: neon, ttl: 1h}}
  token: {value: "quoted: text", sensitive: true}
  long: |
    several
    lines
  anchored: &a {value: x, tags: {b: c}}
  again: *a
  k01: 1
  k02: 1
  k03: 1
  k04: 1
absent: [never-was]
"""


class TestHalfSavedFiles:
    """Every prefix of a valid state file is what an editor or a copy may leave for a moment."""

    @pytest.mark.parametrize("part", range(4))
    async def test_no_prefix_deletes_anything_while_files_move(self, repo: MemoryRepository, part: int) -> None:
        """Under the daemon's grace no prefix causes a delete, none is a crash, and what is wrong has a place."""
        repo.state(STATE_FILE)
        assert is_clean(await repo.apply())
        data = STATE_FILE.encode()
        async with repo.open() as workspace:
            for end in range(part, len(data), 4):
                (repo.root / "state/web.yaml").write_bytes(data[:end])
                loaded = workspace.load()
                plan = await workspace.plan(TargetSelection(ask=PassOptions(grace=1)), loaded)
                for target in plan.targets:
                    deletes = [change for change in target.changes if change.action is Action.DELETE]
                    assert not deletes or target.parked, (end, deletes)
                for problem in loaded.problems:
                    assert str(problem.origin).startswith("state/web.yaml:"), (end, problem)

    async def test_without_a_grace_the_guard_holds_what_is_large(self, repo: MemoryRepository) -> None:
        """By hand, without the daemon's grace, no prefix deletes more than the guard lets pass."""
        keys = "".join(f"  k{number:02}: 1\n" for number in range(20))
        text = f"store: main\nnamespace: web\nkeys:\n{keys}"
        repo.state(text)
        assert is_clean(await repo.apply())
        async with repo.open() as workspace:
            for end in range(0, len(text), 3):
                repo.state(text[:end])
                for target in (await workspace.plan()).targets:
                    deletes = sum(change.action is Action.DELETE for change in target.changes)
                    assert target.parked or deletes <= 6

    def test_the_place_is_shown(self, repository: Repository) -> None:
        """A file cut off in the middle is named with line and column, by a process that exits with 78."""
        repository.want("  a: 1\n  b: 1\n")
        repository.run("apply", "--yes", code=0)
        repository.want('  a: 1\n  b: "unfinished\n')
        done = repository.run("apply", "--yes", code=78)
        assert "state/web.yaml:" in done.stderr
        assert repository.values() == {"a": "1", "b": "1"}


class TestHostileFiles:
    """Files that are made, or turn out, to harm the reader."""

    @pytest.mark.parametrize(
        ("data", "place"),
        [
            (b"store: main\nnamespace: web\nkeys: {a: 1, b: 1, a: 2}\n", "web.yaml:3:"),
            (b"a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\n" + b"d: &d [*c,*c,*c,*c,*c,*c]\n" * 200, "web.yaml:"),
            (b"keys: " + b"[" * 100_000, "web.yaml:1:"),
            (b"store: main\nnamespace: web\nkeys:\n\ta: 1\n", "web.yaml:4:"),
            (b"store: main\nnamespace: web\nkeys: {a: \xff}\n", "web.yaml:"),
            (b"\x00" * 100, "web.yaml:1:"),
            (b"store: main\nnamespace: web\nkeys: {a: !!python/object:os.system x}\n", "web.yaml:3:"),
        ],
        ids=["duplicate", "alias bomb", "depth bomb", "tab", "not UTF-8", "zeros", "tag"],
    )
    async def test_is_refused_with_a_place(self, repo: MemoryRepository, data: bytes, place: str) -> None:
        """What cannot be used is refused with its place, and what is in the store stays."""
        await repo.settle({"a": 1, "b": 1})
        (repo.root / "state/web.yaml").write_bytes(data)
        async with repo.open() as workspace:
            loaded = workspace.load()
            await workspace.apply(await workspace.plan(loaded=loaded), command="test")
        assert any(place in str(problem.origin) for problem in loaded.problems), loaded.problems
        assert repo.values() == {"a": "1", "b": "1"}

    def test_a_file_of_50_megabytes_is_refused_and_not_read(self, repository: Repository) -> None:
        """A file far above the limit is refused by its size."""
        repository.want("  a: 1\n")
        with (repository.root / "state/huge.yaml").open("wb") as file:
            file.truncate(50 * 2**20)
        done = repository.run("plan", code=78)
        assert "state/huge.yaml" in done.stderr
        assert "50 MiB" in done.stderr

    async def test_windows_habits_are_fine(self, repo: MemoryRepository) -> None:
        """A byte order mark and CRLF line ends change nothing."""
        text = "store: main\r\nnamespace: web\r\nkeys:\r\n  a: 1\r\n  b: two words\r\n"
        (repo.root / "state/web.yaml").write_bytes(b"\xef\xbb\xbf" + text.encode())
        assert is_clean(await repo.apply())
        assert repo.values() == {"a": "1", "b": "two words"}


class TestFoldersThatComeAndGo:
    """Checkouts that are empty, missing, or replaced while they are read."""

    async def test_a_folder_that_flips_is_read_in_one_version(self, repo: MemoryRepository) -> None:
        """While git-sync flips a link every load shows one version or the other, never a mixture of both."""
        for version in (1, 2):
            folder = repo.root / f"v{version}"
            folder.mkdir()
            for number in range(30):
                text = f"store: main\nnamespace: web\nkeys: {{k{number:02}: {version}}}\n"
                (folder / f"{number:02}.yaml").write_text(text)
        shutil.rmtree(repo.root / "state")
        (repo.root / "state").symlink_to("v1")
        versions = set()
        async with repo.open(writing=None) as workspace:
            with flipping(repo.root):
                for _ in range(40):
                    loaded = workspace.load()
                    entries = [entry for one in loaded.targets.values() for entry in one.entries.values()]
                    values = {entry.content.value for entry in entries}
                    assert loaded.hold_all or (len(entries), len(values)) == (30, 1)
                    versions |= values
        assert versions == {b"1", b"2"}

    async def test_a_missing_folder_is_said_and_deletes_nothing(self, repo: MemoryRepository) -> None:
        """When the folder of the state files is gone every entry stays, and the problem is reported."""
        await repo.settle({"a": 1})
        shutil.rmtree(repo.root / "state")
        async with repo.open() as workspace:
            loaded = workspace.load()
            report = await workspace.apply(await workspace.plan(loaded=loaded), command="test")
        assert loaded.problems
        assert report.targets == ()
        assert repo.values() == {"a": "1"}


@contextmanager
def flipping(root: Path) -> Iterator[None]:
    """Flip the link `state` as git-sync does, many times a second, while inside."""
    stop = threading.Event()

    def flip() -> None:
        version = 1
        while not stop.wait(0.002):
            version = 3 - version
            (root / "next").symlink_to(f"v{version}")
            (root / "next").rename(root / "state")

    thread = threading.Thread(target=flip)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


class TestStateDirectory:
    """A state directory that cannot be used: a clear error, and nothing lost."""

    @pytest.mark.usefixtures("mounting")
    def test_read_only(self, repository: Repository) -> None:
        """On a read-only file system plans are made as ever, and apply refuses before it writes to the store."""
        repository.want("  a: 1\n")
        repository.run("apply", "--yes", code=0)
        repository.want("  a: 2\n")
        state = repository.root / ".kvsync"
        through = (*MOUNT, 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"', str(state))
        repository.run("plan", "--exit-code", through=through, code=2)
        done = repository.run("apply", "--yes", through=through, code=1)
        assert str(state) in done.stderr
        assert repository.values() == {"a": "1"}
        repository.run("apply", "--yes", code=0)
        assert repository.values() == {"a": "2"}

    @pytest.mark.usefixtures("mounting")
    def test_full(self, repository: Repository) -> None:
        """On a disk that fills up apply says so, and a run with room finishes what it began."""
        repository.want("".join(f"  k{number:04}: {'x' * 100}\n" for number in range(6000)))
        state = repository.root / "state-dir"
        state.mkdir()
        through = (*MOUNT, 'mount -t tmpfs -o size=800k tmpfs "$0" && exec "$@"', str(state))
        env = {"STATE_DIRECTORY": str(state)}
        done = repository.run("apply", "--yes", env=env, through=through, code=1)
        assert f"state directory {state}" in done.stderr
        repository.run("apply", "--yes", env=env, code=0)
        assert len(repository.values()) == 6000

    @pytest.mark.usefixtures("mounting")
    def test_a_plan_is_shown_although_the_disk_is_full(self, repository: Repository) -> None:
        """A command that only reads needs no room."""
        repository.want("  a: 1\n")
        repository.run("apply", "--yes", code=0)
        repository.want("  a: 2\n")
        state = repository.root / ".kvsync"
        size = sum(file.stat().st_size for file in state.rglob("*")) + 131072
        fill = f'mount -t tmpfs -o size={size} tmpfs "$0" && cp -a "$0.kept/." "$0" && head -c {size} /dev/zero > "$0/filler"'
        shutil.copytree(state, repository.root / ".kvsync.kept")
        through = (*MOUNT, f'{fill} 2>/dev/null; mountpoint -q "$0" && exec "$@"', str(state))
        done = repository.run("plan", "--exit-code", through=through, code=2)
        assert "main/web" in done.stdout

    @pytest.mark.system
    @pytest.mark.usefixtures("mounting")
    @pytest.mark.parametrize("spent", ["bytes", "inodes"])
    async def test_full_under_a_daemon(self, tmp_path: Path, spent: str) -> None:
        """It says so, keeps its hands off the store, and goes on once there is room."""
        async with under(tmp_path, 'mount -t tmpfs -o size=900k,nr_inodes=40,mode=700 tmpfs "$0"') as (daemon, state):
            fill(state, spent)
            want(tmp_path, a="2")
            if spent == "bytes":  # no file is needed for what goes on
                failed = await daemon.logged("pass.failed")
                assert failed["error"].endswith("the disk is full; free some space and run again")
                assert held(tmp_path) == b"1"
                (state / "filler0").unlink()
            await until(lambda: held(tmp_path) == b"2")
            daemon.process.terminate()
            assert await daemon.over() == 0
            assert "Traceback" not in daemon.raw

    @pytest.mark.system
    @pytest.mark.parametrize("lost", ["removed", "replaced"])
    async def test_lost_under_a_daemon(self, tmp_path: Path, lost: str) -> None:
        """What is recorded there would be lost: the daemon ends with the reason, and writes nothing any more."""
        async with under(tmp_path) as (daemon, state):
            if lost == "replaced":
                shutil.copytree(state, tmp_path / "copy")
            state.rename(tmp_path / "old")
            if lost == "replaced":
                (tmp_path / "copy").rename(state)
            want(tmp_path, a="2")
            assert await daemon.over() == 1
            assert "state.db was removed or replaced while in use; restart kvsync" in daemon.raw
            assert "Traceback" not in daemon.raw
            assert held(tmp_path) == b"1"

    def test_two_writers(self, repository: Repository) -> None:
        """While a daemon runs, another daemon and an apply exit with 5; a plan works next to it."""
        repository.want("  a: 1\n")
        with daemon(repository):
            for command in (("run",), ("run", "--once"), ("apply", "--yes")):
                assert "lock of this state directory" in repository.run(*command, code=5).stderr
            repository.run("plan", code=0)
        repository.run("apply", "--yes", code=0)

    def test_damaged(self, repository: Repository) -> None:
        """A state database that is none is an error that names it, and the store is left alone."""
        repository.want("  a: 1\n")
        repository.run("apply", "--yes", code=0)
        repository.want("  a: 2\n")
        damage(repository.root / ".kvsync/state.db")
        assert ".kvsync" in repository.run("apply", "--yes", code=1).stderr
        assert repository.values() == {"a": "1"}

    def test_a_damaged_cache_is_made_again(self, repository: Repository) -> None:
        """What only saves time is never a reason to fail."""
        repository.want("  a: 1\n")
        repository.run("apply", "--yes", code=0)
        damage(repository.root / ".kvsync/cache.db")
        repository.run("plan", "--exit-code", code=0)


@asynccontextmanager
async def under(folder: Path, mount: str = "true") -> AsyncIterator[tuple[DaemonProcess, Path]]:
    """A daemon that is through its first pass, and its state directory as it sees it: what `mount` makes of `$0`."""
    state = folder / "sd"
    state.mkdir(mode=0o700)
    write_repository(folder, "run: {every: 1h}\n")
    through = (*MOUNT, f'{mount} && exec "$@"', str(state)) if mount != "true" else ()
    async with process(folder, through=through, STATE_DIRECTORY=str(state)) as daemon:
        await daemon.logged("daemon.ready")
        yield daemon, Path(f"/proc/{daemon.process.pid}/root{state}") if through else state


def fill(state: Path, spent: str) -> None:
    """Use up all of a small file system."""
    data = bytes(2**20 if spent == "bytes" else 0)
    with suppress(OSError):
        for number in range(100):
            (state / f"filler{number}").write_bytes(data)


def held(folder: Path) -> bytes:
    """The value of the one entry in the store."""
    with closing(sqlite3.connect(folder / "store.db")) as database:
        (value,) = database.execute("SELECT value FROM entries").fetchone()
    return bytes(value)


def damage(file: Path) -> None:
    """Put something else in the place of a database."""
    assert file.exists()
    file.write_bytes(b"not a database" * 1000)
    for suffix in ("-wal", "-shm"):
        file.with_name(file.name + suffix).unlink(missing_ok=True)


@contextmanager
def daemon(repository: Repository) -> Iterator[None]:
    """A running daemon that is through its first pass, while inside."""
    command = [sys.executable, "-m", "kvsync", "--log-format", "json", "run"]
    environment = repository.environment()
    process = subprocess.Popen(command, cwd=repository.root, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        assert any(json.loads(line).get("event") == "pass.finished" for line in process.stderr)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


class TestLockedStore:
    """A SQLite store that another process holds."""

    def test_for_a_moment_is_waited_for(self, repository: Repository) -> None:
        """A store that is locked when apply begins, and free soon after, is written."""
        repository.want("  a: 1\n")
        repository.run("apply", "--yes", code=0)
        repository.want("  a: 2\n")
        with closing(sqlite3.connect(repository.root / "store.db", check_same_thread=False)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            timer = threading.Timer(1.0, connection.rollback)
            timer.start()
            repository.run("plan", "--exit-code", code=2)
            repository.run("apply", "--yes", code=0)
            timer.join()
        assert repository.values() == {"a": "2"}
