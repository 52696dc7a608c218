"""Several daemons on one state in PostgreSQL: they divide the work, and no death, pause or outage makes two of them write."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import psycopg
import pytest

from kvsync.app import TargetSelection, Workspace
from kvsync.errors import ClaimHeld
from kvsync.model.entry import Target
from kvsync.state.postgres_address import PostgresAddress
from kvsync.state.postgres_database import upgrade
from tests.stores import azure_service
from tests.support.etcd import free_port
from tests.support.memory_repository import MemoryRepository
from tests.support.postgres import Cluster, running_cluster

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

ROOT = Path(__file__).parent.parent.parent
TARGETS = 12
BOUND = 180.0
"""Seconds that a test waits at most for something real."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with running_cluster() as running:
        yield running


class Replicas:
    """A repository, its database, and daemons that keep one SQLite store in sync with it."""

    def __init__(
        self, folder: Path, cluster: Cluster, stack: ExitStack, store: str = "{type: sqlite, path: store.db}"
    ) -> None:
        self.folder, self.cluster, self._stack = folder, cluster, stack
        self.dsn = cluster.new_database("fleet")
        self.processes: list[subprocess.Popen[bytes]] = []
        self.ports: list[int] = []
        (folder / "state").mkdir()
        (folder / "kvsync.yaml").write_text(
            "version: 1\nowner: fleet\nstate: {postgresql: {dsn: {env: KVSYNC_TEST_DSN}}}\n"
            f"stores: {{local: {store}}}\n"
            "policy: {prune: owned}\nrun: {every: 2s, debounce: 50ms}\n"
        )
        for number in range(TARGETS):
            self.write(number, "first")
        assert self.run("state", "init").returncode == 0

    def write(self, number: int, value: str) -> None:
        text = f"store: local\nnamespace: n{number:02}\nkeys: {{a: {value}, b: fixed}}\n"
        draft = self.folder / f"draft-{number}"
        draft.write_text(text)
        draft.rename(self.folder / f"state/n{number:02}.yaml")

    def environ(self, name: str) -> dict[str, str]:
        own = {"KVSYNC_TEST_DSN": self.dsn, "STATE_DIRECTORY": str(self.folder / name), "PYTHONPATH": str(ROOT)}
        return os.environ | own

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "kvsync", *arguments]
        return subprocess.run(
            command, cwd=self.folder, env=self.environ("hand"), capture_output=True, text=True, check=False
        )

    def bare(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command on a machine that has the DSN and nothing else."""
        folder = self.folder / "bare"
        folder.mkdir(exist_ok=True)
        environ = {"KVSYNC_DSN": self.dsn, "PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], "HOME": str(folder)}
        command = [sys.executable, "-m", "kvsync", *arguments]
        done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)
        assert list(folder.iterdir()) == []
        return done

    def start(self) -> subprocess.Popen[bytes]:
        number = len(self.processes)
        name, config = f"replica-{number}", self.folder / f"kvsync-{number}.yaml"
        self.ports.append(free_port())
        config.write_text(
            (self.folder / "kvsync.yaml").read_text().replace("run: {", f"run: {{listen: 127.0.0.1:{self.ports[-1]}, ")
        )
        log = self._stack.enter_context((self.folder / f"{name}.log").open("wb"))
        command = [sys.executable, "-m", "kvsync", "-c", str(config), "--log-format", "json", "run"]
        process = subprocess.Popen(command, cwd=self.folder, env=self.environ(name), stdout=log, stderr=log)
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        self.processes.append(process)
        return process

    def get(self, number: int, path: str) -> str:
        """What the page of a replica answers."""
        address = f"http://127.0.0.1:{self.ports[number]}{path}"
        with urlopen(Request(address, headers={"Accept": "*/*"}), timeout=BOUND) as answer:
            return str(answer.read().decode())

    def pages(self) -> list[dict[str, Any]]:
        """What `/status` of each replica says."""
        return [json.loads(self.get(number, "/status")) for number in range(len(self.processes))]

    def are_pages_complete(self) -> bool:
        """Whether every page shows every target, and each target is the own one of exactly one replica. A target that moves
        is nobody's for some seconds, and pages are read one after the other."""
        pages = self.pages()
        own = Counter(row["namespace"] for page in pages for row in page["targets"] if row["replica"] is None)
        return all(len(page["targets"]) == TARGETS for page in pages) and sorted(own.values()) == [1] * TARGETS

    def are_metrics_complete(self) -> bool:
        """Whether one replica reports for all, and each target is counted by exactly one."""
        scraped = [self.get(number, "/metrics") for number in range(len(self.processes))]
        total = f"kvsync_fleet_replicas {len(scraped)}.0"
        counted = sum(text.count("kvsync_target_state{") for text in scraped)
        return sum(total in text for text in scraped) == 1 and counted == TARGETS

    def status(self) -> dict[str, Any]:
        """The JSON document of `kvsync status` on a machine that has only the DSN."""
        return dict(json.loads(self.run("status", "-o", "json").stdout))

    def runs(self) -> list[str]:
        """The finished runs that changed the first target, newest first, as a machine that has only the DSN sees them."""
        found = json.loads(self.run("history", "--target", "local/n00", "-o", "json").stdout)["runs"]
        return [run["run"] for run in found if run["status"] == "finished"]

    def holders(self) -> Counter[int]:
        """Targets by the process of the replica that holds them, of living replicas alone."""
        sql = "SELECT pid, count(*) FROM claims JOIN replicas ON id = replica WHERE expires_at > clock_timestamp() GROUP BY pid"
        with psycopg.connect(self.dsn) as connection:
            return Counter(dict(connection.execute(sql).fetchall()))

    def state(self) -> dict[str, list[tuple[object, ...]]]:
        """What a reader sees of passes, daemons, plans that wait, and places."""
        with psycopg.connect(self.dsn) as connection:
            names = ("passes", "daemon", "parked", "places", "memo")
            return {name: connection.execute(f"SELECT * FROM {name} ORDER BY 1, 2").fetchall() for name in names}

    def is_in_sync(self) -> bool:
        return self.run("plan", "--exit-code").returncode == 0

    def until(self, is_so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + BOUND
        while not is_so():
            assert time.monotonic() < deadline, self.logs()
            time.sleep(0.1)

    def logs(self) -> str:
        return "\n".join(f"{log.name}\n{log.read_text()[-3000:]}" for log in sorted(self.folder.glob("replica-*.log")))


@pytest.fixture
def replicas(tmp_path: Path, cluster: Cluster) -> Iterator[Replicas]:
    with ExitStack() as stack:
        yield Replicas(tmp_path, cluster, stack)


def held_by(*processes: subprocess.Popen[bytes]) -> Callable[[Counter[int]], bool]:
    """Whether these, and nobody else, hold all targets, each of them some."""
    wanted = {process.pid for process in processes}
    return lambda held: set(held) == wanted and sum(held.values()) == TARGETS


def test_work_moves_with_the_replicas(replicas: Replicas) -> None:
    """Targets spread over replicas that join, and go to the others when one is killed or leaves; every edit is applied once,
    by whoever holds its target."""
    first = replicas.start()
    replicas.until(lambda: held_by(first)(replicas.holders()))
    second, third = replicas.start(), replicas.start()
    replicas.until(lambda: held_by(first, second, third)(replicas.holders()))
    assert replicas.run("apply", "--yes").returncode == 5
    first.kill()
    for number in range(TARGETS):
        replicas.write(number, "second")
    replicas.until(lambda: held_by(second, third)(replicas.holders()))
    replicas.until(replicas.is_in_sync)
    second.terminate()
    assert second.wait(BOUND) == 0
    replicas.until(lambda: held_by(third)(replicas.holders()))
    with psycopg.connect(replicas.dsn) as connection:
        sql = "SELECT namespace, count(*) FROM changes WHERE key = 'a' AND outcome = 'applied' GROUP BY namespace"
        assert dict(connection.execute(sql).fetchall()) == {f"n{number:02}": 2 for number in range(TARGETS)}


def test_a_replica_that_slept_past_its_lease_writes_nothing(replicas: Replicas) -> None:
    """A process that was stopped for longer than its lease finds its targets taken: it records and writes nothing for them, and
    takes part again."""
    first, second = replicas.start(), replicas.start()
    replicas.until(lambda: held_by(first, second)(replicas.holders()))
    replicas.until(replicas.is_in_sync)
    first.send_signal(signal.SIGSTOP)
    replicas.until(lambda: held_by(second)(replicas.holders()))
    for number in range(TARGETS):
        replicas.write(number, "second")
    replicas.until(replicas.is_in_sync)
    first.send_signal(signal.SIGCONT)
    replicas.until(lambda: held_by(first, second)(replicas.holders()))
    assert replicas.is_in_sync()
    with psycopg.connect(replicas.dsn) as connection:
        sql = "SELECT count(*) FROM changes WHERE key = 'a' AND outcome = 'applied'"
        assert connection.execute(sql).fetchone() == (2 * TARGETS,)


def test_the_database_stops_and_comes_back(replicas: Replicas) -> None:
    """While the database is down nothing is written; once it is back, the same processes go on without help."""
    first, second = replicas.start(), replicas.start()
    replicas.until(lambda: held_by(first, second)(replicas.holders()))
    replicas.until(replicas.is_in_sync)
    replicas.cluster.control("-m", "immediate", "stop")
    try:
        for number in range(TARGETS):
            replicas.write(number, "second")
        failed = replicas.run("apply", "--yes")
    finally:
        replicas.cluster.start()
    assert failed.returncode == 1
    assert f"state in postgresql://127.0.0.1:{replicas.cluster.port}/fleet: " in failed.stderr
    assert "Traceback" not in failed.stderr
    replicas.until(replicas.is_in_sync)
    assert first.poll() is None
    assert second.poll() is None


def test_what_a_person_says_reaches_whoever_holds_the_target(replicas: Replicas) -> None:
    """A pause from another machine holds, a resume lets go, an undo is carried out, and the status of all is seen there;
    the page of each replica shows all targets, and its metrics count its own."""
    first, second = replicas.start(), replicas.start()
    replicas.until(lambda: held_by(first, second)(replicas.holders()))
    replicas.until(replicas.is_in_sync)
    replicas.until(replicas.are_pages_complete)
    replicas.until(replicas.are_metrics_complete)
    assert replicas.run("pause", "local", "--reason", "freeze").returncode == 0
    replicas.write(0, "second")
    replicas.until(lambda: {one["pid"] for one in replicas.status()["replicas"]} == {first.pid, second.pid})
    document = replicas.status()
    assert len(document["targets"]) == TARGETS
    assert document["paused"][0]["reason"] == "freeze"
    assert not replicas.is_in_sync()
    assert replicas.run("resume", "local").returncode == 0
    replicas.until(replicas.is_in_sync)
    last = json.loads(replicas.run("history", "--target", "local/n00", "--limit", "1", "-o", "json").stdout)["runs"][0]
    done = replicas.run("undo", last["run"], "--yes")
    assert done.stdout.endswith("Done: 1 applied.\n"), done.stderr


def test_a_machine_without_credentials_undoes(
    tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command that cannot read the store asks a replica, which can; a preview says that it failed. Other commands need only
    the DSN."""
    secret = azure_service.SECRET.name
    with azure_service.Service.serve() as service, ExitStack() as stack:
        store = f"{{type: azure-appconfig, connection_string: {{env: {secret}}}}}"
        replicas = Replicas(tmp_path, cluster, stack, store)
        monkeypatch.setenv(secret, service.env[secret])
        first = replicas.start()
        replicas.until(lambda: held_by(first)(replicas.holders()))
        replicas.until(replicas.is_in_sync)
        replicas.write(0, "second")
        replicas.until(lambda: service.values()["n00:a", None] == "second")
        monkeypatch.delenv(secret)
        assert replicas.bare("pause", "local/n01", "--reason", "freeze").returncode == 0
        assert json.loads(replicas.bare("status", "-o", "json").stdout)["paused"][0]["reason"] == "freeze"
        assert replicas.bare("resume", "local/n01").stdout == "local/n01 is resumed\n"
        assert (
            "the database has no target local/n99; did you mean local/n09?"
            in replicas.bare("pause", "local/n99").stderr
        )
        replicas.until(lambda: len(replicas.runs()) > 0)
        last = replicas.runs()[0]
        assert replicas.run("undo", last, "--dry-run").returncode == 1
        done = replicas.run("undo", last, "--yes")
        assert "local/n00: no preview of the undo of 1 change: " in done.stderr
        assert "the replica that holds the target carries it out" in done.stderr
        assert done.stdout.endswith("Done: 1 applied.\n"), done.stderr
        assert service.values()["n00:a", None] == "first"


def test_undo_needs_only_the_dsn(replicas: Replicas) -> None:
    """Without a kvsync.yaml, a replica carries out the undo. None is made while no replica runs, and no preview."""
    first = replicas.start()
    replicas.until(lambda: held_by(first)(replicas.holders()))
    replicas.until(replicas.is_in_sync)
    replicas.write(0, "second")
    replicas.until(replicas.is_in_sync)
    replicas.until(lambda: len(replicas.runs()) > 1)
    last = replicas.runs()[0]
    refused = replicas.bare("undo", last, "--dry-run")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "a preview reads the stores, and this machine has only KVSYNC_DSN" in refused.stderr
    done = replicas.bare("undo", last, "--yes")
    assert done.stdout.endswith("Done: 1 applied.\n"), done.stderr
    assert (
        "local/n00: no preview of the undo of 1 change: this machine has no kvsync.yaml to read the store with;"
        " the replica that holds the target carries it out\n" in done.stderr
    )
    assert "error" not in done.stdout
    assert replicas.run("history", "--target", "local/n00", "-o", "json").stdout.count('"command": "undo"') == 1
    first.terminate()
    assert first.wait(BOUND) == 0
    alone = replicas.bare("undo", last, "--yes")
    assert (alone.returncode, alone.stdout) == (1, "")
    assert "a replica has to carry out the undo, and none is running" in alone.stderr


def test_a_command_leaves_an_undo_to_whoever_holds_its_target(replicas: Replicas) -> None:
    """A command finishes an undo that was cut off in the targets that it may work on; the others do not stop it."""
    assert replicas.run("apply", "--yes").returncode == 0
    with psycopg.connect(replicas.dsn) as connection:
        connection.execute(
            "INSERT INTO replicas VALUES ('other', 'h', 1, '1', 'fleet', now(), now(), now() + interval '1 h', 0, 0)"
        )
        connection.execute("INSERT INTO claims VALUES ('local', 'n00', 'other', 1, 1, now())")
        for number in range(2):
            request = "INSERT INTO undo_requests SELECT 'r', 'local', %s, id, json_build_array(id), 0 FROM runs"
            connection.execute(request, (f"n{number:02}",))
    done = replicas.run("apply", "--yes", "--target", "local/n01")
    assert "completed an interrupted undo (1 targets)" in done.stderr
    with psycopg.connect(replicas.dsn) as connection:
        rows = connection.execute("SELECT namespace, report IS NULL FROM undo_requests").fetchall()
    assert dict(rows) == {"n00": True, "n01": False}


def test_who_only_reads_leaves_what_replicas_know(replicas: Replicas) -> None:
    """A plan and an observer with other files change nothing of the shared state: neither the passes of targets that it they
    do not know, nor a plan that waits for approval, nor who reported last."""
    assert replicas.run("run", "--once").returncode == 0
    for number in range(TARGETS):
        (replicas.folder / f"state/n{number:02}.yaml").unlink()
    (replicas.folder / "state/n00.yaml").write_text("store: local\nnamespace: n00\nkeys: {}\n")
    assert replicas.run("run", "--once").returncode == 4
    before = replicas.state()
    replicas.write(0, "second")
    assert replicas.run("plan").returncode == 0
    assert replicas.run("run", "--observe", "--once").returncode == 0
    assert replicas.state() == before
    assert len(before["passes"]) == TARGETS
    assert len(before["parked"]) == 1


async def test_a_wave_waits_for_a_target_that_another_replica_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cluster: Cluster
) -> None:
    """What one replica brought its target to, and since when, decides for the targets of the others."""
    repo = MemoryRepository(tmp_path, monkeypatch)
    repo.configure(more="waves: [{targets: [main/dev], bake: 600s}]")
    file = tmp_path / "kvsync.yaml"
    shared = "state: {postgresql: {dsn: {env: KVSYNC_TEST_DSN}}}"
    file.write_text(file.read_text().replace('state: ["state/**/*.yaml"]', shared))
    monkeypatch.setenv("KVSYNC_TEST_DSN", dsn := cluster.new_database("waves"))
    upgrade(PostgresAddress.of(dsn), create=True)
    for namespace in ("dev", "prod"):
        repo.state(f"store: main\nnamespace: {namespace}\nkeys: {{a: 1}}\n", f"{namespace}.yaml")

    async def applied(workspace: Workspace, namespace: str) -> str | None:
        plan = await workspace.plan(TargetSelection([Target("main", namespace)]))
        return (await workspace.apply(plan, command="test")).targets[0].early

    async with repo.open(environ=os.environ) as first:
        async with repo.open(environ=os.environ) as second:
            assert "has not been applied yet" in (await applied(second, "prod") or "")
            assert await applied(first, "dev") is None
            assert "baking until" in (await applied(second, "prod") or "")
            with pytest.raises(ClaimHeld):
                await applied(second, "dev")
        repo.clock.advance(600)
        async with repo.open(environ=os.environ) as third:
            assert await applied(third, "prod") is None
