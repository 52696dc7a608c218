"""A shortage of the machine is reported as one, with the remedy, and never as a mistake of kvsync."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kvsync.app.crashes import crashed
from kvsync.errors import TransientError, UnexpectedError
from kvsync.model.entry import Target
from kvsync.stores.worker_thread import WorkerThread
from kvsync.util.background import in_background
from kvsync.util.shortage import shortage_of

REPOSITORY = """\
version: 1
owner: o
state: ["state/*.yaml"]
policy: {prune: owned}
stores: {main: {type: sqlite, path: main.db}}
"""


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), "out of memory; raise the limit"),
        (ImportError("libsqlite3.so.0: failed to map segment from shared object"), "out of memory; raise the limit"),
        (OSError(errno.EMFILE, "x"), "too many open files; raise the limit (LimitNOFILE of systemd, or ulimit -n)"),
        (OSError(errno.ENOSPC, "x", "/d/f"), "/d/f: the disk is full, or has no inodes left; free some space"),
        (OSError(errno.EROFS, "x", "/d/f"), "/d/f: the file system is read-only; mount it writable"),
        (RuntimeError("can't start new thread"), "no thread or process can be started"),
    ],
    ids=["memory", "library", "descriptors", "disk", "read-only", "threads"],
)
def test_each_has_words_and_a_remedy(error: Exception, words: str) -> None:
    """Also when it is the cause of another error; a target that meets it tries again."""
    told = shortage_of(error)
    assert told is not None
    assert words in told
    outer = ValueError("outer")
    outer.__cause__ = error
    assert shortage_of(outer) == told
    assert isinstance(crashed(Target("main", "web"), "planning", outer), TransientError)


def test_any_other_error_is_none() -> None:
    """A mistake of kvsync stays one."""
    assert shortage_of(ValueError("x")) is None
    assert shortage_of(OSError("x")) is None
    assert isinstance(crashed(Target("main", "web"), "planning", KeyError("x")), UnexpectedError)


async def test_without_threads_work_is_done_or_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for a thread that cannot be started, and a call that failed does not run later."""

    def refuses(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    ran: list[int] = []
    worker = WorkerThread()
    with monkeypatch.context() as patch:
        patch.setattr("kvsync.util.background.start_new_thread", refuses)
        assert await in_background(lambda: 7) == 7
        async with asyncio.timeout(60):
            with pytest.raises(RuntimeError, match="can't start new thread"):
                await worker.run(lambda: ran.append(1))
    await worker.run(lambda: ran.append(2))
    worker.close()
    assert ran == [2]


async def test_a_thread_that_does_not_begin_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that runs out of memory before its first line is a shortage of memory for whoever needs it."""
    worker = WorkerThread()
    with monkeypatch.context() as patch:
        patch.setattr("kvsync.util.background.start_new_thread", lambda *_: None)
        patch.setattr("kvsync.util.background._BEGIN_WITHIN", 0.01)
        async with asyncio.timeout(60):
            with pytest.raises(MemoryError) as error:
                await worker.run(lambda: 1)
    assert "out of memory" in (shortage_of(error.value) or "")
    assert await worker.run(lambda: 2) == 2
    worker.close()


def test_an_import_without_memory_is_a_shortage() -> None:
    """Python has words of its own for it; any other SystemError is a mistake."""
    for words in ("error return without exception set", "<f> returned NULL without setting an exception"):
        assert "out of memory" in (shortage_of(SystemError(words)) or "")
    assert shortage_of(SystemError("bad argument")) is None


@pytest.mark.system
@pytest.mark.parametrize(
    ("limit", "words"),
    [
        *((f"nofile={number}", "too many open files; raise the limit") for number in (9, 12, 14, 18)),
        *((f"as={megabytes}000000", "raise the limit") for megabytes in (38, 53, 60)),
    ],
)
def test_a_command_that_lacks_descriptors_or_memory_says_so(tmp_path: Path, limit: str, words: str) -> None:
    """Wherever it comes to its end, it names the limit."""
    (tmp_path / "kvsync.yaml").write_text(REPOSITORY)
    (tmp_path / "state").mkdir()
    (tmp_path / "state/a.yaml").write_text("store: main\nnamespace: web\nkeys: {a: 1}\n")
    command = ("prlimit", f"--{limit}", sys.executable, "-m", "kvsync", "apply", "--yes")
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=120, check=False)
    told = done.stdout + done.stderr
    assert "bug in kvsync" not in told
    assert done.returncode == 0 or (done.returncode > 0 and words in told.lower()), told
