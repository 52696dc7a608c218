from __future__ import annotations

import errno
import os
import signal
import threading
from pathlib import Path

import pytest

from kvsync.errors import LockHeld
from kvsync.state import StateDir
from tests.state.examples import start

HOLD = """
with StateDir.open(path, writable=True) as state, state.lock("kvsync run"):
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_a_second_process_is_refused_and_told_who_holds_the_lock(path: Path) -> None:
    """Two writing processes with one state directory exclude each other, and the loser learns the winner's pid."""
    with start(HOLD, path) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with StateDir.open(path, writable=True) as state:
            assert state.writer() == other.pid
            with (
                pytest.raises(LockHeld, match=f"process {other.pid} holds the lock") as caught,
                state.lock("kvsync apply"),
            ):
                pass
            assert caught.value.pid == other.pid
        other.communicate("\n")


def test_deleting_the_file_admits_nobody(path: Path) -> None:
    """A second process is refused although the lock file is gone, and the directory still counts as locked."""
    with start(HOLD, path) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        (path / "lock").unlink()
        with StateDir.open(path, writable=True) as state:
            assert state.writer() == 0
            with pytest.raises(LockHeld), state.lock("kvsync apply"):
                pass
        other.communicate("\n")


def test_a_killed_process_leaves_no_lock(path: Path) -> None:
    """SIGKILL frees the lock, so that a dead daemon never has to be cleaned up after."""
    with start(HOLD, path) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        other.send_signal(signal.SIGKILL)
        other.wait()
    with StateDir.open(path, writable=True) as state:
        assert state.writer() is None
        with state.lock("kvsync apply"):
            assert state.writer() == os.getpid()
        assert state.writer() is None


def test_the_lock_is_freed_when_its_holder_fails(state: StateDir) -> None:
    """An error inside does not keep the lock."""
    with pytest.raises(ZeroDivisionError), state.lock("kvsync apply"):
        raise ZeroDivisionError
    with state.lock("kvsync apply"):
        pass


def test_the_lock_is_freed_where_nothing_can_be_written_any_more(
    directory: StateDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system that became read-only meanwhile is not an error of what was done under the lock."""

    def refuses(_descriptor: int, _length: int) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    with directory.lock("kvsync run"):
        monkeypatch.setattr(os, "ftruncate", refuses)
    assert directory.writer() is None


def test_asking_who_writes_never_keeps_a_writer_out(state: StateDir) -> None:
    """`status` in a loop next to a starting daemon does not make it believe that another one runs."""
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            state.writer()

    asker = threading.Thread(target=ask)
    asker.start()
    try:
        for _ in range(200):
            with state.lock("kvsync run"):
                pass
    finally:
        over.set()
        asker.join()


def test_reading_needs_no_lock(path: Path) -> None:
    """Reading commands work while another process holds the lock."""
    with start(HOLD, path) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with StateDir.open(path, writable=False) as state:
            assert state.journal.runs() == []
        other.communicate("\n")


def test_nobody_writes_where_nothing_exists(path: Path) -> None:
    """A directory that does not exist has no writer, and asking does not make it."""
    with StateDir.open(path, writable=False) as state:
        assert state.writer() is None
    assert not path.exists()
