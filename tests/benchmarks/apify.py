"""Apify key-value stores: `python -m tests.benchmarks apify`. All clients speak to one emulator in a process of its own.

Looking again at 5,000 records: requests, cheap and deep, and the time of a deep pass against 5,000 single reads with the
official client. CPU of whole commands that create and update 1,000 records, against the official asynchronous client that only
sets them. Applying 1,000 changes against that client at its best concurrency, which only writes, or makes the same calls as
kvsync. Both as fast as it goes on one machine, and at the rate that the API allows one store.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from apify_client import ApifyClient, ApifyClientAsync
from apify_client.errors import ApifyApiError

from kvsync.app import TargetSelection, Workspace, open_workspace
from kvsync.model.pass_options import PassOptions
from tests.benchmarks.measure import Cost, Figure, by_call, kvsync, python, run

RECORDS, CHANGES = 5000, 1000
FAST, LIMITED = "20000/6000", "200/60"
SETS = """
import asyncio, os, sys
from apify_client import ApifyClientAsync

async def main():
    url, store_id, count, word = sys.argv[1:]
    client = ApifyClientAsync(os.environ["APIFY_TOKEN"], api_url=url, api_public_url=url)
    store, gate = client.key_value_store(store_id), asyncio.Semaphore(32)

    async def put(number):
        async with gate:
            await store.set_record(f"key-{number:06}", f"{word} {number}")

    await asyncio.gather(*(put(number) for number in range(int(count))))

asyncio.run(main())
"""
AS_FAST, AS_ALLOWED = "as fast as it goes", "at 200 calls a second"


def measure(folder: Path) -> Iterator[Figure]:
    """Yield the figures one by one."""
    data, place = folder / "data", folder / "looking"
    with _emulator(FAST, data) as server:
        _repo(server, place, RECORDS)
        server.fill(server.empty())
        asyncio.run(_apply(place))
        yield from _looking_again(server, place, AS_FAST)
    with _emulator(LIMITED, data) as server:
        _repo(server, place, RECORDS)
        yield from _looking_again(server, place, AS_ALLOWED)
        yield from _applying(server, folder / "allowed", (1, 2, 4), AS_ALLOWED)
    with _emulator(FAST, data) as server:
        yield from _cpu(server, folder / "cpu")
        yield from _applying(server, folder / "fast", (4, 8, 16, 32, 64), AS_FAST)


class Server:
    """The emulator, as its ready line tells."""

    def __init__(self, ready: dict[str, Any]) -> None:
        self.url, self.env = ready["url"], ready["env"]
        os.environ.update(self.env)

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """Talk to it about itself."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/_emulator/{path}", data, method=method)
        with urllib.request.urlopen(request) as answer:
            return json.loads(answer.read())

    def empty(self) -> str:
        """Forget everything but one empty store; gives its id."""
        self.control("POST", "reset")
        found: str = self.client().key_value_stores().get_or_create(name="web").id
        return found

    def fill(self, id_: str) -> None:
        """Put all records there, as another program."""
        asyncio.run(_write_all(self, id_, 16, RECORDS))

    def forget(self) -> None:
        """Count requests from here."""
        self.control("POST", "reset", {"only": ["stats"]})

    def requests(self) -> dict[str, int]:
        """Requests by method and the end of the route."""
        routes = self.control("GET", "stats")["routes"].items()
        return {f"{name.partition(' ')[0]} …{name.partition('{storeId}')[2]}": count for name, count in routes}

    def client(self) -> ApifyClient:
        """The official client."""
        return ApifyClient(self.env["APIFY_TOKEN"], api_url=self.url, api_public_url=self.url)

    def client_async(self) -> ApifyClientAsync:
        """The official asynchronous client."""
        return ApifyClientAsync(self.env["APIFY_TOKEN"], api_url=self.url, api_public_url=self.url)


@contextmanager
def _emulator(rate: str, data: Path) -> Iterator[Server]:
    command = [sys.executable, "-m", "kvsync", "emulate", "apify", "--switch", f"rate={rate}", "--data", str(data)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Server(json.loads(process.stdout.readline()))
        finally:
            process.terminate()
            process.wait()


def _looking_again(server: Server, place: Path, how: str) -> Iterator[Figure]:
    for deep, most in ((False, RECORDS // 1000), (True, 1)):
        seconds, requests = asyncio.run(_plan(server, place, deep=deep))
        name = f"plan of {RECORDS:,} unchanged records, {'deep' if deep else 'cheap'}, requests"
        yield Figure(name, sum(requests.values()), most, "", f"{by_call(requests)}; {seconds * 1000:.0f} ms")
    started = time.perf_counter()
    _read_all(server)
    single = time.perf_counter() - started
    yield Figure(
        f"the deep plan against {RECORDS:,} single reads with the official client, {how}",
        seconds / single,
        1 / 50,
        detail=f"{seconds * 1000:.0f} ms against {single:.2f} s: {single / seconds:.0f} times",
    )


async def _plan(server: Server, place: Path, *, deep: bool) -> tuple[float, dict[str, int]]:
    """Seconds of a plan that finds nothing, in a process that has looked before, and what it asked for."""
    async with open_workspace(place / "kvsync.yaml", writing="bench") as workspace:
        selection = TargetSelection(ask=PassOptions(deep=deep))
        await workspace.plan(selection)
        best = float("inf")
        for _ in range(5):
            server.forget()
            started = time.perf_counter()
            plan = await workspace.plan(selection)
            best = min(best, time.perf_counter() - started)
            assert plan.targets[0].unchanged == RECORDS
        return best, server.requests()


def _read_all(server: Server) -> None:
    store = server.client().key_value_store(server.client().key_value_stores().get_or_create(name="web").id)
    for key, _ in _entries(RECORDS):
        assert store.get_record_as_bytes(key) is not None


def _cpu(server: Server, place: Path) -> Iterator[Figure]:
    """Whole processes in turns: both fill an empty store, then change every value."""
    rounds = [(_written(server, place), _set(server, place)) for _ in range(3)]
    for number, work in enumerate(("creates", "updates")):
        ours, theirs = (min(costs[number].cpu for costs in turns) for turns in zip(*rounds, strict=True))
        detail = f"{ours:.2f} s against {theirs:.2f} s of CPU, whole processes"
        name = f"{CHANGES:,} {work}, CPU against the bare writes of the official client, 32 at a time"
        yield Figure(name, ours / theirs, 1.5, detail=detail)


def _written(server: Server, place: Path) -> tuple[Cost, Cost]:
    server.empty()
    shutil.rmtree(place / ".kvsync", ignore_errors=True)
    costs = []
    for word in ("value", "other"):
        _repo(server, place, CHANGES, word)
        costs.append(run(kvsync("apply", "--yes", "-o", "json"), place))
    return costs[0], costs[1]


def _set(server: Server, place: Path) -> tuple[Cost, Cost]:
    store = server.empty()
    first, second = (run(python(SETS, server.url, store, str(CHANGES), word), place) for word in ("value", "other"))
    return first, second


def _applying(server: Server, folder: Path, concurrency: tuple[int, ...], how: str) -> Iterator[Figure]:
    place = _repo(server, folder, CHANGES)
    ours = float("inf")
    for _ in range(3 if how == AS_FAST else 1):
        server.empty()
        shutil.rmtree(place / ".kvsync", ignore_errors=True)
        ours = min(ours, asyncio.run(_apply(place)))
    requests = server.requests()
    for looks in (True, False):
        theirs = {
            at_once: asyncio.run(_write_all(server, server.empty(), at_once, looks=looks)) for at_once in concurrency
        }
        best = min(theirs, key=lambda at_once: theirs[at_once])
        what = "that reads before and after each write" if looks else "that only writes"
        yield Figure(
            f"apply of {CHANGES:,} creates against the official client {what}, {how}",
            ours / theirs[best],
            1,
            detail=f"{ours:.2f} s against {theirs[best]:.2f} s with {best} at a time; {by_call(requests)}",
        )


async def _apply(place: Path) -> float:
    """Seconds of applying a plan that was made before."""
    async with open_workspace(place / "kvsync.yaml", writing="bench") as workspace:
        plan = await workspace.plan(TargetSelection())
        started = time.perf_counter()
        await _applied(workspace, plan)
        return time.perf_counter() - started


async def _applied(workspace: Workspace, plan: Any) -> None:
    report = await workspace.apply(plan, command="bench", approvals=[plan.digest])
    assert {one.kind.value for target in report.targets for one in target.outcomes} == {"applied"}


async def _write_all(server: Server, id_: str, at_once: int, count: int = CHANGES, *, looks: bool = False) -> float:
    """Seconds that the official client takes; with `looks`, for the same calls that kvsync makes."""
    store = server.client_async().key_value_store(id_)
    gate = asyncio.Semaphore(at_once)

    async def put(key: str, value: str) -> None:
        async with gate:
            if looks:
                await store.get_record(key)
            await store.set_record(key, value)
            if looks:
                await store.get_record(key)

    started = time.perf_counter()
    try:
        await asyncio.gather(*(put(key, value) for key, value in _entries(count)))
    except ApifyApiError as error:
        print(f"the official client with {at_once} at a time: {error}")
        return float("inf")
    return time.perf_counter() - started


def _entries(count: int, word: str = "value") -> Iterator[tuple[str, str]]:
    return ((f"key-{number:06}", f"{word} {number}") for number in range(count))


def _repo(server: Server, place: Path, count: int, word: str = "value") -> Path:
    (place / "state").mkdir(parents=True, exist_ok=True)
    (place / "kvsync.yaml").write_text(
        "version: 1\nowner: bench\npolicy: {prune: owned, guard: {max_update_pct: 100}}\nstores:\n  scraper:\n    type: apify\n"
        f"    endpoint: {server.url}\n"
        "    token: {env: APIFY_TOKEN}\n"
    )
    keys = "".join(f"  {key}: {value}\n" for key, value in _entries(count, word))
    (place / "state" / "web.yaml").write_text(f"store: scraper\nnamespace: web\nkeys:\n{keys}")
    return place
