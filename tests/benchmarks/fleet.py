"""Replicas that share a state: `python -m tests.benchmarks.fleet`, with `--small` to try it in two minutes, or `--full` for
10,000 targets, which takes hours on a small machine.

One, two and four daemons work on an etcd that is 20 ms away. For each number: what the daemons cost the database while they
only wait, a round in which nothing changed, one in which every target changes an entry, and what the rounds are in relation to
those of one daemon; then how long the targets of a killed replica are without a holder. These are the inputs of the model in
docs/fleet.md.
"""

from __future__ import annotations

import asyncio
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import psycopg

from kvsync.state.postgres_database import PostgresAddress, upgrade
from tests.benchmarks.measure import NO_GOAL, Figure, kvsync
from tests.leader.support import wire_to
from tests.support.etcd import running_etcd
from tests.support.postgres import Cluster, running_cluster

LATENCY: Final = 0.02
FILES: Final = 100
PATIENCE: Final = 3600.0
"""Seconds that one step may take."""

CONFIG: Final = """\
version: 1
owner: bench
state: {{files: ["state/*.yaml"], postgresql: {{dsn: {{env: KVSYNC_BENCH_DSN}}}}}}
stores: {{far: {{type: etcd, endpoint: "{url}"}}}}
policy: {{prune: owned, guard: {{max_update_pct: 100}}}}
run: {{every: 6h, watch_stores: false}}
"""


@dataclass(frozen=True, slots=True)
class Size:
    """How many targets there are, and entries in each."""

    targets: int
    entries: int


SIZES: Final = {"": Size(1_000, 100), "--small": Size(80, 5), "--full": Size(10_000, 100)}
"""By option: one that ends within half an hour, one to try the script with, and the one that the goals are for."""

IDLE: Final = 10.0
"""Seconds for which the daemons are watched while they only wait."""


@dataclass(frozen=True, slots=True)
class Usage:
    """The moment, statements of the daemons, and CPU seconds of the daemons and of their connections in the database."""

    at: float
    statements: float
    cpu: float
    database_cpu: float

    def since(self, before: Usage) -> Usage:
        """What came in between."""
        return Usage(
            self.at - before.at,
            self.statements - before.statements,
            self.cpu - before.cpu,
            self.database_cpu - before.database_cpu,
        )


def _cpu_seconds(pid: int) -> float:
    """The CPU time of a process; 0 once it ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class BenchFleet:
    """The daemons, their database, and the files that all of them read."""

    def __init__(self, folder: Path, size: Size, cluster: Cluster, url: str) -> None:
        self.folder, self.size = folder, size
        self.dsn = cluster.new_database("bench")
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute("CREATE ROLE watcher SUPERUSER LOGIN")  # whose statements are not counted
        self.watching = self.dsn.replace("//kvsync@", "//watcher@")
        self.running: list[subprocess.Popen[bytes]] = []
        upgrade(PostgresAddress.of(self.dsn), create=True)
        (folder / "state").mkdir()
        (folder / "kvsync.yaml").write_text(CONFIG.format(url=url))
        self.write(0)

    def write(self, version: int) -> None:
        """Let the first entry of every target be this one."""
        rest = "".join(f"  key{number}: value {number}\n" for number in range(1, self.size.entries))
        files = min(FILES, self.size.targets)
        for number in range(files):
            texts = (
                f"store: far\nnamespace: n{target:05}\nkeys:\n  key0: version {version}\n{rest}"
                for target in range(number, self.size.targets, files)
            )
            draft = self.folder / f"draft{number}"
            draft.write_text("---\n".join(texts))
            draft.rename(self.folder / "state" / f"{number:03}.yaml")

    def start(self, count: int) -> None:
        """Run so many daemons, and wait until all targets are divided among them."""
        while len(self.running) < count:
            environ = {"KVSYNC_BENCH_DSN": self.dsn, "STATE_DIRECTORY": str(self.folder / f"r{len(self.running)}")}
            command = kvsync("--log-level", "error", "run")
            self.running.append(subprocess.Popen(command, cwd=self.folder, env=os.environ | environ))
        least = self.size.targets // count // 2
        self.until(lambda: sorted(self.shares())[:1] >= [least] and len(self.shares()) == count)
        self.until(lambda: self.passes_since(0.0) == self.size.targets)
        self.until(self.is_quiet)

    def shares(self) -> list[int]:
        """How many targets each living replica holds; nothing while one has no holder."""
        sql = (
            "SELECT count(*) FROM claims JOIN replicas ON id = replica WHERE expires_at > clock_timestamp() GROUP BY id"
        )
        found = [count for (count,) in self.ask(sql)]
        return found if sum(found) == self.size.targets else []

    def is_quiet(self) -> bool:
        """True when no pass ended in the last three seconds."""
        return self.passes_since(time.time() - 3) == 0

    def passes_since(self, moment: float) -> int:
        """How many targets had a successful pass after this moment."""
        ((count,),) = self.ask("SELECT count(*) FROM passes WHERE succeeded_at > %s", moment)
        return int(count)

    def unchanged_round(self) -> float:
        """The seconds of a pass over each target with nothing to do."""
        began = time.time()
        for process in self.running:
            process.send_signal(signal.SIGUSR1)
        self.until(lambda: self.passes_since(began) == self.size.targets)
        ((ended,),) = self.ask("SELECT max(succeeded_at) FROM passes")
        return float(ended) - began

    def changed_round(self, version: int) -> float:
        """The seconds until every target has another entry, from the last file that was written."""
        self.write(version)
        began = time.time()
        sql = "SELECT count(*), max(settled_at) FROM changes WHERE outcome = 'applied' AND settled_at > %s AND key = 'key0'"
        self.until(lambda: self.ask(sql, began - PATIENCE)[0][0] >= self.size.targets * (version + 1))
        ended = float(self.ask(sql, began - PATIENCE)[0][1])
        self.until(self.is_quiet)
        return ended - began

    def takeover(self) -> list[float]:
        """The seconds for which each target of a killed replica had no holder."""
        victim = self.running.pop(0)
        ((began,),) = self.ask("SELECT extract(epoch FROM clock_timestamp())::double precision")
        lost = self.ask("SELECT namespace FROM claims JOIN replicas ON id = replica WHERE pid = %s", victim.pid)
        victim.kill()
        victim.wait()
        sql = (
            "SELECT extract(epoch FROM claimed_at)::double precision FROM claims"
            " WHERE namespace = ANY(%s) AND extract(epoch FROM claimed_at) > %s"
        )
        names = [name for (name,) in lost]
        self.until(lambda: len(self.ask(sql, names, began)) == len(names))
        return [moment - began for (moment,) in self.ask(sql, names, began)]

    def used(self) -> Usage:
        """What the daemons have cost since `reset`."""
        ((statements,),) = self.ask(
            "SELECT coalesce(sum(calls), 0) FROM pg_stat_statements JOIN pg_roles ON oid = userid WHERE rolname = 'kvsync'"
        )
        servers = [pid for (pid,) in self.ask("SELECT pid FROM pg_stat_activity WHERE usename = 'kvsync'")]
        return Usage(
            time.monotonic(),
            float(statements),
            sum(_cpu_seconds(process.pid) for process in self.running),
            sum(map(_cpu_seconds, servers)),
        )

    def ask(self, sql: str, *parameters: Any) -> list[Any]:
        """What the database says; nothing where there is nothing to say."""
        with psycopg.connect(self.watching, autocommit=True) as connection:
            cursor = connection.execute(sql, parameters or None)
            return cursor.fetchall() if cursor.description else []

    def until(self, is_so: Callable[[], bool]) -> None:
        """Wait for a condition."""
        deadline = time.monotonic() + PATIENCE
        while not is_so():
            assert time.monotonic() < deadline, "a step took too long"
            assert all(process.poll() is None for process in self.running), "a daemon ended"
            time.sleep(0.25)

    def stop(self) -> None:
        """End the daemons."""
        for process in self.running:
            process.terminate()
        for process in self.running:
            process.wait(30)


def measure(folder: Path, size: Size) -> Iterator[Figure]:
    """Yield the figures one by one."""
    with ExitStack() as stack:
        (folder / "etcd").mkdir()
        near = stack.enter_context(running_etcd(folder / "etcd", "--unsafe-no-fsync"))
        far = stack.enter_context(_far_away(near))
        cluster = stack.enter_context(running_cluster(shared_preload_libraries="pg_stat_statements"))
        (folder / "repo").mkdir()
        fleet = BenchFleet(folder / "repo", size, cluster, far)
        stack.callback(fleet.stop)
        fleet.ask("CREATE EXTENSION pg_stat_statements")
        rounds: list[tuple[float, float]] = []
        for number, count in enumerate((1, 2, 4)):
            fleet.start(count)
            before = fleet.used()
            time.sleep(IDLE)
            idle = fleet.used().since(before)
            yield from _idle(count, idle)
            fleet.unchanged_round()  # the pass after a change remembers that the target is in sync
            before = fleet.used()
            unchanged = fleet.unchanged_round()
            passes = fleet.used().since(before)
            yield from _passes(size, count, idle, passes)
            rounds.append((unchanged, fleet.changed_round(number + 1)))
            yield from _rounds(size, count, rounds)
        seconds = fleet.takeover()
        yield Figure("takeover, median", statistics.median(seconds), 15, " s")
        yield Figure("takeover, worst", max(seconds), 15, " s", f"{len(seconds)} targets")


def _idle(count: int, idle: Usage) -> Iterator[Figure]:
    each = idle.at * count
    yield Figure(f"{count} replicas, waiting: statements a second and replica", idle.statements / each, NO_GOAL, "")
    yield Figure(f"{count} replicas, waiting: CPU a second and replica", 1000 * idle.cpu / each, NO_GOAL, " ms")


def _passes(size: Size, count: int, idle: Usage, passes: Usage) -> Iterator[Figure]:
    """What a pass with nothing to do costs beyond waiting."""
    part = passes.at / idle.at
    statements = (passes.statements - idle.statements * part) / size.targets
    cpu = (passes.cpu - idle.cpu * part) / size.targets
    database = (passes.database_cpu - idle.database_cpu * part) / size.targets
    yield Figure(f"{count} replicas, unchanged target: statements", statements, 6.5, "")
    yield Figure(f"{count} replicas, unchanged target: CPU", 1000 * cpu, NO_GOAL, " ms")
    yield Figure(f"{count} replicas, unchanged target: CPU of the database", 1000 * database, NO_GOAL, " ms")


def _rounds(size: Size, count: int, rounds: Sequence[tuple[float, float]]) -> Iterator[Figure]:
    for name, index in (("nothing changed", 0), ("every target changed", 1)):
        seconds, alone = rounds[-1][index], rounds[0][index]
        detail = f"{size.targets / seconds:.0f} targets/s, {alone / seconds:.2f} times the rate of one"
        yield Figure(f"{count} replicas, {name}", seconds, NO_GOAL, " s", detail)
    if count > 2:
        yield Figure("time of a round of 4 replicas to that of one", rounds[-1][0] / rounds[0][0], 1 / 3)


@contextmanager
def _far_away(url: str) -> Iterator[str]:
    """A server as if it were 20 ms away."""
    found: list[str] = []
    ready, over = threading.Event(), threading.Event()

    async def carry() -> None:
        async with wire_to(url) as wire:
            wire.delay = LATENCY / 2
            found.append(wire.url)
            ready.set()
            await asyncio.to_thread(over.wait)

    thread = threading.Thread(target=lambda: asyncio.run(carry()), daemon=True)
    thread.start()
    ready.wait()
    try:
        yield found[0]
    finally:
        over.set()
        thread.join()


if __name__ == "__main__":
    with TemporaryDirectory(prefix="kvsync-bench-") as name:
        for figure in measure(Path(name), SIZES["".join(sys.argv[1:])]):
            print(figure, flush=True)
