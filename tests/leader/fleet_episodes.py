"""Seeded episodes of replicas that share a state in PostgreSQL: `python -m tests.leader.fleet_episodes FIRST COUNT`. Prints
what went wrong, and then exits with 1.

A proxy before each replica sees its writes arrive, and triggers in the database note every claim and every intent. So, for each
entry: whoever wrote it held the claim of its target when the write arrived, and had recorded the intent before; whoever
recorded anything held the claim in that very transaction; what the journal calls applied has arrived; and in the end the store
is as wanted, with what others have there untouched.
"""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP, SIGTERM
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import psycopg

from kvsync.state.postgres_address import PostgresAddress
from kvsync.state.postgres_database import upgrade
from tests.leader.episodes import BOUND, THEIRS, Replica, failure_of
from tests.leader.fleet_child import AHEAD
from tests.leader.judge import Judge, Landing, Link
from tests.stores import azure_service
from tests.support.etcd import wait_until
from tests.support.forked import ForkServer
from tests.support.postgres import Cluster, running_cluster

NAMESPACES: Final = 5
KEYS: Final = 8
LOOK_EVERY: Final = 0.1
"""Seconds between two looks at the store: each reads all of it."""
SLACK: Final = 0.05
"""Seconds between what the database and the proxy call the same moment."""

_EMPTY: Final = "fleet_empty"
"""The database with a state in which nothing happened."""

_NOTES: Final = """
CREATE TABLE noted_claims (seq bigserial, at double precision, namespace text, replica text, fence bigint);
CREATE TABLE noted_intents (seq bigserial, at double precision, namespace text, key text, replica text, holder text);
CREATE FUNCTION note_claim() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO noted_claims (at, namespace, replica, fence) VALUES (extract(epoch FROM clock_timestamp()),
    coalesce(NEW.namespace, OLD.namespace), CASE WHEN TG_OP = 'DELETE' THEN NULL ELSE NEW.replica END, coalesce(NEW.fence, 0));
  RETURN NULL; END $$;
CREATE FUNCTION note_intent() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO noted_intents (at, namespace, key, replica, holder) VALUES (extract(epoch FROM clock_timestamp()),
    NEW.namespace, NEW.key, (SELECT replica FROM runs WHERE seq = NEW.seq >> 32),
    (SELECT replica FROM claims WHERE store = NEW.store AND namespace = NEW.namespace));
  RETURN NULL; END $$;
CREATE TRIGGER claim_noted AFTER INSERT OR UPDATE OF replica, fence OR DELETE ON claims
  FOR EACH ROW EXECUTE FUNCTION note_claim();
CREATE TRIGGER intent_noted AFTER INSERT OR UPDATE ON changes FOR EACH ROW EXECUTE FUNCTION note_intent();
"""


@dataclass(frozen=True)
class Note:
    """From when on a replica held a target or intended a write; None: nobody."""

    at: float
    replica: str | None


class Noted:
    """What the triggers noted, in order. `name_of` gives the replica whose process joined under a name."""

    CLAIMS: Final = "SELECT namespace, at, replica, fence FROM noted_claims ORDER BY seq"
    INTENTS: Final = "SELECT namespace, key, at, replica FROM noted_intents"

    def __init__(self, claims: list[Any], intents: list[Any], name_of: Callable[[str | None], str | None]) -> None:
        self.fences = [fence for *_, replica, fence in claims if replica is not None]
        self._claims: dict[str, list[Note]] = defaultdict(list)
        for namespace, at, replica, _ in claims:
            self._claims[namespace].append(Note(at, name_of(replica)))
        self._intents: dict[tuple[str, str], list[Note]] = defaultdict(list)
        for namespace, key, at, replica in intents:
            self._intents[namespace, key].append(Note(at, name_of(replica)))

    def objection(self, landing: Landing) -> str | None:
        """Why a write must not have arrived."""
        namespace, key = entry_of(landing)
        held = [claim for claim in self._claims[namespace] if claim.at <= landing.moment + SLACK]
        changing = sum(claim.at > landing.moment - SLACK for claim in held)
        holders = {claim.replica for claim in held[-1 - changing :]}
        if landing.replica not in holders:
            return f"{holders} held {namespace}"
        known = {intent.replica for intent in self._intents[namespace, key] if intent.at <= landing.moment + SLACK}
        return None if landing.replica in known else f"no intent for {key}"


class Surroundings:
    """What all episodes of a process share: a database server with an empty state, and a process to fork replicas off."""

    def __init__(self, stack: ExitStack) -> None:
        self.cluster: Cluster = stack.enter_context(running_cluster())
        dsn = self.cluster.new_database(_EMPTY)
        upgrade(PostgresAddress.of(dsn), create=True)
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(_NOTES)
        self.runner = ForkServer("tests.leader.fleet_child")
        stack.callback(self.runner.close)


class Episode:
    """Three to five replicas, one store, and what happens to them."""

    def __init__(self, folder: Path, seed: int, shared: Surroundings, stack: ExitStack) -> None:
        self.chance, self.shared = random.Random(seed), shared
        self.service = stack.enter_context(azure_service.Service.serve())
        self.judge = Judge(self.service.url, lambda call: call.method in ("PUT", "DELETE"))
        self.dsn = shared.cluster.new_database(f"fleet_{seed}", _EMPTY)
        self.links: dict[str, Link] = {}
        self.replicas: dict[str, Replica] = {}
        self.processes: dict[int, str] = {}
        for name in "abcde"[: self.chance.randint(3, 5)]:
            self._add(name, folder, stack)
        for key, value in THEIRS.items():
            self.service.set(f"n0:{key}", value)
        self.wanted: dict[str, str] = {}
        self.story: list[str] = []
        self._next_look = 0.0

    def _add(self, name: str, folder: Path, stack: ExitStack) -> None:
        secret = azure_service.SECRET.name
        url = stack.enter_context(self.judge.proxy(name))
        self.links[name] = link = Link("127.0.0.1", self.shared.cluster.port)
        stack.enter_context(link.serve())
        config = (
            "version: 1\nowner: team-a\nstate: {files: ['state/*.yaml'], postgresql: {dsn: {env: KVSYNC_TEST_DSN}}}\n"
            "policy: {prune: owned, guard: {max_delete_pct: 100, max_update_pct: 100}}\n"
            f"stores: {{main: {{type: azure-appconfig, concurrency: 2, timeout: 10s, connection_string: {{env: {secret}}}}}}}\n"
            "run: {every: 2s, jitter: 0s}\n"
        )
        environ = {
            secret: self.service.env[secret].replace("127.0.0.1", "localhost"),
            "KVSYNC_TEST_DSN": self.dsn.replace(f":{self.shared.cluster.port}", f":{link.port}"),
            "HTTP_PROXY": url,
            "NO_PROXY": "127.0.0.1",
            AHEAD: str(self.chance.choice((0, 0, 0, 9_000, -9_000))),
        }
        self.replicas[name] = Replica(self.shared.runner, folder / name, config, environ)

    def ask(self, sql: str, *parameters: Any) -> list[Any]:
        """What the database says, once it answers."""
        found: list[list[Any]] = []

        def is_answered() -> bool:
            options: dict[str, Any] = {
                "connect_timeout": 5,
                "options": "-c default_transaction_read_only=off",
                "autocommit": True,
            }
            with suppress(psycopg.OperationalError), psycopg.connect(self.dsn, **options) as connection:
                cursor = connection.execute(sql, parameters or None)
                found.append(cursor.fetchall() if cursor.description else [])
            return bool(found)

        wait_until(is_answered, BOUND)
        return found[0]

    def start(self) -> None:
        """Start those that do not run."""
        for name, replica in self.replicas.items():
            replica.start()
            assert replica.command is not None
            self.processes[replica.command.pid] = name

    def want(self, version: int) -> None:
        """Let all replicas have other files, which drop some keys and make others."""
        texts, self.wanted = [], {}
        for number in range(NAMESPACES):
            keys = {f"k{key}": f"{version}" for key in range(KEYS) if self.chance.random() < 0.8}
            self.wanted |= {f"n{number}:{key}": value for key, value in keys.items()}
            lines = "".join(f"  {key}: '{value}'\n" for key, value in keys.items()) or "  {}\n"
            texts.append(f"store: main\nnamespace: n{number}\nkeys:\n{lines}")
        for replica in self.replicas.values():
            replica.want("---\n".join(texts))

    def play(self) -> None:
        """From the first claims to the end."""
        self.want(0)
        self.start()
        wait_until(self._looks_right, BOUND)
        for version in range(1, self.chance.randint(1, 2) + 1):
            name = self.chance.choice(sorted(self.replicas))
            self.judge.pace[name] = self.chance.choice((0.0, 0.05, 0.2))
            before = len(self.judge.landings)
            self.want(version)
            if self.chance.random() < 0.7:
                wait_until(lambda: len(self.judge.landings) > before or self._looks_right(), BOUND)  # noqa: B023
            time.sleep(self.chance.uniform(0, 0.5))
            act = self.chance.choice(
                (self._kill, self._stop, self._cut, self._restart, self._full, self._leave, self._slow)
            )
            self.story.append(f"{act.__name__} {name} pace {self.judge.pace[name]}")
            act(name)
            self.judge.pace.clear()
            self.start()
        wait_until(self._looks_right, BOUND)
        self._check()

    def _kill(self, name: str) -> None:
        self.replicas[name].end(SIGKILL)

    def _leave(self, name: str) -> None:
        self.replicas[name].end(SIGTERM)

    def _stop(self, name: str) -> None:
        """Longer than the lease, so that others take its targets."""
        self.replicas[name].send(SIGSTOP)
        time.sleep(self.chance.uniform(6.5, 9))
        self.replicas[name].send(SIGCONT)

    def _cut(self, name: str) -> None:
        self.links[name].cut()
        time.sleep(self.chance.uniform(3, 9))
        self.links[name].mend()

    def _slow(self, name: str) -> None:
        """The link to the database stands still again and again."""
        for _ in range(6):
            self.links[name].cut()
            time.sleep(self.chance.uniform(0.2, 0.8))
            self.links[name].mend()
            time.sleep(0.05)

    def _restart(self, _name: str) -> None:
        self.shared.cluster.control("-m", "immediate", "stop")
        time.sleep(self.chance.uniform(0, 2))
        self.shared.cluster.start()

    def _full(self, _name: str) -> None:
        """The server writes nothing, as with a full disk."""
        database = self.dsn.rpartition("/")[2]
        self.ask(f'ALTER DATABASE "{database}" SET default_transaction_read_only = on')
        self.ask(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()",
            database,
        )
        time.sleep(self.chance.uniform(1, 4))
        self.ask(f'ALTER DATABASE "{database}" RESET default_transaction_read_only')
        self.ask(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()",
            database,
        )

    def _looks_right(self) -> bool:
        """Whether it is right, if it is time to look again."""
        if time.monotonic() < self._next_look:
            return False
        self._next_look = time.monotonic() + LOOK_EVERY
        return self._is_right()

    def _is_right(self) -> bool:
        theirs = {f"n0:{key}": value for key, value in THEIRS.items()}
        return {key: value for (key, _), value in self.service.values().items()} == self.wanted | theirs

    def _check(self) -> None:
        for replica in self.replicas.values():
            replica.end(SIGTERM)
        assert self._is_right(), "it is not as it is wanted after everyone has left"
        for replica in self.replicas.values():
            log = replica.log()
            assert not any(one in log for one in ("Traceback", "bug in kvsync", "never awaited")), log[-5000:]
        assert self.ask("SELECT * FROM noted_intents WHERE replica IS DISTINCT FROM holder") == []
        noted = Noted(self.ask(Noted.CLAIMS), self.ask(Noted.INTENTS), self._name)
        wrong = [(landing, why) for landing in self.judge.landings if (why := noted.objection(landing)) is not None]
        assert not wrong, f"wrong: {wrong[:5]}"
        self._check_applied()
        fences = noted.fences
        assert len(set(fences)) == len(fences), "a fencing number was given twice"

    def _check_applied(self) -> None:
        """What the journal calls applied has arrived from that replica."""
        arrived = {(landing.replica, *entry_of(landing)) for landing in self.judge.landings}
        sql = "SELECT replica, namespace, key FROM changes JOIN runs ON runs.seq = changes.seq >> 32 WHERE outcome = 'applied'"
        for replica, namespace, key in self.ask(sql):
            assert (self._name(replica), namespace, key) in arrived, f"{replica} did not write {namespace}:{key}"

    def _name(self, replica: str | None) -> str | None:
        """The replica whose process joined under this name."""
        return None if replica is None else self.processes.get(int(replica.split("_")[-2]))

    def kill_all(self) -> None:
        """End whatever still runs."""
        for replica in self.replicas.values():
            replica.end(SIGKILL)


def entry_of(landing: Landing) -> tuple[str, str]:
    """The namespace and the key of a write."""
    path = urlsplit(landing.what.partition(" ")[2]).path
    namespace, _, key = unquote(path.rpartition("/")[2]).partition(":")
    return namespace, key


def play(root: Path, shared: Surroundings, seed: int) -> str:
    """Play one; gives what went wrong."""
    folder = root / f"seed-{seed}"
    began = time.monotonic()
    with ExitStack() as stack:
        episode = Episode(folder, seed, shared, stack)
        stack.callback(episode.kill_all)
        if failure := failure_of(episode, seed, folder):
            return failure
    shared.cluster.drop_database(episode.dsn.rpartition("/")[2])
    shutil.rmtree(folder)
    replicas, story = len(episode.replicas), "; ".join(episode.story)
    print(f"seed {seed} {replicas} replicas {time.monotonic() - began:.1f} s: {story}", flush=True)
    return ""


def main(first: int, count: int) -> int:
    """Play them one after the other. Gives the exit code."""
    root = Path(tempfile.mkdtemp(prefix="fleet-"))
    wrong = 0
    with ExitStack() as stack:
        shared = Surroundings(stack)
        for seed in range(first, first + count):
            if words := play(root, shared, seed):
                wrong += 1
                print(words, flush=True)
    if not wrong:
        shutil.rmtree(root)
    return min(wrong, 1)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
