"""A daemon with a very large repository: the cost of waiting, of the page and the metrics, and of a webhook.

`python -m tests.benchmarks production`: 10,000 watched files with 100,000 entries, unchanged; the page and the metrics of 1,000
targets against an answer that says nothing; from a hook to the first request that a store gets.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.benchmarks.measure import NO_GOAL, Figure, run
from tests.benchmarks.repo import write_repo

FILES, ENTRIES_EACH, TARGETS = 10_000, 10, 1000
IDLE_SECONDS, EDIT_SECONDS, LOOKS, HOOKS = 30, 5, 20, 10
PATIENCE = 300.0
"""Seconds that a daemon may take for its first passes."""

SECRET = "s3cret-of-the-bench"

SERVED = "\n  listen: 127.0.0.1:0\n  hook: {secret: {env: HOOK}}\n"

EDGE = """\
version: 1
owner: bench
state: ["state/*.yaml"]
policy: {{prune: owned}}
stores: {{edge: {{type: cloudflare-kv, endpoint: "{url}", account_id: "{account}", token: {{env: HOOK}}}}}}
run: {{watch: false, listen: "127.0.0.1:0", hook: {{secret: {{env: HOOK}}}}}}
"""


def measure(folder: Path) -> Iterator[Figure]:
    """Yield the figures one by one."""
    for name, part in (("rest", _at_rest), ("looks", _looked_at), ("told", _told)):
        (folder / name).mkdir()
        yield from part(folder / name)


# -- idle -------------------------------------------------------------------------------------------------------------


def _at_rest(folder: Path) -> Iterator[Figure]:
    write_repo(folder, FILES, ENTRIES_EACH)
    _serve_too(folder)
    run([*_kvsync(), "--log-level", "error", "run", "--once"], folder)
    with _daemon(folder) as daemon:
        yield Figure("ready again with 100,000 entries known", daemon.ready_after, NO_GOAL, " s")
        time.sleep(5)
        before = daemon.cpu
        time.sleep(IDLE_SECONDS)
        share = (daemon.cpu - before) / IDLE_SECONDS
        detail = f"{FILES:,} files watched, {FILES * ENTRIES_EACH:,} entries known"
        yield Figure("idle, CPU", share * 1000, 3, " ms a second", f"{detail}; all are checked every 30 s")
        yield Figure("idle, memory", daemon.rss, 80, " MiB", detail)
        before = daemon.cpu
        file = folder / "state" / "f0000.yaml"
        file.write_text(file.read_text().replace("some value", "other value", 1))
        time.sleep(EDIT_SECONDS)
        spent = daemon.cpu - before - share * EDIT_SECONDS
        yield Figure("one edit, CPU", spent * 1000, 60, " ms", f"{detail}, in one folder")


# -- looked at --------------------------------------------------------------------------------------------------------


def _looked_at(folder: Path) -> Iterator[Figure]:
    write_repo(folder, TARGETS, 3, namespaces=TARGETS)
    for number, file in enumerate(sorted((folder / "state").glob("*.yaml"))):
        file.write_text(file.read_text().replace(f"namespace: ns{number:02d}", f"namespace: team-{number:04d}"))
    _serve_too(folder)
    with _daemon(folder) as daemon:
        nothing = daemon.look("/healthz")
        for path, name in (("/metrics", "scrape"), ("/", "page"), ("/status", "status")):
            look = daemon.look(path)
            ratio = look.seconds / nothing.seconds
            detail = f"{TARGETS:,} targets, {look.size / 1024:.0f} KiB, {ratio:.0f} times as long as /healthz"
            yield Figure(f"{name}, median", look.seconds * 1000, NO_GOAL, " ms", detail)
            yield Figure(f"{name}, CPU", look.cpu * 1000, NO_GOAL, " ms", detail)
        yield Figure("memory with 1,000 targets", daemon.rss, NO_GOAL, " MiB")


# -- told -------------------------------------------------------------------------------------------------------------


class _Api(BaseHTTPRequestHandler):
    """Knows when the last request came, and refuses it."""

    arrived: list[float] = []  # noqa: RUF012 - shared on purpose: the server makes an object a request

    def do_GET(self) -> None:
        self.arrived.append(time.monotonic())
        body = b'{"success": false, "errors": [{"code": 10000, "message": "no"}]}'
        self.send_response(403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base
        """Say nothing."""


def _told(folder: Path) -> Iterator[Figure]:
    api = ThreadingHTTPServer(("127.0.0.1", 0), _Api)
    threading.Thread(target=api.serve_forever, daemon=True).start()
    (folder / "state").mkdir()
    (folder / "kvsync.yaml").write_text(EDGE.format(url=f"http://127.0.0.1:{api.server_port}", account="a" * 32))
    (folder / "state" / "web.yaml").write_text("store: edge\nnamespace: web\nkeys: {a: 1}\n")
    try:
        with _daemon(folder) as daemon:
            seconds = [daemon.hook() for _ in range(HOOKS)]
    finally:
        api.shutdown()
        api.server_close()
    yield Figure("hook to first store request, median", statistics.median(seconds) * 1000, 100, " ms")
    yield Figure("hook to first store request, slowest", max(seconds) * 1000, NO_GOAL, " ms", f"the slowest of {HOOKS}")


# -- a daemon ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Look:
    """One answer: median seconds, CPU seconds of the daemon, bytes."""

    seconds: float
    cpu: float
    size: int


class _Daemon:
    """`kvsync run`, and what the kernel says of it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        began = time.monotonic()
        self._url = str(self._logged("http.listening")["url"])
        self._logged("daemon.ready")
        self.ready_after = time.monotonic() - began
        threading.Thread(target=self._drain, daemon=True).start()

    @property
    def cpu(self) -> float:
        """Seconds that it has worked."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def rss(self) -> float:
        """MiB resident."""
        status = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024

    def look(self, path: str) -> _Look:
        """Ask for this so many times."""
        self._get(path)
        before, seconds, size = self.cpu, [], 0
        for _ in range(LOOKS):
            began = time.monotonic()
            size = self._get(path)
            seconds.append(time.monotonic() - began)
        return _Look(statistics.median(seconds), (self.cpu - before) / LOOKS, size)

    def hook(self) -> float:
        """Tell it to reconcile, and wait for the store to be asked; returns the seconds between."""
        time.sleep(2.5)  # hooks that come closer are folded
        _Api.arrived.clear()
        request = urllib.request.Request(f"{self._url}/hooks/reconcile", b"", {"X-Kvsync-Token": SECRET})
        began = time.monotonic()
        urllib.request.urlopen(request, timeout=10).close()
        while not _Api.arrived and time.monotonic() < began + 30:
            time.sleep(0.001)
        return _Api.arrived[0] - began

    def _get(self, path: str) -> int:
        with urllib.request.urlopen(self._url + path, timeout=60) as answer:
            return len(answer.read())

    def _logged(self, name: str) -> dict[str, object]:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            event: dict[str, object] = json.loads(line)
            if event["event"] == name:
                return event
        raise RuntimeError(f"it ended before {name}")

    def _drain(self) -> None:
        assert self._process.stderr is not None
        for _ in self._process.stderr:
            pass


@contextmanager
def _daemon(folder: Path) -> Iterator[_Daemon]:
    command = [*_kvsync(), "--log-format", "json", "run"]
    environ = os.environ | {"HOOK": SECRET}
    process = subprocess.Popen(command, cwd=folder, env=environ, stderr=subprocess.PIPE, text=True)
    watchdog = threading.Timer(PATIENCE, process.kill)
    watchdog.start()
    try:
        yield _Daemon(process)
    finally:
        watchdog.cancel()
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def _kvsync() -> list[str]:
    return [sys.executable, "-m", "kvsync"]


def _serve_too(folder: Path) -> None:
    """Let the daemon of a written repository listen."""
    file = folder / "kvsync.yaml"
    file.write_text(file.read_text().rstrip() + SERVED)
    os.environ["HOOK"] = SECRET
