"""From a fresh clone, as a newcomer meets it: make alone sets everything up, and the demo does what it says."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 60.0
"""Seconds after which something that should have happened has not; far more than it takes."""


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything that is tracked, as it is now, in a folder of its own, with a virtual environment made there."""
    folder = tmp_path_factory.mktemp("fresh") / "kvsync"
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, tracked.split("\0")):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target)
    done = make(folder, "install")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def newcomer() -> dict[str, str]:
    """The environment of someone who has nothing of ours set, and a system that writes no bytecode."""
    ours = ("KVSYNC_", "MAKE", "MFLAGS", "PYTEST_", "VIRTUAL_ENV")
    return {key: value for key, value in os.environ.items() if not key.startswith(ours)} | {
        "PYTHONDONTWRITEBYTECODE": "1"
    }


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", *arguments], cwd=folder, env=newcomer(), capture_output=True, text=True, timeout=500, check=False
    )


def test_setting_up_twice_does_nothing_the_second_time(clone: Path) -> None:
    """A second `make install` finds everything up to date, and what was installed is compiled."""
    assert "Nothing to be done" in make(clone, "install").stdout
    assert list((clone / "kvsync").rglob("*.pyc"))
    assert (clone / ".venv/bin/kvsync").exists()


def test_one_pass_of_the_demo_works_twice(clone: Path) -> None:
    """`DEMO=once make demo` fills a fresh store, finds nothing left to do, and does the same when it is called again."""
    for _ in range(2):
        done = make(clone, "demo", "DEMO=once")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "24 to create" in done.stdout
        assert "Nothing to do" in done.stdout
        assert greeting(clone) == "Hello"


@pytest.fixture
def demo(clone: Path, tmp_path: Path) -> Iterator[Callable[[], str]]:
    """The demo, running on a terminal that is a file; gives what it has printed so far."""
    screen = tmp_path / "screen"
    with screen.open("wb") as output:
        process = subprocess.Popen(
            ["make", "demo"], cwd=clone, env=newcomer(), stdout=output, stderr=output, start_new_session=True
        )
    web = clone / "examples/quickstart/state/web.yaml"
    before = web.read_bytes()
    try:
        yield screen.read_text
        os.killpg(process.pid, signal.SIGINT)
        process.wait(PATIENCE)
    finally:
        web.write_bytes(before)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def test_the_demo_shows_a_change_drift_and_a_mistake(clone: Path, demo: Callable[[], str]) -> None:
    """The demo shows what it wrote. While it runs, an edit is applied and a change by hand is healed, each with the old and the
    new value, and a bad edit is refused with its place while the last good state stays. No line has more than 80 columns, and
    Ctrl-C ends it."""
    web = clone / "examples/quickstart/state/web.yaml"
    until(lambda: "  ready  " in demo(), demo)
    assert "written  24 entries: 6 in local/shop, 18 in local/web\n" in demo()

    web.write_text(web.read_text().replace("greeting: Hello", "greeting: Good evening"))
    until(lambda: 'updated   local/web/greeting: "Hello" -> "Good evening"' in demo(), demo)

    write_by_hand(clone, "Hacked")
    until(lambda: "drift     local/web/greeting was changed in the store" in demo(), demo)
    until(lambda: 'healed    local/web/greeting: "Hacked" -> "Good evening"' in demo(), demo)
    assert greeting(clone) == "Good evening"

    good = web.read_text()
    web.write_text(good.replace("Good evening", "Bad evening") + "keys: {}\n")
    until(lambda: f"web.yaml:{len(good.splitlines()) + 1}:1" in demo(), demo)
    assert greeting(clone) == "Good evening"

    web.write_text(good.replace("Good evening", "Good night"))
    until(lambda: greeting(clone) == "Good night", demo)
    assert max(map(len, demo().splitlines())) <= 80


def until(happened: Callable[[], bool], screen: Callable[[], str]) -> None:
    """Wait for something that is bound to happen."""
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < deadline, screen()
        time.sleep(0.05)


def greeting(clone: Path) -> str | None:
    """What the store of the demo greets with."""
    database = sqlite3.connect(f"file:{clone}/examples/quickstart/.kvsync/store.db?mode=ro", uri=True)
    try:
        row = database.execute("SELECT value FROM entries WHERE namespace = 'web' AND key = 'greeting'").fetchone()
    finally:
        database.close()
    value: str | bytes | None = row[0] if row else None
    return value.decode() if isinstance(value, bytes) else value


def write_by_hand(clone: Path, value: str) -> None:
    """Change the greeting the way a person with a database shell does."""
    database = sqlite3.connect(clone / "examples/quickstart/.kvsync/store.db", timeout=PATIENCE)
    with database:
        database.execute("UPDATE entries SET value = ? WHERE namespace = 'web' AND key = 'greeting'", (value,))
    database.close()
