"""Seeded episodes of three replicas: `python -m tests.leader.episodes FIRST COUNT`. Several are played at a time; prints what
went wrong, and then exits with 1.

A proxy before each replica sees its writes arrive. No write of a former leader arrives after the first one of the next.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP, SIGTERM, Signals
from typing import Any, Final, Protocol
from urllib.parse import parse_qs, urlsplit

from tests.faults.proxy import Call
from tests.faults.stores import KINDS
from tests.leader.judge import Judge, Landing, Link
from tests.leader.kubernetes_api import cluster
from tests.leader.quorum import Quorum, running_quorum
from tests.stores import apify_service, azure_service, cloudflare_service, voximplant_service
from tests.support.etcd import wait_until
from tests.support.forked import ForkedCommand, ForkServer

AT_ONCE: Final = 3
BOUND: Final = 300.0
"""Seconds that anything is waited for, however busy the machine is."""
REPLICAS: Final = ("a", "b", "c")
THEIRS: Final = {"theirs-1": "of others", "theirs-2": "of others, too"}
_VOX_WRITES: Final = ("SetKeyValueItem", "DelKeyValueItem")


@dataclass(frozen=True)
class Service:
    """A store for one episode. `size` is that of a value."""

    url: str
    config: str
    environ: Mapping[str, str]
    values: Callable[[], dict[str, str]]
    put: Callable[[str, str], Any]
    is_write: Callable[[Call], bool]
    keys: int
    size: int


@contextmanager
def azure() -> Iterator[Service]:
    with azure_service.Service.serve() as found:
        name = azure_service.SECRET.name
        yield Service(
            found.url,
            f"type: azure-appconfig, concurrency: 2, connection_string: {{env: {name}}}",
            {name: found.env[name].replace("127.0.0.1", "localhost")},
            lambda: {key[4:]: value for (key, _), value in found.values().items()},
            lambda key, value: found.set(f"web:{key}", value),
            lambda call: call.method in ("PUT", "DELETE"),
            30,
            3,
        )


@contextmanager
def cloudflare() -> Iterator[Service]:
    with cloudflare_service.Service.serve() as found:
        found.reset("web")
        kind_of = KINDS["cloudflare-kv"].kind_of
        yield Service(
            found.url,
            f"type: cloudflare-kv, account_id: {found.account}, token: {{env: CLOUDFLARE_API_TOKEN}}, "
            f"endpoint: '{_named(found.url)}'",
            found.env,
            lambda: {key: (value or b"").decode() for key, value in found.values("web").items()},
            lambda key, value: found.put("web", key, value.encode()),
            lambda call: kind_of(call) in ("write", "delete"),
            40,
            2_000,
        )


@contextmanager
def apify() -> Iterator[Service]:
    with apify_service.Service.serve() as found:
        found.reset("web")

        def values() -> dict[str, str]:
            return {key: (found.value("web", key) or b"").decode() for key in found.keys("web") if "kvsync." not in key}

        yield Service(
            found.url,
            f"type: apify, ledger: store, concurrency: 2, token: {{env: APIFY_TOKEN}}, endpoint: '{_named(found.url)}'",
            found.env,
            values,
            lambda key, value: found.put("web", key, value),
            lambda call: call.method in ("PUT", "DELETE"),
            20,
            1_000,
        )


@contextmanager
def voximplant() -> Iterator[Service]:
    def is_write(call: Call) -> bool:
        text = f"{urlsplit(call.target).query}&{call.body.decode('utf-8', 'replace')}"
        return parse_qs(text).get("cmd", [""])[0] in _VOX_WRITES

    with voximplant_service.Service.serve() as found:
        yield Service(
            found.url,
            "type: voximplant, ledger: store, credentials: {env: VOXIMPLANT_CREDENTIALS}, application_id: 1, "
            f"requests_per_second: 1000, concurrency: 2, endpoint: '{_named(found.url)}'",
            found.env,
            lambda: {key[4:]: value for key, value in found.values("web:").items()},
            lambda key, value: found.put(f"web:{key}", value, ttl=7_000_000),
            is_write,
            20,
            300,
        )


def _named(url: str) -> str:
    """The same place, by a name to which the way leads through the proxy of a replica."""
    return url.replace("127.0.0.1", "localhost")


SERVICES: Final = (azure, cloudflare, apify, voximplant)


class Replica:
    """A daemon in a folder of its own, which is started again where it was killed."""

    def __init__(self, runner: ForkServer, root: Path, config: str, environ: Mapping[str, str]) -> None:
        self.root, self._runner = root, runner
        self._environ = {**os.environ, **environ, "NO_COLOR": "1"}
        (root / "state").mkdir(parents=True)
        (root / "kvsync.yaml").write_text(config)
        self._ended: list[str] = []
        self.command: ForkedCommand | None = None

    def want(self, text: str) -> None:
        """Write the one state file, at once and whole."""
        (self.root / "state/new").write_text(text)
        (self.root / "state/new").rename(self.root / "state/web.yaml")

    def start(self) -> None:
        """Begin to run, unless it runs."""
        if self.command is None or self.command.has_ended():
            self.end(SIGKILL)
            self.command = self._runner.start(["--log-format", "json", "run"], self.root, self._environ)

    def send(self, number: Signals) -> None:
        """Send it a signal, if it runs."""
        if self.command is not None:
            self.command.send(number)

    def end(self, number: Signals) -> int:
        """End it, and keep what it said; gives its exit code."""
        if self.command is None:
            return 0
        for one in (number, SIGCONT):
            self.send(one)
        code, _, err = self.command.wait()
        self._ended.append(err)
        self.command = None
        return code

    def log(self) -> str:
        """Everything that it ever said."""
        return "".join([*self._ended, *([self.command.said()[1]] if self.command else [])])

    def acquired(self) -> list[float]:
        """When it began to lead."""
        found = []
        for line in self.log().splitlines():
            if '"lease.acquired"' in line and line.endswith("}"):
                stamp = json.loads(line)["timestamp"]
                found.append(datetime.fromisoformat(stamp.replace("Z", "+00:00")).timestamp())
        return found


class Episode:
    """Three replicas, one store, and what happens to them."""

    def __init__(self, folder: Path, seed: int, leases: Leases, stack: ExitStack) -> None:
        self.chance, self.folder = random.Random(seed), folder
        self.service: Service = stack.enter_context(SERVICES[seed % len(SERVICES)]())
        self.name = f"{SERVICES[seed % len(SERVICES)].__name__}, {'kubernetes' if seed % 3 == 2 else 'etcd'}"
        self.judge = Judge(self.service.url, self.service.is_write)
        self.leases, self.links = leases, dict[str, list[Link]]()
        self.replicas: dict[str, Replica] = {}
        for name in REPLICAS:
            url = stack.enter_context(self.judge.proxy(name))
            lease, environ = self._lease(name, f"kvsync-{seed}", seed % 3 == 2, stack)
            config = (
                "version: 1\nowner: team-a\npolicy: {prune: owned, guard: {max_delete_pct: 100, max_update_pct: 100}}\n"
                f"stores: {{main: {{timeout: 10s, {self.service.config}}}}}\n"
                f"run: {{every: 2s, jitter: 0s, lease: {{{lease}, duration: 3s, retry: 300ms}}}}\n"
            )
            environ = {**self.service.environ, **environ, "HTTP_PROXY": url, "NO_PROXY": "127.0.0.1"}
            self.replicas[name] = Replica(leases.runner, folder / name, config, environ)
        for key, value in THEIRS.items():
            self.service.put(key, value)
        self.wanted: dict[str, str] = {}
        self.story = [self.name]

    def _lease(self, name: str, key: str, is_kubernetes: bool, stack: ExitStack) -> tuple[str, dict[str, str]]:
        """The lines of the lease, and what the process has to know, behind links that can be cut."""
        if is_kubernetes:
            links = [Link(*self.leases.kubernetes)]
        else:
            urls = [urlsplit(url) for url in self.leases.quorum.urls]
            links = [Link(url.hostname or "", url.port or 0) for url in urls]
        for link in links:
            stack.enter_context(link.serve())
        self.links[name] = links
        if is_kubernetes:
            environ = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(links[0].port)}
            return f"kubernetes: {{name: {key}, namespace: kvsync}}", environ
        places = ", ".join(f"http://127.0.0.1:{link.port}" for link in links)
        return f"etcd: {{endpoint: [{places}], key: {key}}}", {}

    def want(self, version: int) -> None:
        """Let all replicas have other files, which drop some keys and make others."""
        numbers = [number for number in range(self.service.keys) if self.chance.random() < 0.8]
        filler = "x" * self.service.size
        self.wanted = {f"k{number:02}": f"{version}-{filler}" for number in numbers}
        lines = "".join(f"  {key}: {value}\n" for key, value in self.wanted.items())
        for replica in self.replicas.values():
            replica.want(f"store: main\nnamespace: web\nkeys:\n{lines}")

    def leader(self) -> str | None:
        """Who began to lead last."""
        began = {name: replica.acquired()[-1] for name, replica in self.replicas.items() if replica.acquired()}
        return max(began, key=lambda name: began[name]) if began else None

    def play(self) -> None:
        """From the first leader to the last."""
        self.want(0)
        for replica in self.replicas.values():
            replica.start()
        wait_until(self._is_right, BOUND)
        for version in range(1, self.chance.randint(2, 3) + 1):
            leader = wait_until(self.leader, BOUND)
            if self.chance.random() < 0.6:
                self.judge.pace[leader] = self.chance.choice((0.02, 0.06, 0.15))
            arrived = len(self.judge.landings)
            self.want(version)
            if self.chance.random() < 0.7:
                self._see_writes(arrived)
            time.sleep(self.chance.uniform(0, 0.8))
            self._disturb(leader)
            self.judge.pace.clear()
            for replica in self.replicas.values():
                replica.start()
        wait_until(self._is_right, BOUND)
        self._check()

    def _see_writes(self, before: int) -> None:
        wait_until(lambda: len(self.judge.landings) > before or self._is_right(), BOUND)

    def _disturb(self, leader: str) -> None:
        acts = (self._kill, self._stop, self._stop, self._cut, self._cut, self._leave, self._lose_etcd, self._nothing)
        act = self.chance.choice(acts)
        self.story.append(f"{act.__name__} {leader} pace {self.judge.pace.get(leader, 0)}")
        act(leader)

    def _nothing(self, leader: str) -> None:
        time.sleep(1)

    def _kill(self, leader: str) -> None:
        self.replicas[leader].end(SIGKILL)
        self._next(leader)

    def _leave(self, leader: str) -> None:
        self._end(leader)
        self._next(leader)

    def _end(self, name: str) -> None:
        """End a replica with SIGTERM. The signal may come before it is handled, or cut off a pass on a busy machine."""
        code, last = self.replicas[name].end(SIGTERM), self.replicas[name].log()[-300:]
        is_excused = (code == -SIGTERM and "daemon.stop" not in last) or (code == 1 and '"unfinished": 1' in last)
        assert code == 0 or is_excused, f"{name} left with {code}\n{last}"

    def _stop(self, leader: str) -> None:
        self.replicas[leader].send(SIGSTOP)
        self._next(leader)
        time.sleep(self.chance.uniform(0, 2))
        self.replicas[leader].send(SIGCONT)

    def _cut(self, leader: str) -> None:
        for link in self.links[leader]:
            link.cut()
        self._next(leader)
        time.sleep(self.chance.uniform(0, 2))
        for link in self.links[leader]:
            link.mend()

    def _lose_etcd(self, leader: str) -> None:
        self.leases.quorum.lose_leader()

    def _next(self, before: str) -> None:
        """Wait until another one leads."""
        wait_until(lambda: self.leader() != before, BOUND)

    def _is_right(self) -> bool:
        return self.service.values() == self.wanted | THEIRS

    def _check(self) -> None:
        for name in self.replicas:
            self._end(name)
        assert self._is_right(), "it is not as it is wanted after everyone has left"
        for replica in self.replicas.values():
            log = replica.log()
            assert not any(one in log for one in ("Traceback", "bug in kvsync", "never awaited")), log[-5000:]
        late = self.late()
        assert not late, f"late: {late[:5]}"

    def late(self) -> list[tuple[Landing, float, float]]:
        """Writes that arrived after the first one of a later leader, with the beginnings of both terms."""
        terms = {name: replica.acquired() for name, replica in self.replicas.items()}
        found, latest = [], 0.0
        for landing in sorted(self.judge.landings, key=lambda one: one.moment):
            term = max((began for began in terms[landing.replica] if began <= landing.moment + 0.05), default=0.0)
            if term < latest or not term:
                found.append((landing, term, latest))
            latest = max(latest, term)
        return found

    def kill_all(self) -> None:
        """End whatever still runs."""
        for replica in self.replicas.values():
            replica.end(SIGKILL)


class Leases:
    """What keeps the leases of all episodes: three members of etcd, and a server that speaks Kubernetes."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        (folder / "etcd").mkdir(parents=True)
        (folder / "account").mkdir()
        self.quorum: Quorum = stack.enter_context(running_quorum(folder / "etcd"))
        self.kubernetes: tuple[str, int] = stack.enter_context(_kubernetes(folder / "account"))
        self.runner = ForkServer("tests.leader.child", SERVICE_ACCOUNT=str(folder / "account"))
        stack.callback(self.runner.close)


@contextmanager
def _kubernetes(folder: Path) -> Iterator[tuple[str, int]]:
    """Serve in a thread; gives host and port."""
    found: list[tuple[str, int]] = []
    ready = threading.Event()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        async with cluster(folder) as here:
            environ = here.environ
            found.append((environ["KUBERNETES_SERVICE_HOST"], int(environ["KUBERNETES_SERVICE_PORT"])))
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    ready.wait(BOUND)
    try:
        yield found[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


class Playable(Protocol):
    """An episode: what happened so far, and what it shows of itself when it goes wrong."""

    story: list[str]
    judge: Judge
    replicas: dict[str, Replica]

    def play(self) -> None:
        """Play it. Raises what went wrong."""


def failure_of(episode: Playable, seed: int, folder: Path) -> str:
    """Play an episode; gives what went wrong, empty if nothing did."""
    try:
        episode.play()
    except Exception as error:  # noqa: BLE001 - whatever it is, the others are played
        logs = "".join(f"\n-- {name}\n{one.log()[-4000:]}" for name, one in episode.replicas.items())
        landings = "\n".join(map(str, episode.judge.landings[-40:]))
        return f"WRONG seed {seed}: {error!r}\n" + "\n".join(episode.story) + f"\n{landings}{logs}\nfolder: {folder}"
    return ""


def play(root: Path, leases: Leases, seed: int) -> str:
    """Play one; gives what went wrong."""
    folder = root / f"seed-{seed}"
    shutil.rmtree(folder, ignore_errors=True)
    began = time.monotonic()
    with ExitStack() as stack:
        episode = Episode(folder, seed, leases, stack)
        stack.callback(episode.kill_all)
        if failure := failure_of(episode, seed, folder):
            return failure
    shutil.rmtree(folder)
    print(f"seed {seed} {episode.name} {time.monotonic() - began:.1f} s: {'; '.join(episode.story[1:])}", flush=True)
    return ""


def main(first: int, count: int) -> int:
    """Play them, some at a time. Gives the exit code."""
    root = Path(tempfile.mkdtemp(prefix="replicas-"))
    with ExitStack() as stack:
        leases = Leases(root, stack)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            wrong = []
            for words in pool.map(lambda seed: play(root, leases, seed), range(first, first + count)):
                if words:
                    wrong.append(words)
                    print(words, flush=True)
    if not wrong:
        shutil.rmtree(root)
    return min(len(wrong), 1)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:3])))
