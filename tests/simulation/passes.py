"""A daemon that makes very many passes, in a process of its own, and reports its memory and disk use.

    python -m tests.simulation.passes FOLDER BEATS

Three targets: nothing to do, something to do at each beat, a store that fails; each third beat one file is broken. The page,
the metrics and the status are asked for now and then. Prints one JSON object, with a sample after each of many stretches.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from kvsync.app import Workspace, open_workspace
from kvsync.app.monitoring import Serving
from kvsync.app.reconciler import WorkspaceReconciler
from kvsync.daemon.loop import Daemon
from kvsync.daemon.observer import DaemonObserver
from kvsync.daemon.parts import DaemonOptions
from kvsync.daemon.systemd import SystemdNotifier
from kvsync.errors import PermanentError
from kvsync.logs import configure
from kvsync.model.result import PassResult
from kvsync.stores.memory.store import _SHARED
from kvsync.testing import MemoryServer
from kvsync.util.redaction import Redactor
from tests.simulation.virtual import LoopClock, simulate

EVERY = 60.0
SAMPLES = 40

RUNS = 500
"""Runs that the journal keeps here."""

CONFIG = f"""\
version: 1
owner: team-a
state: ["state/*.yaml"]
policy: {{prune: owned}}
journal: {{runs: {RUNS}}}
stores:
  calm: {{type: sqlite, path: store.db}}
  busy: {{type: memory, shared: busy}}
  gone: {{type: memory, shared: gone}}
run: {{every: 60s, jitter: 0s, watch: false, listen: "127.0.0.1:0"}}
"""


class UnrecordedServer(MemoryServer):
    """Does not remember its calls, which would look like a leak."""

    def _arrive(self, method: str, namespace: str, slots: Any) -> None:
        """Nothing goes wrong."""


class RefusingServer(UnrecordedServer):
    """Refuses."""

    def _arrive(self, method: str, namespace: str, slots: Any) -> None:
        raise PermanentError("403: you may not")


class PassCounter(DaemonObserver):
    """Counts passes, by how they ended."""

    def __init__(self) -> None:
        self.unchanged = self.changed = self.failed = 0

    def pass_done(self, result: PassResult) -> None:
        if not result.ok:
            self.failed += 1
        elif result.changes.get("applied"):
            self.changed += 1
        else:
            self.unchanged += 1

    @property
    def total(self) -> int:
        return self.unchanged + self.changed + self.failed


def want(folder: Path, store: str, number: int, count: int = 50) -> None:
    """Write the file of a target."""
    lines = "".join(f"  k{index:03}: value {number if index == 0 else 0}\n" for index in range(count))
    (folder / "state" / f"{store}.yaml").write_text(f"store: {store}\nnamespace: web\nkeys:\n{lines}")


def rss() -> int:
    """Resident memory in KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def sample(workspace: Workspace, counting: PassCounter) -> dict[str, int]:
    """What is held now."""
    gc.collect()
    database = sum(file.stat().st_size for file in workspace.config.state_dir.rglob("*") if file.is_file())
    runs = len(workspace.state.journal.runs(100_000))
    return {"passes": counting.total, "rss": rss(), "objects": len(gc.get_objects()), "disk": database, "runs": runs}


async def live(workspace: Workspace, clock: LoopClock, beats: int) -> dict[str, Any]:
    """Let the daemon work, and look at it."""
    reconciler, counting = WorkspaceReconciler(workspace, workspace.pass_context, {}), PassCounter()
    serving = Serving(workspace, reconciler, {}, observe=False)
    daemon = Daemon(
        reconciler,
        workspace.state.passes,
        workspace.config.run,
        DaemonOptions(
            notifier=SystemdNotifier({}), clock=clock, observers=[serving.collector, counting], on_reload=serving.reload
        ),
    )
    samples: list[dict[str, int]] = []
    async with aiohttp.ClientSession() as session, serving.serving(daemon, workspace.config.run):
        running = asyncio.create_task(daemon.run())
        assert serving._server is not None
        for beat in range(beats):
            await asyncio.sleep((beat + 0.5) * EVERY - clock.monotonic())
            want(workspace.config.root, "busy", beat)
            if beat % 3 == 0:
                (workspace.config.root / "state" / "busy.yaml").write_text(
                    "store: busy\nnamespace: web\nkeys: {a: [}\n"
                )
            if beat % 25 == 0:
                await ask(session, serving._server.url or "")
            if (beat + 1) % (beats // SAMPLES) == 0:
                samples.append(sample(workspace, counting))
        os.kill(os.getpid(), signal.SIGTERM)
        await running
    kinds = {"unchanged": counting.unchanged, "changed": counting.changed, "failed": counting.failed}
    return {"samples": samples, **kinds}


async def ask(session: aiohttp.ClientSession, url: str) -> None:
    """Look at everything that can be looked at."""
    for path in ("/", "/status", "/metrics", "/healthz"):
        async with session.get(url + path) as answer:
            assert answer.status == 200
            await answer.read()


async def main(clock: LoopClock) -> dict[str, Any]:
    """See the module."""
    folder, beats = Path(sys.argv[1]), int(sys.argv[2])
    (folder / "state").mkdir()
    (folder / "kvsync.yaml").write_text(CONFIG)
    for store in ("calm", "busy", "gone"):
        want(folder, store, -1)
    with pytest.MonkeyPatch.context() as patch, (folder / "log").open("w") as log:
        configure("json", "info", stream=log)
        patch.setitem(_SHARED, "busy", UnrecordedServer(clock))
        patch.setitem(_SHARED, "gone", RefusingServer(clock))
        opening = open_workspace(folder / "kvsync.yaml", writing="run", redactor=Redactor(), environ={}, clock=clock)
        async with opening as workspace:
            return await live(workspace, clock, beats)


if __name__ == "__main__":
    print(json.dumps(simulate(main)))
