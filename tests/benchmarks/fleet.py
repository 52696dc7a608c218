"""Replicas that share a state: `python -m tests.benchmarks.fleet [TARGETSxENTRIES] [--docs]`, by default `1000x10`; `80x5` is
enough to try it. With `--docs`, the figures are written into docs/fleet.md. What each step takes goes to standard error: time,
and the memory and disk in use after it. One daemon fills the store, which is not far away meanwhile.

One, two and four daemons work on an etcd. For each number: what the daemons cost the database while they only wait, a round in
which nothing changed over an etcd that is 20 ms away, where a small machine is limited by its processors, one over an etcd that
is so far away that latency is the limit, and one in which every target changes an entry; then how long the targets of a killed
replica are without a holder. These are the inputs of the model in docs/fleet.md, which is computed next to them.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import wrap
from typing import Any, Final
from urllib.request import urlopen

import psycopg

from kvsync.state.postgres_address import PostgresAddress
from kvsync.state.postgres_database import upgrade
from tests.benchmarks.fleet_model import Costs, Measured, Rounds, Waiting, million, table, write_into
from tests.benchmarks.measure import Figure, kvsync
from tests.leader.support import BreakableConnection, wire_to
from tests.support.etcd import running_etcd
from tests.support.postgres import Cluster, running_cluster

NEAR: Final = 0.02
FAR: Final = 0.2
"""Seconds that a call of the store takes: as a store in the same region has, and so long that it is the limit."""

PAGE: Final = Path(__file__).parents[2] / "docs/fleet.md"
FILES: Final = 100
MOST_IN_ETCD: Final = 8 * 1024**3
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

    @staticmethod
    def of(text: str) -> Size:
        """What `TARGETSxENTRIES` means."""
        targets, entries = map(int, text.split("x"))
        return Size(targets, entries)


USUAL: Final = "1000x10"

SETTLED: Final = 10.0
"""Seconds without a move after which the targets are divided; for as long, the daemons are watched while they only wait."""


@dataclass(frozen=True, slots=True)
class Usage:
    """The moment; statements of the daemons, bytes to and from the database, calls that etcd answered, and CPU seconds of the
    daemons and of their connections in the database."""

    at: float
    statements: float
    size: float
    calls: float
    cpu: float
    database_cpu: float

    def minus(self, before: Usage, times: float = 1.0) -> Usage:
        """What is left without so many times another one."""
        pairs = zip(astuple(self), astuple(before), strict=True)
        return Usage(*(mine - times * other for mine, other in pairs))


def _cpu_seconds(pid: int) -> float:
    """The CPU time of a process; 0 once it ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _megabytes_of(pid: int) -> float:
    """The most memory that a process had so far."""
    status = Path(f"/proc/{pid}/status").read_text()
    return sum(float(number) for number in re.findall(r"^VmHWM:\s+(\d+) kB$", status, flags=re.MULTILINE)) / 1000


def _size(folder: Path) -> int:
    """The bytes that a folder takes on the disk; files may come and go meanwhile."""
    text = subprocess.run(["du", "-sk", folder], capture_output=True, text=True).stdout
    return int(text.split()[0]) * 1024


class BenchFleet:
    """The daemons, their database, and the files that all of them read."""

    def __init__(self, folder: Path, size: Size, cluster: Cluster, near: str, url: str) -> None:
        self.folder, self.size, self.near, self.port, self.cluster = folder, size, near, cluster.port, cluster.folder
        self.dsn = cluster.new_database("bench")
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute("CREATE ROLE watcher SUPERUSER LOGIN")  # whose statements are not counted
        self.watching = self.dsn.replace("//kvsync@", "//watcher@")
        self.running: list[subprocess.Popen[bytes]] = []
        self.trips: list[float] = []
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

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Report what is done inside, and what is in use after it."""
        began = time.monotonic()
        yield
        used = [_megabytes_of(process.pid) for process in self.running]
        disk = " and ".join(f"{_size(folder) / 1e6:,.0f}" for folder in (self.folder.parent / "etcd", self.cluster))
        memory = f"{', '.join(f'{each:,.0f}' for each in used)} MB in the daemons, {self._etcd_bytes() / 1e6:,.0f} MB in etcd"
        line = f"{name}: {time.monotonic() - began:,.0f} s; {memory}; {disk} MB on the disk for etcd and PostgreSQL"
        print(line, file=sys.stderr, flush=True)

    def start(self, count: int) -> None:
        """Run so many daemons, and wait until all targets are divided among them."""
        while len(self.running) < count:
            environ = {"KVSYNC_BENCH_DSN": self.dsn, "STATE_DIRECTORY": str(self.folder / f"r{len(self.running)}")}
            command = kvsync("--log-level", "error", "run")
            self.running.append(subprocess.Popen(command, cwd=self.folder, env=os.environ | environ))
        least = self.size.targets // count // 2
        self.until(lambda: sorted(self.shares())[:1] >= [least] and len(self.shares()) == count)
        self.until(lambda: self.passes_since(0.0) == self.size.targets)
        self.until(lambda: self.is_settled() and self.is_quiet())

    def shares(self) -> list[int]:
        """How many targets each living replica holds; nothing while one has no holder."""
        sql = (
            "SELECT count(*) FROM claims JOIN replicas ON id = replica WHERE expires_at > clock_timestamp() GROUP BY id"
        )
        found = [count for (count,) in self.ask(sql)]
        return found if sum(found) == self.size.targets else []

    def is_settled(self) -> bool:
        """True when no claim is newer than `SETTLED`."""
        ((age,),) = self.ask(
            "SELECT extract(epoch FROM clock_timestamp() - max(claimed_at))::double precision FROM claims"
        )
        return float(age) > SETTLED

    def is_quiet(self) -> bool:
        """True when no pass ended in the last three seconds."""
        return self.passes_since(time.time() - 3) == 0

    def passes_since(self, moment: float) -> int:
        """How many targets had a successful pass after this moment."""
        ((count,),) = self.ask("SELECT count(*) FROM passes WHERE succeeded_at > %s", moment)
        return int(count)

    def waiting(self) -> Usage:
        """What the daemons cost in some seconds in which no target moves."""
        while True:
            before = self.used()
            time.sleep(SETTLED)
            found = self.used().minus(before)
            if self.is_settled():
                return found
            self.until(lambda: self.is_settled() and self.is_quiet())

    def unchanged_round(self) -> float:
        """The seconds of a pass over each target with nothing to do. Meanwhile, `trips` is filled."""
        self.trips.clear()
        began = time.time()
        for process in self.running:
            process.send_signal(signal.SIGUSR1)
        self.until(lambda: self.passes_since(began) == self.size.targets)
        ((ended,),) = self.ask("SELECT max(succeeded_at) FROM passes")
        return float(ended) - began

    def changed_round(self, version: int) -> float:
        """The seconds until every target has another entry, from the last file that was written."""
        ((last,),) = self.ask("SELECT max(seq) FROM changes")
        self.write(version)
        began = time.time()
        sql = "SELECT count(DISTINCT namespace), max(settled_at) FROM changes WHERE seq > %s AND outcome = 'applied'"
        self.until(lambda: self.ask(sql, last)[0][0] == self.size.targets)
        ended = float(self.ask(sql, last)[0][1])
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
        """What the daemons have cost so far."""
        ((statements,),) = self.ask(
            "SELECT coalesce(sum(calls), 0) FROM pg_stat_statements JOIN pg_roles ON oid = userid WHERE rolname = 'kvsync'"
        )
        servers = [pid for (pid,) in self.ask("SELECT pid FROM pg_stat_activity WHERE usename = 'kvsync'")]
        return Usage(
            time.monotonic(),
            float(statements),
            self._bytes(),
            self._calls(),
            sum(_cpu_seconds(process.pid) for process in self.running),
            sum(map(_cpu_seconds, servers)),
        )

    def _bytes(self) -> float:
        """What went over the open connections of the daemons to the database, both ways, as the kernel counts it."""
        command = ["ss", "-tinpH", "dport", "=", f":{self.port}"]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        ours = [part for part in re.split(r"^(?=\S)", text, flags=re.MULTILINE) if self._is_ours(part)]
        return float(
            sum(int(number) for part in ours for number in re.findall(r"bytes_(?:acked|received):(\d+)", part))
        )

    def _is_ours(self, part: str) -> bool:
        return any(f"pid={process.pid}," in part for process in self.running)

    def _calls(self) -> float:
        """The reads and writes that etcd answered."""
        return self._etcd(r'grpc_server_handled_total\{.*grpc_method="(?:Range|Txn|Put|DeleteRange)".*\}')

    def _etcd_bytes(self) -> float:
        """The memory of etcd."""
        return self._etcd("process_resident_memory_bytes")

    def _etcd(self, pattern: str) -> float:
        """The sum of the metrics of etcd that match."""
        with urlopen(f"{self.near}/metrics") as answer:
            text = answer.read().decode()
        return sum(map(float, re.findall(rf"^{pattern} (\S+)$", text, flags=re.MULTILINE)))

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
            self._make_a_trip()

    def _make_a_trip(self) -> None:
        """Note how long the database takes to answer, as busy as the machine is now."""
        with psycopg.connect(self.watching, autocommit=True) as connection:
            began = time.perf_counter()
            connection.execute("SELECT 1")
            self.trips.append(time.perf_counter() - began)

    def stop(self) -> None:
        """End the daemons."""
        for process in self.running:
            process.terminate()
        for process in self.running:
            process.wait(30)


def measure(folder: Path, size: Size, docs: bool) -> Iterator[str]:
    """Yield the figures one by one, and the table of all."""
    with ExitStack() as stack:
        (folder / "etcd").mkdir()
        options = ("--unsafe-no-fsync", "--quota-backend-bytes", str(MOST_IN_ETCD))
        near = stack.enter_context(running_etcd(folder / "etcd", *options))
        wire = stack.enter_context(_far_away(near))
        cluster = stack.enter_context(running_cluster(shared_preload_libraries="pg_stat_statements"))
        (folder / "repo").mkdir()
        fleet = BenchFleet(folder / "repo", size, cluster, near, wire.url)
        stack.callback(fleet.stop)
        fleet.ask("CREATE EXTENSION pg_stat_statements")
        found: list[Measured] = []
        for number, count in enumerate((1, 2, 4)):
            found.append(_measured(fleet, wire, count, number + 1))
            yield str(found[-1])
        costs = [
            Figure(f"{one.replicas} replicas, statements of a pass", one.costs.statements, 6.5, "") for one in found
        ]
        yield from map(str, costs)
        gain = found[-1].rounds.far / found[0].rounds.far
        yield str(Figure("time of a round of 4 replicas to that of one, limited by latency", gain, 1 / 3))
        seconds = fleet.takeover()
        median, worst = statistics.median(seconds), max(seconds)
        yield str(Figure("takeover, median", median, 15, " s"))
        yield str(Figure("takeover, worst", worst, 15, " s", f"{len(seconds)} targets"))
    lines = _lines(size, found, len(seconds), median, worst)
    yield from lines
    if docs:
        write_into(PAGE, lines)


def _measured(fleet: BenchFleet, wire: BreakableConnection, count: int, version: int) -> Measured:
    """Everything with so many replicas."""
    name = f"{count} replica{'s' * (count > 1)}"
    wire.delay = 0.0
    with fleet.step(f"{name}, to fill the store or to divide the targets"):
        fleet.start(count)
    with fleet.step(f"{name}, a round that remembers that all is in sync"):
        fleet.unchanged_round()
    wire.delay = NEAR / 2
    with fleet.step(f"{name}, waiting"):
        idle = fleet.waiting()
    with fleet.step(f"{name}, nothing changed, near"):
        before = fleet.used()
        near = fleet.unchanged_round()
        used, trip = fleet.used().minus(before), statistics.mean(fleet.trips)
    wire.delay = FAR / 2
    with fleet.step(f"{name}, nothing changed, far"):
        far = fleet.unchanged_round()
    wire.delay = NEAR / 2
    with fleet.step(f"{name}, one entry changed in each"):
        changed = fleet.changed_round(version)
    return Measured(count, _waiting(count, idle), _costs(fleet.size, idle, used, trip), Rounds(near, far, changed))


def _waiting(count: int, idle: Usage) -> Waiting:
    each = idle.at * count
    return Waiting(idle.statements / each, idle.size / each, idle.cpu / each)


def _costs(size: Size, idle: Usage, used: Usage, trip: float) -> Costs:
    """What a pass with nothing to do costs beyond waiting."""
    extra = used.minus(idle, used.at / idle.at)
    totals = (extra.calls, extra.statements, extra.size, extra.cpu, extra.database_cpu)
    calls, statements, sent, cpu, database_cpu = (total / size.targets for total in totals)
    return Costs(calls, statements, sent, cpu, database_cpu, trip)


def _lines(size: Size, found: Sequence[Measured], lost: int, median: float, worst: float) -> list[str]:
    processors = os.cpu_count() or 1
    took = (
        f"Takeover of the {lost:,} targets of a killed replica: {median:.1f} s in the median, {worst:.1f} s at worst."
    )
    return [
        f"{size.targets:,} targets of {size.entries} entries in etcd; a machine with {processors} processors runs everything:",
        "",
        *table(size.targets, (NEAR, FAR), processors, found),
        "",
        took,
        "",
        *wrap(million(NEAR, found[0].costs), 160),
    ]


@contextmanager
def _far_away(url: str) -> Iterator[BreakableConnection]:
    """The wire to a server as if it were 20 ms away."""
    found: list[BreakableConnection] = []
    ready, over = threading.Event(), threading.Event()

    async def carry() -> None:
        async with wire_to(url) as wire:
            wire.delay = NEAR / 2
            found.append(wire)
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
    size = Size.of(next((one for one in sys.argv[1:] if one != "--docs"), USUAL))
    with TemporaryDirectory(prefix="kvsync-bench-") as name:
        for line in measure(Path(name), size, "--docs" in sys.argv):
            print(line, flush=True)
