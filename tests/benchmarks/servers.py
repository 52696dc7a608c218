"""etcd and OpenBao, the real servers on loopback: `python -m tests.benchmarks etcd vault`.

How many requests it takes to write new entries and to find that none changed, and the CPU of that pass, in a process that has
looked before.
"""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path

from kvsync.app import TargetSelection, open_workspace
from tests.benchmarks.measure import NO_GOAL, Figure, best, kvsync
from tests.support.etcd import running_etcd
from tests.support.openbao import ROOT_TOKEN, running_bao

_ETCD, _VAULT = 10_000, 500
"""Entries."""

_ONCE = 6
"""Requests of a pass besides those for its entries: they are about the place, before and after."""


def measure_etcd(folder: Path) -> Iterator[Figure]:
    """Yield the figures of etcd, one by one."""
    with running_etcd(folder, "--unsafe-no-fsync") as url:
        _write_repo(folder, "etcd", f"type: etcd, endpoint: '{url}'", _ETCD)
        written, reading, seconds = asyncio.run(_passes(folder, _ETCD))
        transactions = math.ceil(_ETCD / 128)
        yield Figure(f"{_ETCD:,} new entries, requests per transaction of 128", (written - _ONCE) / transactions, 1)
        yield from _unchanged(folder, _ETCD, reading, seconds, 2)


def measure_vault(folder: Path) -> Iterator[Figure]:
    """Yield the figures of OpenBao, one by one."""
    os.environ["VAULT_TOKEN"] = ROOT_TOKEN
    with running_bao(folder) as server:
        store = f"type: vault-kv, address: '{server.url}', token: {{env: VAULT_TOKEN}}"
        _write_repo(folder, "vault", store, _VAULT)
        written, reading, seconds = asyncio.run(_passes(folder, _VAULT))
        yield Figure(f"{_VAULT:,} new entries, requests per entry", written / _VAULT, NO_GOAL)
        yield from _unchanged(folder, _VAULT, reading, seconds, NO_GOAL)


def _unchanged(folder: Path, count: int, requests: int, seconds: float, goal: float) -> Iterator[Figure]:
    name = f"plan of {count:,} unchanged entries"
    yield Figure(f"{name}, requests", requests, goal, "")
    yield Figure(f"{name}, CPU per entry", seconds / count * 1e6, NO_GOAL, " µs")
    whole = best(kvsync("plan", "-o", "json"), folder)
    yield Figure(f"{name}, peak memory", whole.rss, NO_GOAL, " MiB", f"{whole.cpu:.2f} s of CPU, {whole.wall:.2f} s")


async def _passes(folder: Path, count: int) -> tuple[int, int, float]:
    """The requests that write all entries, the requests of a pass that finds nothing, and its CPU seconds."""
    async with open_workspace(folder / "kvsync.yaml", writing="bench") as workspace:
        traffic = workspace.stores["core"].traffic
        plan = await workspace.plan(TargetSelection())
        before = traffic.requests
        report = await workspace.apply(plan, command="bench")
        assert {one.kind.value for target in report.targets for one in target.outcomes} == {"applied"}
        written = traffic.requests - before
        await workspace.plan(TargetSelection())
        before, started = traffic.requests, time.process_time()
        plan = await workspace.plan(TargetSelection())
        assert plan.targets[0].unchanged == count
        return written, traffic.requests - before, time.process_time() - started


def _write_repo(folder: Path, owner: str, store: str, count: int) -> None:
    (folder / "state").mkdir()
    (folder / "kvsync.yaml").write_text(
        f"version: 1\nowner: {owner}\npolicy: {{prune: owned}}\nstores: {{core: {{{store}}}}}\n"
    )
    keys = "".join(f"  key-{number:06}: value {number}\n" for number in range(count))
    (folder / "state" / "web.yaml").write_text(f"store: core\nnamespace: web\nkeys:\n{keys}")
