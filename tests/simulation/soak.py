"""A real daemon that works for a long time, and what it holds meanwhile: `python -m tests.simulation.soak FOLDER BEATS`.

Two stores: a file, and Apify behind a proxy, which is down for the middle third, in three ways. At each beat both files
ask for something else, and what can be reached has to follow. Prints one JSON object, with a sample after each beat.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import urllib.request
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from tests.faults.catalogue import FAULTS
from tests.faults.proxy import Proxy, proxied
from tests.stores.apify_service import Service
from tests.support.command import ROOT
from tests.support.etcd import free_port, wait_until

ENTRIES: Final = 30
WAYS_TO_BE_DOWN: Final = ("cut before", "hang", "503 as a page")
_PATIENCE: Final = 60.0
_ALL_CALLS: Final = "all"


class Soak:
    """The daemon, its files and its stores."""

    def __init__(self, folder: Path, service: Service, proxy: Proxy) -> None:
        self.folder, self._service, self._proxy = folder, service, proxy
        self._origin = f"http://127.0.0.1:{free_port()}"
        (folder / "state").mkdir(parents=True)
        (folder / "kvsync.yaml").write_text(
            "version: 1\nowner: team-a\npolicy: {prune: owned, guard: {max_update_pct: 100}}\n"
            f"stores:\n  local: {{type: sqlite, path: {folder}/store.db}}\n"
            f"  edge: {{type: apify, token: {{env: APIFY_TOKEN}}, endpoint: '{proxy.url}', timeout: 2s}}\n"
            f"run: {{every: 1s, jitter: 0s, debounce: 50ms, listen: '{self._origin[7:]}'}}\n"
        )
        self._want(0)
        with (folder / "log").open("wb") as log:
            command = [sys.executable, "-X", "faulthandler", "-m", "kvsync", "--log-format", "json", "run"]
            self._process = subprocess.Popen(
                command, cwd=folder, env=os.environ | service.env | {"PYTHONPATH": str(ROOT)}, stderr=log
            )

    def _want(self, beat: int) -> None:
        lines = "".join(f"  k{number:02}: value {beat if number < 3 else 0}\n" for number in range(ENTRIES))
        for store in ("local", "edge"):
            (self.folder / "state/new").write_text(f"store: {store}\nnamespace: web\nkeys:\n{lines}")
            (self.folder / "state/new").rename(self.folder / f"state/{store}.yaml")

    def _has_local(self, beat: int) -> bool:
        if not (self.folder / "store.db").exists():
            return False
        with closing(sqlite3.connect(self.folder / "store.db", timeout=30)) as connection:
            try:
                found = connection.execute("SELECT value FROM entries WHERE key = 'k00'").fetchall()
            except sqlite3.OperationalError:  # nothing was written yet
                return False
        return [bytes(one).decode() for (one,) in found] == [f"value {beat}"]

    def _has_edge(self, beat: int) -> bool:
        return self._service.value("web", "k00") == f"value {beat}".encode()

    def beat(self, number: int, *, is_up: bool) -> None:
        """Want something else, and wait until it is there; then look at the page and the metrics."""
        self._proxy.calls.clear()
        self._want(number)
        wait_until(lambda: self._has_local(number), _PATIENCE)
        if is_up:
            wait_until(lambda: self._has_edge(number), _PATIENCE)
        for path in ("/", "/metrics", "/status", "/healthz"):
            with urllib.request.urlopen(self._origin + path, timeout=_PATIENCE) as answer:
                answer.read()

    def break_off(self, way: str) -> None:
        """Let the store not be reached."""
        self._proxy.arm(_ALL_CALLS, FAULTS[way], sys.maxsize)

    def mend(self) -> None:
        """Let it be reached again, and the daemon try at once."""
        self._proxy.heal()
        self._process.send_signal(signal.SIGUSR1)

    def sample(self) -> dict[str, int]:
        """What the process holds now."""
        proc = Path(f"/proc/{self._process.pid}")
        status = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
        files = [file for file in (self.folder / ".kvsync").rglob("*") if file.is_file()]
        state = sum(file.stat().st_size for file in files if not file.name.endswith("-wal"))  # which SQLite uses again
        return {
            "rss": int(status["VmRSS"].split()[0]),
            "threads": int(status["Threads"]),
            "descriptors": len(list((proc / "fd").iterdir())),
            "state": state,
        }

    def events(self) -> dict[str, int]:
        """How often it logged what."""
        found: dict[str, int] = {}
        for line in (self.folder / "log").read_text().splitlines():
            event = json.loads(line)
            name = event["event"] if event.get("ok", True) else f"{event['event']} not ok"
            found[name] = found.get(name, 0) + 1
        return found

    def leave(self) -> int:
        """Tell it to leave; gives its exit code."""
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(_PATIENCE)

    def stacks(self) -> str:
        """End it, and say what it was at."""
        self._process.send_signal(signal.SIGABRT)
        self._process.wait()
        return (self.folder / "log").read_text()[-8000:]

    def kill(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.wait()


def soak(folder: Path, beats: int) -> dict[str, Any]:
    """Let it live for so many beats."""
    third, samples = beats // 3, []
    with Service.serve() as service, proxied(service.url, lambda _call: _ALL_CALLS) as proxy:
        service.reset("web")
        found = Soak(folder, service, proxy)
        try:
            for number in range(1, beats + 1):
                is_up = not third < number <= 2 * third
                if not is_up and (number - third - 1) % max(1, third // len(WAYS_TO_BE_DOWN)) == 0:
                    found.break_off(WAYS_TO_BE_DOWN[(number - third - 1) * len(WAYS_TO_BE_DOWN) // third])
                if number == 2 * third + 1:
                    found.mend()
                found.beat(number, is_up=is_up)
                samples.append(found.sample())
            return {"exit": found.leave(), "samples": samples, "events": found.events()}
        except AssertionError as error:
            raise AssertionError(f"{error}: {found.stacks()}") from None
        finally:
            found.kill()


if __name__ == "__main__":
    print(json.dumps(soak(Path(sys.argv[1]), int(sys.argv[2]))))
