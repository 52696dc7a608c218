"""Workers KV: `python -m tests.benchmarks cloudflare`. All clients speak to one emulator in a process of its own.

10,000 pairs from files to an empty namespace: kvsync against `wrangler kv bulk put`, whole commands. Looking again at 100,000
entries: requests, and CPU against decoding those pages once; memory of the whole command.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from kvsync.app import TargetSelection, open_workspace
from tests.benchmarks.measure import Cost, Figure, best, by_call, kvsync, run
from tests.benchmarks.peers import packages

PAIRS = 10_000
ENTRIES = 100_000
KEYS, PUT = "GET …/keys", "PUT …/bulk"


def measure(folder: Path) -> Iterator[Figure]:
    """Yield the figures one by one."""
    with _emulator() as server:
        os.environ.update(server.env)
        yield from _writing(server, folder)
        yield from _looking_again(server, folder)


class Server:
    """The emulator, as its ready line tells."""

    def __init__(self, ready: dict[str, Any]) -> None:
        self.url, self.env = ready["url"], ready["env"]
        parts = urlsplit(self.url)
        self._origin = f"{parts.scheme}://{parts.netloc}"
        self.namespaces = f"{self.url}/accounts/{self.env['CLOUDFLARE_ACCOUNT_ID']}/storage/kv/namespaces"

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """Talk to it about itself."""
        return json.loads(self._ask(method, f"{self._origin}/_emulator/{path}", body))

    def api(self, method: str, path: str, body: Any = None) -> bytes:
        """Ask the API."""
        return self._ask(method, self.namespaces + path, body)

    def empty(self) -> str:
        """Forget everything but one empty namespace; gives its id."""
        self.control("POST", "reset")
        found: str = json.loads(self.api("POST", "", {"title": "web"}))["result"]["id"]
        self.control("POST", "reset", {"only": ["stats"]})
        return found

    def requests(self) -> dict[str, int]:
        """Requests by method and the end of the route."""
        routes = self.control("GET", "stats")["routes"].items()
        return {f"{name.partition(' ')[0]} …{name.partition('{namespace_id}')[2]}": count for name, count in routes}

    def _ask(self, method: str, url: str, body: Any) -> bytes:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.env['CLOUDFLARE_API_TOKEN']}", "Content-Type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(url, data, headers, method=method)) as answer:
            found: bytes = answer.read()
            return found


@contextmanager
def _emulator() -> Iterator[Server]:
    with subprocess.Popen(kvsync("emulate", "cloudflare-kv"), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Server(json.loads(process.stdout.readline()))
        finally:
            process.terminate()


def _writing(server: Server, folder: Path) -> Iterator[Figure]:
    _write_repo(server, folder, PAIRS)
    peer = _wrangler(folder)
    rounds = [(_write(server, folder), server.requests(), _put(server, folder, peer)) for _ in range(3)]
    ours, requests = min(((cost, requests) for cost, requests, _ in rounds), key=lambda pair: pair[0].cpu)
    detail = f"{by_call(requests)}; {ours.wall:.2f} s, {ours.cpu:.2f} s of CPU, {ours.rss:.0f} MiB"
    yield Figure(f"{PAIRS:,} pairs, bulk puts per batch", requests[PUT] / (PAIRS / 1000), 1, detail=detail)
    put = [cost for _, _, cost in rounds if cost is not None]
    if not put:
        return
    theirs, fastest = min(put, key=lambda cost: cost.cpu), min(cost.wall for cost in put)
    wall = min(cost.wall for cost, _, _ in rounds)
    detail = f"{wall:.2f} s against {fastest:.2f} s, whole commands"
    yield Figure(f"{PAIRS:,} pairs, kvsync against wrangler kv bulk put", wall / fastest, 0.5, detail=detail)
    detail = f"{ours.cpu:.2f} s against {theirs.cpu:.2f} s of CPU"
    yield Figure(f"{PAIRS:,} pairs, CPU against wrangler kv bulk put", ours.cpu / theirs.cpu, 0.6, detail=detail)
    detail = f"{ours.rss:.0f} MiB against {theirs.rss:.0f} MiB"
    memory = ours.rss / theirs.rss
    yield Figure(f"{PAIRS:,} pairs, peak memory against wrangler kv bulk put", memory, 1 / 3, detail=detail)


def _write(server: Server, folder: Path) -> Cost:
    server.empty()
    shutil.rmtree(folder / ".kvsync", ignore_errors=True)
    return run(kvsync("apply", "--yes"), folder)


def _wrangler(folder: Path) -> list[str] | None:
    """The command that puts the same pairs, but for the id of the namespace; None if wrangler cannot be had."""
    modules = packages("wrangler.json", "wrangler")
    if modules is None:
        return None
    file = folder / "bulk.json"
    file.write_text(json.dumps([{"key": key, "value": value} for key, value in _entries(PAIRS)]))
    os.environ |= {"WRANGLER_SEND_METRICS": "false", "WRANGLER_HIDE_BANNER": "true", "CI": "1"}
    program = str(modules / "wrangler/wrangler-dist/cli.js")
    return ["node", "--no-warnings", program, "kv", "bulk", "put", str(file), "--remote", "--namespace-id"]


def _put(server: Server, folder: Path, command: list[str] | None) -> Cost | None:
    return None if command is None else run([*command, server.empty()], folder)


def _looking_again(server: Server, folder: Path) -> Iterator[Figure]:
    _write_repo(server, folder, ENTRIES)
    _write(server, folder)
    passing, requests = asyncio.run(_pass(server, folder))
    per_page = sum(requests.values()) / (ENTRIES / 1000)
    yield Figure("no-change pass, requests per page", per_page, 1.01, detail=by_call(requests))
    decoding = _decoding(server)
    detail = f"{passing * 1000:.0f} ms against {decoding * 1000:.0f} ms of CPU"
    yield Figure("no-change pass against decoding the listing", passing / decoding, 3, detail=detail)
    whole = best(kvsync("plan", "-o", "json"), folder)
    detail = f"whole command: {whole.cpu:.2f} s of CPU, {whole.wall:.2f} s"
    yield Figure("no-change pass, peak memory", whole.rss, 256, " MiB", detail)


async def _pass(server: Server, folder: Path) -> tuple[float, dict[str, int]]:
    """CPU seconds of a pass that finds nothing, in a process that has looked before, and what it asked for."""
    async with open_workspace(folder / "kvsync.yaml", writing="bench") as workspace:
        await workspace.plan(TargetSelection())
        seconds = []
        for _ in range(5):
            server.control("POST", "reset", {"only": ["stats"]})
            started = time.process_time()
            plan = await workspace.plan(TargetSelection())
            seconds.append(time.process_time() - started)
            assert plan.targets[0].unchanged == ENTRIES
        return min(seconds), server.requests()


def _decoding(server: Server) -> float:
    """CPU seconds of decoding all pages of the listing once."""
    id_ = json.loads(server.api("GET", "?per_page=100"))["result"][0]["id"]
    bodies: list[bytes] = []
    cursor = ""
    while not bodies or cursor:
        bodies.append(server.api("GET", f"/{id_}/keys?limit=1000&cursor={cursor}"))
        cursor = json.loads(bodies[-1])["result_info"]["cursor"]
    return min(_decoded(bodies) for _ in range(5))


def _decoded(bodies: Sequence[bytes]) -> float:
    started = time.process_time()
    for body in bodies:
        json.loads(body)
    return time.process_time() - started


def _entries(count: int) -> Iterator[tuple[str, str]]:
    return ((f"key-{number:06}", f"value {number}") for number in range(count))


def _write_repo(server: Server, folder: Path, count: int) -> None:
    (folder / "state").mkdir(exist_ok=True)
    (folder / "kvsync.yaml").write_text(
        "version: 1\nowner: bench\npolicy: {prune: owned}\nstores:\n  edge:\n    type: cloudflare-kv\n"
        f"    account_id: {server.env['CLOUDFLARE_ACCOUNT_ID']}\n    endpoint: {server.url}\n"
        "    token: {env: CLOUDFLARE_API_TOKEN}\n"
    )
    keys = "".join(f"  {key}: {value}\n" for key, value in _entries(count))
    (folder / "state" / "web.yaml").write_text(f"store: edge\nnamespace: web\nkeys:\n{keys}")
