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

from kvsync.app import TargetSelection, Workspace, open_workspace
from kvsync.model.pass_options import PassOptions
from tests.benchmarks.measure import Cost, Figure, by_call, kvsync, python, run

RECORDS, CHANGES = 5000, 1000
READS = 500
"""Single reads that are measured; all of them take minutes on a busy machine."""

FAST, LIMITED = "20000/6000", "200/60"
PEER = """
import asyncio, os, sys, time
from apify_client import ApifyClientAsync

async def main():
    url, store_id, count, at_once, what, word = sys.argv[1:]
    client = ApifyClientAsync(os.environ["APIFY_TOKEN"], api_url=url, api_public_url=url)
    store, gate = client.key_value_store(store_id), asyncio.Semaphore(int(at_once))

    async def work(number):
        key = f"key-{number:06}"
        async with gate:
            if what != "sets":
                assert await store.get_record_as_bytes(key) is not None or what == "looks"
            if what != "reads":
                await store.set_record(key, f"{word} {number}")
            if what == "looks":
                await store.get_record(key)

    started = time.perf_counter()
    await asyncio.gather(*(work(number) for number in range(int(count))))
    print(time.perf_counter() - started, flush=True)

asyncio.run(main())
os._exit(0)
"""
"""The official asynchronous client, which sets or reads records, or reads each before and after it sets it. It prints the
seconds that this took. At the end of the interpreter, its threads now and then abort the process (SIGABRT), so that end is
left out."""

AS_FAST, AS_ALLOWED = "as fast as it goes", "at 200 calls a second"


def measure(folder: Path) -> Iterator[Figure]:
    """Yield the figures one by one."""
    data, place = folder / "data", folder / "looking"
    with _emulator(FAST, data) as server:
        _repo(server, place, RECORDS)
        _peer(server, server.empty(), 16, "sets", RECORDS)
        asyncio.run(_apply(place))
        yield from _looking_again(server, place, AS_FAST)
    with _emulator(LIMITED, data) as server:
        _repo(server, place, RECORDS)
        yield from _looking_again(server, place, AS_ALLOWED)
        yield from _applying(server, folder / "allowed", (2, 4), AS_ALLOWED)
    with _emulator(FAST, data) as server:
        yield from _cpu(server, folder / "cpu")
        yield from _applying(server, folder / "fast", (8, 32), AS_FAST)


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
        return self.store()

    def store(self) -> str:
        """The id of the store, which is made if it is missing."""
        headers = {"Authorization": f"Bearer {self.env['APIFY_TOKEN']}"}
        request = urllib.request.Request(f"{self.url}/v2/key-value-stores?name=web", b"", headers, method="POST")
        with urllib.request.urlopen(request) as answer:
            found: str = json.load(answer)["data"]["id"]
            return found

    def forget(self) -> None:
        """Count requests from here."""
        self.control("POST", "reset", {"only": ["stats"]})

    def requests(self) -> dict[str, int]:
        """Requests by method and the end of the route."""
        routes = self.control("GET", "stats")["routes"].items()
        return {f"{name.partition(' ')[0]} …{name.partition('{storeId}')[2]}": count for name, count in routes}


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
    single = _peer(server, server.store(), 1, "reads", READS) * RECORDS / READS
    yield Figure(
        f"the deep plan against {RECORDS:,} single reads with the official client, {how}",
        seconds / single,
        1 / 50,
        detail=f"{seconds * 1000:.0f} ms against {single:.2f} s: {single / seconds:.0f} times; {READS} reads were measured",
    )


async def _plan(server: Server, place: Path, *, deep: bool) -> tuple[float, dict[str, int]]:
    """Seconds of a plan that finds nothing, in a process that has looked before, and what it asked for."""
    async with open_workspace(place / "kvsync.yaml", writing="bench") as workspace:
        selection = TargetSelection(ask=PassOptions(deep=deep))
        await workspace.plan(selection)
        best = float("inf")
        for _ in range(3):
            server.forget()
            started = time.perf_counter()
            plan = await workspace.plan(selection)
            best = min(best, time.perf_counter() - started)
            assert plan.targets[0].unchanged == RECORDS
        return best, server.requests()


def _cpu(server: Server, place: Path) -> Iterator[Figure]:
    """Whole processes in turns: both fill an empty store, then change every value."""
    rounds = [(_written(server, place), _set(server, place)) for _ in range(3)]
    for number, (work, why) in enumerate(
        (("creates", ""), ("updates", "; half of the requests read what is replaced"))
    ):
        ours, theirs = (min(costs[number].cpu for costs in turns) for turns in zip(*rounds, strict=True))
        detail = f"{ours:.2f} s against {theirs:.2f} s of CPU, whole processes{why}"
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
    first, second = (run(_command(server, store, 32, "sets", word=word), place) for word in ("value", "other"))
    return first, second


def _command(
    server: Server, store: str, at_once: int, what: str, count: int = CHANGES, *, word: str = "value"
) -> list[str]:
    return python(PEER, server.url, store, str(count), str(at_once), what, word)


def _peer(server: Server, store: str, at_once: int, what: str, count: int = CHANGES) -> float:
    """Seconds that the official client takes, without its start; infinite if it fails."""
    done = subprocess.run(_command(server, store, at_once, what, count), stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        print(f"the official client with {at_once} at a time ended with the code {done.returncode}")
    return float("inf") if done.returncode else float(done.stdout)


def _applying(server: Server, folder: Path, concurrency: tuple[int, ...], how: str) -> Iterator[Figure]:
    place = _repo(server, folder, CHANGES)
    ours = float("inf")
    for _ in range(3 if how == AS_FAST else 1):
        server.empty()
        shutil.rmtree(place / ".kvsync", ignore_errors=True)
        ours = min(ours, asyncio.run(_apply(place)))
    requests = server.requests()
    for looks in (True, False):
        work = "looks" if looks else "sets"
        theirs = {at_once: _peer(server, server.empty(), at_once, work) for at_once in concurrency}
        best = min(theirs, key=lambda at_once: theirs[at_once])
        if theirs[best] == float("inf"):
            continue  # it failed however few calls it made at a time, which it says
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
