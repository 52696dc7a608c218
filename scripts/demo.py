"""The demo: a fresh SQLite store, kept equal to examples/quickstart while you change things (see `make demo`)."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import textwrap
import time
import webbrowser
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from types import FrameType
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
EXAMPLE: Final = Path("examples/quickstart")
STATE_DIR: Final = EXAMPLE / ".kvsync"
CONFIG: Final = EXAMPLE / ".demo.yaml"
"""The configuration of the example, with a free port for the page."""
PROGRAM: Final = str(Path(sys.executable).with_name("kvsync"))

TRY: Final = f"""
Run these in a second terminal, in this folder, and watch this one:

  change   sed -i 's/greeting: .*/greeting: Good evening/' \\
             {EXAMPLE}/state/web.yaml
  mistake  echo 'keys: {{}}' >> {EXAMPLE}/state/web.yaml
  repair   git checkout {EXAMPLE}/state
  drift    .venv/bin/python scripts/demo.py drift
  history  .venv/bin/kvsync -c {EXAMPLE}/kvsync.yaml history

Ctrl-C stops the demo.
"""
SHOWN: Final = 5
"""How many of the first entries are shown."""
WIDTH: Final = 80
"""Columns that the demo fits into."""

PAST: Final = {"create": "created", "update": "updated", "renew": "renewed", "adopt": "adopted", "delete": "deleted"}

Document = Mapping[str, Any]


def main(argument: str) -> int:
    """Apply the example to an empty store; then run the daemon and report what it does, unless the argument is `once`. With
    `drift`, change the store of a demo that runs. Returns an exit code."""
    os.chdir(ROOT)
    if argument == "drift":
        return change_by_hand("Changed by hand")
    if not start_fresh():
        print(f"A demo is already running on {EXAMPLE}; stop it first.", file=sys.stderr)
        return 5
    if argument == "once":
        show("The plan for an empty store:", "plan")
        return show("One pass:", "run", "--once") or show("And what is left to do:", "plan", "--exit-code")
    return tell()


def tell() -> int:
    """The whole story. Returns the exit code of the daemon."""
    done = subprocess.run([*command(), "apply", "--yes", "-o", "json"], stdout=subprocess.PIPE, check=False)
    if done.returncode:
        return done.returncode
    print(f"kvsync keeps a SQLite store equal to the files in {EXAMPLE}/state.\n")
    for line in first_entries(json.loads(done.stdout)):
        print(line)
    print(TRY, flush=True)
    try:
        return watch()
    finally:
        CONFIG.unlink(missing_ok=True)


def first_entries(applied: Document) -> Iterator[str]:
    """What was written: how much, and the first entries with their values and places."""
    counts = {f"{one['store']}/{one['namespace']}": one["changes"] for one in applied["targets"]}
    total = sum(map(len, counts.values()))
    yield f"written  {total} entries: " + ", ".join(f"{len(found)} in {name}" for name, found in counts.items())
    target, changes = max(counts.items(), key=lambda one: len(one[1]))
    by_line = sorted(changes, key=lambda change: int(change["origin"].split(":")[1]))
    for change in by_line[:SHOWN]:
        name = f"{target}/{change['key']}"
        value = stored(target, change)
        value = value if len(value) <= 24 else f"{value[:23]}…"
        yield f"         {name:<22} {value:<24} {change['origin']}"
    yield f"         … and {total - SHOWN} more"


def watch() -> int:
    """Run `kvsync run`, and report what it does. Every signal ends it. Returns its exit code."""
    with_page = f"{(EXAMPLE / 'kvsync.yaml').read_text(encoding='utf-8')}  listen: 127.0.0.1:{free_port()}\n"
    CONFIG.write_text(with_page, encoding="utf-8")
    arguments = [PROGRAM, "--log-format", "json", "-c", str(CONFIG), "run"]
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) as daemon:
        assert daemon.stderr is not None

        def end(_number: int, _frame: FrameType | None) -> None:
            daemon.terminate()

        signal.signal(signal.SIGINT, end)
        signal.signal(signal.SIGTERM, end)
        for line in report(json.loads(event) for event in daemon.stderr):
            print(line, flush=True)
    return daemon.returncode


def report(events: Iterable[Document]) -> Iterator[str]:
    """What the events of the daemon mean, in lines that fit the screen."""
    runs: set[str] = set()
    for event in events:
        match event["event"]:
            case "http.listening":
                yield from said("page", f"{event['url']}{open_page(event['url'])}")
            case "daemon.ready":
                yield from said("ready", "kvsync watches the files, and checks the store every 5 s")
            case "drift.detected":
                yield from said("drift", f"{entry(event)} was changed in the store")
            case "source.invalid":
                place = ":".join(str(event[name]) for name in ("file", "line", "column") if name in event)
                yield from said("refused", f"{place}: {event['error']} [{event['code']}]")
                yield from said("", "The store keeps what it has until the file is corrected.")
            case "source.recovered":
                yield from said("repaired", "the files are valid again")
            case "change.applied":
                runs.add(event["run"])
            case "pass.finished":
                for run in runs:
                    yield from changes_of(run)
                runs.clear()


def changes_of(run: str) -> Iterator[str]:
    """Old and new value of each change of a run, with the place in the files."""
    done = subprocess.run([*command(), "show", run, "-o", "json"], stdout=subprocess.PIPE, check=True)
    for change in json.loads(done.stdout)["changes"]:
        verb = "healed" if change["class"] in ("drifted", "missing", "conflict") else PAST[change["action"]]
        before = "(nothing)" if change["before"] is None else quoted(change, change["before"].get("value"))
        after = stored(f"{change['store']}/{change['namespace']}", change)
        yield from said(verb, f"{entry(change)}: {before} -> {after}  {change['origin'] or ''}")


def said(word: str, text: str) -> Iterator[str]:
    """A line, or several, with the time and a word for what happened."""
    head = f"{time.strftime('%H:%M:%S')}  {word:<10}" if word else ""
    yield from textwrap.wrap(text, WIDTH, initial_indent=f"{head:<20}", subsequent_indent=" " * 20)


def entry(found: Document) -> str:
    """The name of an entry."""
    return f"{found['store']}/{found['namespace']}/{found['key']}"


def stored(target: str, change: Document) -> str:
    """The value that the store holds now."""
    query = "SELECT value FROM entries WHERE namespace = ? AND key = ? AND label IS ?"
    with closing(sqlite3.connect(f"file:{STATE_DIR}/store.db?mode=ro", uri=True)) as store:
        row = store.execute(query, (target.partition("/")[2], change["key"], change["label"])).fetchone()
    return "(nothing)" if row is None else quoted(change, row[0])


def quoted(change: Document, value: str | bytes | None) -> str:
    """A value as it is shown: never that of a sensitive entry."""
    if change.get("sensitive") or value is None:
        return "(not shown)"
    return f'"{value.decode(errors="replace") if isinstance(value, bytes) else value}"'


def open_page(url: str) -> str:
    """Open the page if there is a screen. Returns what to say about it."""
    has_screen = any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
    return " (opened in your browser)" if has_screen and webbrowser.open(url) else ""


def free_port() -> int:
    """A port of this machine that nothing uses at the moment."""
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        port: int = probe.getsockname()[1]
        return port


def command() -> list[str]:
    """The command line for the example."""
    return [PROGRAM, "--log-format", "console", "-c", str(EXAMPLE / "kvsync.yaml")]


def change_by_hand(text: str) -> int:
    """Change an entry in the store as another program would. Returns an exit code."""
    try:
        store = sqlite3.connect(f"file:{STATE_DIR}/store.db?mode=rw", uri=True)
    except sqlite3.OperationalError:
        print("No demo is running; start it with: make demo", file=sys.stderr)
        return 1
    with closing(store), store:
        store.execute("UPDATE entries SET value = ? WHERE namespace = 'web' AND key = 'greeting'", (text,))
    print(f"The store now contains greeting: {text}")
    return 0


def start_fresh() -> bool:
    """Forget what an earlier demo left behind. False when one is still running."""
    for path in STATE_DIR.rglob("lock"):
        with path.open("rb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
    shutil.rmtree(STATE_DIR, ignore_errors=True)
    return True


def show(heading: str, *arguments: str) -> int:
    """Run one kvsync command under a heading, as a person would type it. Returns its exit code."""
    print(f"\n{heading}\n$ kvsync {' '.join(arguments)}", flush=True)
    return subprocess.run([*command(), *arguments], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else ""))
