"""What happens when another program changes the state directory while kvsync uses it, or between two runs."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest

from kvsync.errors import StateDirError, StateDirLost
from kvsync.state import StateDir
from kvsync.util.sqlite import connect
from tests.state.examples import KEY, WEB, apply_one, run
from tests.state.test_directory import READ, without_root


def _replace(file: Path) -> None:
    draft = file.with_name("draft")
    draft.write_bytes(file.read_bytes())
    draft.replace(file)


def _empty(file: Path) -> None:
    os.truncate(file, 0)


WAYS: Final[dict[str, tuple[str, Callable[[Path], None], str]]] = {
    "removed": ("state.db", Path.unlink, "state.db was removed or replaced while in use; restart kvsync"),
    "replaced by its copy": ("state.db", _replace, "state.db was removed or replaced while in use; restart kvsync"),
    "emptied": ("state.db", _empty, "state.db was truncated or overwritten while in use; stop kvsync"),
    "overwritten": ("state.db", lambda file: _overwrite(file), "state.db was truncated or overwritten while in use"),
    "overwritten with as many bytes": (
        "state.db",
        lambda file: _overwrite(file, bytes(file.stat().st_size)),
        "state.db was truncated or overwritten while in use; stop kvsync",
    ),
    "log truncated": (
        "state.db-wal",
        lambda file: os.truncate(file, file.stat().st_size - 1),
        "state.db-wal was truncated or overwritten while in use; restart kvsync",
    ),
    "log overwritten with as many bytes": (
        "state.db-wal",
        lambda file: _overwrite(file, bytes(file.stat().st_size)),
        "state.db-wal was truncated or overwritten while in use; restart kvsync",
    ),
    "log emptied": ("state.db-wal", _empty, "state.db-wal was truncated or overwritten while in use; restart kvsync"),
    "log removed": ("state.db-wal", Path.unlink, "state.db-wal was removed or replaced while in use; restart kvsync"),
    "another key": (
        "key",
        lambda file: _overwrite(file),
        "key was replaced while in use; restore it, or restart kvsync",
    ),
}


def _overwrite(file: Path, content: bytes = b"something else") -> None:
    with file.open("r+b") as over:
        over.write(content)
        over.truncate()


@pytest.mark.parametrize("way", WAYS)
def test_a_file_that_is_changed_under_kvsync_is_noticed(path: Path, directory: StateDir, way: str) -> None:
    """By the check after each pass, and by the next write, which records nothing where it would be lost."""
    name, change, said = WAYS[way]
    directory.pauses.pause("edge", None, None, 0)
    assert directory.key
    assert directory.passes.check() is None
    change(path / name)
    with pytest.raises(StateDirLost, match=said):
        directory.passes.check()
    if name != "key":
        with pytest.raises(StateDirLost, match=said):
            directory.pauses.pause("core", None, None, 0)


def _sql(*statements: str) -> Callable[[Path], None]:
    """Another program that opens the database, runs statements and closes it."""

    def run_all(path: Path) -> None:
        with closing(sqlite3.connect(path / "state.db", isolation_level=None)) as tool:
            for statement in statements:
                tool.execute(statement.replace("COPY", str(path.with_name("copy")))).fetchall()

    return run_all


@pytest.mark.parametrize(
    "tool",
    [
        _sql("PRAGMA wal_checkpoint(TRUNCATE)"),
        _sql("PRAGMA wal_checkpoint(RESTART)"),
        _sql("VACUUM INTO 'COPY'"),
        _sql("VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"),
    ],
    ids=["truncates the log", "restarts the log", "copies the database", "compacts the database"],
)
def test_a_tool_that_keeps_the_content_is_not_a_loss(
    path: Path, directory: StateDir, tool: Callable[[Path], None]
) -> None:
    """Backup tools move the log into the database, or compact it: kvsync goes on, and keeps everything."""
    apply_one(directory, KEY, "a", "b" * 100_000)
    directory.pauses.pause("edge", None, None, 0)
    for number in range(2):
        tool(path)
        assert directory.passes.check() is None
        directory.pauses.pause(f"store{number}", None, None, 0)
        path.with_name("copy").unlink(missing_ok=True)
    directory.close()
    with StateDir.open(path, writable=False) as found:
        assert len(found.pauses.all()) == 3


@pytest.mark.parametrize("is_run", [True, False], ids=["run", "pass"])
def test_an_older_copy_is_noticed_behind_the_log(path: Path, directory: StateDir, is_run: bool) -> None:
    """The log has all pages that the last commit changed, so a reader finds the last run and the last pass."""
    database, move_log = path / "state.db", _sql("PRAGMA wal_checkpoint(TRUNCATE)")

    def record() -> None:
        if is_run:
            apply_one(directory, KEY, "a", "b")
        directory.passes.record(WEB, 1)

    record()
    move_log(path)
    older = database.read_bytes()
    record()
    move_log(path)
    record()
    assert directory.passes.check() is None
    _overwrite(database, older)
    with pytest.raises(StateDirLost, match=r"state\.db was truncated or overwritten while in use"):
        directory.passes.check()


def _checkpoint(path: Path) -> None:
    _sql("PRAGMA wal_checkpoint(TRUNCATE)")(path)


def test_an_older_copy_with_the_same_runs_is_noticed(path: Path, directory: StateDir) -> None:
    """A pause is enough to tell two copies apart."""
    database = path / "state.db"
    apply_one(directory, KEY, "a", "b")
    _checkpoint(path)
    older = database.read_bytes()
    directory.pauses.pause("edge", None, None, 0)
    _checkpoint(path)
    assert directory.passes.check() is None
    _overwrite(database, older)
    with pytest.raises(StateDirLost, match=r"state\.db was truncated or overwritten while in use"):
        directory.passes.check()


def test_an_older_copy_is_reported_by_the_next_process(path: Path) -> None:
    """Readers report it until a process writes; the file that a killed process leaves is never ahead of its database."""
    database = path / "state.db"
    with StateDir.open(path, writable=True) as state:
        state.pauses.pause("core", None, None, 0)
    older = database.read_bytes()
    with StateDir.open(path, writable=True) as state:
        for number in range(3):
            state.pauses.pause(f"store{number}", None, None, 0)
    database.write_bytes(older)
    found = []
    for writable in (False, True, True):
        with StateDir.open(path, writable=writable) as state:
            found.append(min(state.missing, 3))  # opening may write too
            if writable:
                state.pauses.pause("edge", None, None, 0)
    assert found == [3, 3, 0]
    assert run(KILLED, path) == ""
    with StateDir.open(path, writable=True) as state:
        assert (state.missing, len(state.pauses.all())) == (0, 3)


KILLED: Final = """
state = StateDir.open(path, writable=True)
state.pauses.pause("killed", None, None, 0)
os._exit(0)
"""


def test_a_damaged_page_is_found_in_the_background(path: Path, directory: StateDir) -> None:
    """The check of all pages takes as long as reading the file, so that no pass waits for it."""
    apply_one(directory, KEY, "a", "b" * 100_000)
    _checkpoint(path)
    assert directory.passes.check() is None
    with (path / "state.db").open("r+b") as file:
        file.seek(-4096, os.SEEK_END)
        file.write(b"x" * 4096)
    with pytest.raises(StateDirLost, match=r"state\.db was truncated or overwritten while in use"):
        _check_until_lost(directory)


def test_what_kvsync_writes_starts_no_check_of_all_pages(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such a check reads the whole file: only what other programs write is a reason for it."""
    started: list[object] = []
    monkeypatch.setattr("kvsync.state.loss.start_thread", started.append)
    for number in range(3):
        with StateDir.open(path, writable=True) as state:
            state.pauses.pause(f"store{number}", None, None, 0)
            apply_one(state, KEY, "a", "b")
            assert state.passes.check() is None
    assert started == []


def test_closing_waits_for_the_check_of_all_pages(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A check that went on would keep the log from being moved into the database, or make a new one after everything else is
    closed: an older copy that is put there by then would be mixed with what is in that log."""
    closing_has_begun = threading.Event()

    def connect_late(*args: Any, **options: Any) -> sqlite3.Connection:
        if threading.current_thread() is not threading.main_thread():
            closing_has_begun.wait(5)
        return connect(*args, **options)

    with StateDir.open(path, writable=True) as state:
        state.pauses.pause("edge", None, None, 0)
        _checkpoint(path)  # another program, so all pages are checked
        monkeypatch.setattr("kvsync.state.loss.connect", connect_late)
        assert state.passes.check() is None
        threading.Timer(0.05, closing_has_begun.set).start()
    assert closing_has_begun.is_set()
    assert not {"state.db-wal", "state.db-shm"} & {file.name for file in path.iterdir()}


def _check_until_lost(directory: StateDir) -> None:
    while directory.passes.check() is None:
        time.sleep(0.01)


def test_a_key_that_is_missing_is_written_again(path: Path, directory: StateDir) -> None:
    """What the running process sealed must stay comparable."""
    key = directory.key
    (path / "key").unlink()
    assert directory.passes.check() == "key"
    assert directory.passes.check() is None
    with StateDir.open(path, writable=True) as other:
        assert other.key == key


def test_a_state_that_is_not_in_use_any_more_is_not_examined(path: Path) -> None:
    """A process that never needed the key writes none, and one that cannot write is not stopped by it."""
    with StateDir.open(path, writable=True) as state:
        assert state.passes.check() is None
        assert not (path / "key").exists()


@pytest.mark.parametrize("writable", [True, False])
def test_an_emptied_database_is_refused(path: Path, writable: bool) -> None:
    """It held pauses and approvals, and nobody decided to lose them."""
    StateDir.open(path, writable=True).close()
    _empty(path / "state.db")
    with pytest.raises(
        StateDirError, match=r"state\.db is empty, although kvsync has used it before; restore it, or move"
    ):
        StateDir.open(path, writable=writable)


def test_a_missing_database_is_reported_once(path: Path) -> None:
    """The state begins again, and whoever opens it can say so."""
    StateDir.open(path, writable=True).close()
    (path / "state.db").unlink()
    found = []
    for writable in (False, True, True):
        with StateDir.open(path, writable=writable) as state:
            found.append(state.is_lost)
    assert found == [True, True, False]


CLOSING: Final = """
with StateDir.open(path, writable=True) as state, state.lock("kvsync run"):
    apply_one(state, KEY, "a", "b")
    path.chmod(0o500)
    state.pauses.pause("edge", None, None, 0)
    print("check", state.passes.check(), "pauses", len(state.pauses.all()))
"""


def test_a_directory_that_becomes_read_only_loses_nothing(path: Path) -> None:
    """A process that has its files open goes on recording; the next one reads all of it."""
    wrapper = without_root()
    try:
        assert run(CLOSING, path, wrapper=wrapper) == "check None pauses 1\n"
        assert run(READ, path, wrapper=wrapper) == "runs 1 ledger 1 writer None\n"
    finally:
        path.chmod(0o700)


def test_a_process_that_ends_while_it_makes_the_database_blocks_nobody(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that is still empty, because another process makes it or was killed, is not one that was emptied."""
    StateDir.open(path, writable=True).close()
    (path / "state.db").unlink()

    def end(_path: Path) -> None:
        (path / "state.db").touch()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("kvsync.state.directory.open_for_writing", end)
        with pytest.raises(KeyboardInterrupt):
            StateDir.open(path, writable=True)
    for writable in (False, True):
        StateDir.open(path, writable=writable).close()
    with StateDir.open(path, writable=True) as state:
        assert not state.is_lost
