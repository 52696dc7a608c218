"""Voximplant's storage: `python -m tests.benchmarks voximplant`. The emulator is a process of its own, without a rate.

1,000 entries: calls to look at them, to write them, and to leave the ledger in the store. 5,000: CPU of a pass with nothing
to do against decoding its pages once, and how little of the ledger is written for one change.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from kvsync.app import TargetSelection, open_workspace
from tests.benchmarks.measure import NO_GOAL, Figure, best, by_call, kvsync

SET, GET, ITEMS = "SetKeyValueItem", "GetKeyValueItem", "GetKeyValueItems"


def measure(folder: Path) -> Iterator[Figure]:
    """Yield the figures one by one."""
    with _emulator() as server:
        os.environ.update(server.env)
        for ledger in ("local", "store"):
            server.empty()
            shutil.rmtree(folder / ".kvsync", ignore_errors=True)
            _write_repo(server, folder, 1000, ledger)
            yield from _thousand(server, folder, ledger)
        server.empty()
        shutil.rmtree(folder / ".kvsync", ignore_errors=True)
        _write_repo(server, folder, 5000, "store")
        yield from _five_thousand(server, folder)


class Server:
    """The emulator, as its ready line tells."""

    def __init__(self, ready: dict[str, Any]) -> None:
        self.url, self.env = ready["url"], ready["env"]

    def empty(self) -> None:
        """Forget everything."""
        self._ask("reset")

    def count_anew(self) -> None:
        """Count from here."""
        self._ask("reset", {"only": ["stats"]})

    def requests(self) -> dict[str, int]:
        """Calls by method."""
        with urllib.request.urlopen(f"{self.url}/_emulator/stats") as answer:
            return {name.rpartition("/")[2]: count for name, count in json.loads(answer.read())["routes"].items()}

    def page(self, offset: int) -> bytes:
        """A page of the listing, as it is sent."""
        known = {"account_id": self.env["VOXIMPLANT_ACCOUNT_ID"], "api_key": self.env["VOXIMPLANT_API_KEY"]}
        body = {"application_id": 1, "key": "web", "count": 50, "offset": offset, **known}
        with urllib.request.urlopen(f"{self.url}/platform_api/{ITEMS}", urlencode(body).encode()) as answer:
            found: bytes = answer.read()
            return found

    def _ask(self, path: str, body: Any = None) -> None:
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(urllib.request.Request(f"{self.url}/_emulator/{path}", data, method="POST")):
            pass


@contextmanager
def _emulator() -> Iterator[Server]:
    with subprocess.Popen(kvsync("emulate", "voximplant"), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Server(json.loads(process.stdout.readline()))
        finally:
            process.terminate()


def _thousand(server: Server, folder: Path, ledger: str) -> Iterator[Figure]:
    first = asyncio.run(_apply(server, folder))
    most = 1.0 if ledger == "local" else NO_GOAL
    detail = f"{by_call(first)}, with `ledger: {ledger}`"
    yield Figure("1,000 new entries, writes per entry", first[SET] / 1000, most, detail=detail)
    looks = first.get(GET, 0) + first.get(ITEMS, 0)
    yield Figure(
        "1,000 new entries, reads per entry", looks / 1000, NO_GOAL, detail="single reads and pages of listings"
    )
    again = asyncio.run(_plan(server, folder, 1000))[1]
    goal = 20 if ledger == "local" else NO_GOAL  # the last page is full, so one more must be asked for
    detail = f"{by_call(again)}, with `ledger: {ledger}`"
    yield Figure("plan of 1,000 unchanged entries, calls", sum(again.values()), goal, "", detail)


def _five_thousand(server: Server, folder: Path) -> Iterator[Figure]:
    asyncio.run(_apply(server, folder))
    passing, calls = asyncio.run(_plan(server, folder, 5000))
    pages: list[bytes] = []
    while not pages or len(json.loads(pages[-1])["result"]) == 50:
        pages.append(server.page(50 * len(pages)))
    decoding = min(_decoded(pages) for _ in range(5))
    per_page, detail = sum(calls.values()) / len(pages), by_call(calls)
    yield Figure("plan of 5,000 and their ledger, calls per page", per_page, NO_GOAL, detail=detail)
    detail = f"{passing * 1000:.0f} ms against {decoding * 1000:.0f} ms of CPU"
    yield Figure(
        "plan of 5,000 and their ledger, CPU against decoding the pages", passing / decoding, NO_GOAL, detail=detail
    )
    file = folder / "state" / "web.yaml"
    file.write_text(file.read_text().replace("value 2500\n", "another value\n"))
    change = asyncio.run(_apply(server, folder))
    yield Figure("one change of 5,000, pieces of the ledger written", change[SET] - 1, NO_GOAL, "", by_call(change))
    whole = best(kvsync("plan", "-o", "json"), folder)
    yield Figure(
        "plan of 5,000, peak memory", whole.rss, NO_GOAL, " MiB", f"{whole.cpu:.2f} s of CPU, {whole.wall:.2f} s"
    )


async def _apply(server: Server, folder: Path) -> dict[str, int]:
    server.count_anew()
    async with open_workspace(folder / "kvsync.yaml", writing="bench") as workspace:
        plan = await workspace.plan(TargetSelection())
        report = await workspace.apply(plan, command="bench")
        assert {one.kind.value for target in report.targets for one in target.outcomes} == {"applied"}
    return server.requests()


async def _plan(server: Server, folder: Path, count: int) -> tuple[float, dict[str, int]]:
    """CPU seconds of a pass that finds nothing, in a process that has looked before, and what it asked for."""
    async with open_workspace(folder / "kvsync.yaml") as workspace:
        await workspace.plan(TargetSelection())
        seconds = []
        for _ in range(3):
            server.count_anew()
            started = time.process_time()
            plan = await workspace.plan(TargetSelection())
            seconds.append(time.process_time() - started)
            assert plan.targets[0].unchanged == count
        return min(seconds), server.requests()


def _decoded(bodies: list[bytes]) -> float:
    started = time.process_time()
    for body in bodies:
        json.loads(body)
    return time.process_time() - started


def _write_repo(server: Server, folder: Path, count: int, ledger: str) -> None:
    (folder / "state").mkdir(exist_ok=True)
    (folder / "kvsync.yaml").write_text(
        "version: 1\nowner: bench\npolicy: {prune: owned}\nstores:\n  telephony:\n    type: voximplant\n"
        f"    endpoint: {server.url}\n    credentials: {{env: VOXIMPLANT_CREDENTIALS}}\n    application_id: 1\n"
        f"    requests_per_second: 100000\n    ledger: {ledger}\n"
    )
    keys = "".join(f"  key-{number:06}: value {number}\n" for number in range(count))
    (folder / "state" / "web.yaml").write_text(f"store: telephony\nnamespace: web\nkeys:\n{keys}")
