"""Two daemons, one store, a real etcd: whoever is paused, cut off or killed, there are never two writers."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from tests.leader.support import Replica, wire_to
from tests.stores.azure_service import SECRET, Service
from tests.support.etcd import wait_until

pytestmark = pytest.mark.system  # waits for leases of a real etcd to end

CONFIG = """\
version: 1
owner: team-a
state: ["state/*.yaml"]
policy: {{prune: owned, guard: {{max_update_pct: 100}}}}
stores:
  main: {{type: azure-appconfig, endpoint: "{endpoint}", connection_string: {{env: {secret}}}, concurrency: 2}}
run:
  every: 2s
  lease: {{etcd: {{endpoint: "{etcd}", key: {key}}}, duration: {duration}}}
"""
LEASE = "15s"
"""So long that a busy machine renews it in time."""
KEYS = 100
SLOW = "latency:1s"
"""With two calls in flight, what the files ask takes longer to write than a lease lasts."""


@dataclass
class ReplicaPair:
    """Two replicas, and the service behind them."""

    a: Replica
    b: Replica
    azure: Service

    def want(self, value: str) -> None:
        """Let both have the same files."""
        lines = "".join(f"  k{number:03}: {value}\n" for number in range(KEYS))
        for one in (self.a, self.b):
            one.want(f"store: main\nnamespace: web\nkeys:\n{lines}")

    def begin(self) -> None:
        """Let A lead and B stand by, with nothing to do."""
        for one in (self.a, self.b):
            one.want("store: main\nnamespace: web\nkeys: {}\n")
        self.start(self.a)
        self.a.heard("lease.acquired")
        self.start(self.b)
        self.b.heard("lease.standby")

    def start(self, one: Replica) -> None:
        one.start(**{SECRET.name: self.azure.env[SECRET.name]})

    def writes(self) -> int:
        """How many requests that write have reached the service."""
        stats = self.azure.control("GET", "stats")
        return sum(stats["methods"].get(method, 0) for method in ("PUT", "DELETE", "PATCH"))

    def holds(self, value: str) -> bool:
        """True when the store is as the files ask."""
        found = self.azure.values()
        return len(found) == KEYS and set(found.values()) == {value}


@pytest.fixture(scope="module")
def azure() -> Iterator[Service]:
    with Service.serve() as running:
        yield running


@pytest.fixture
def pair(tmp_path: Path, etcd: str, azure: Service, request: pytest.FixtureRequest) -> Iterator[ReplicaPair]:
    """Two replicas; a parameter is how long their lease holds."""
    azure.reset()
    yield from _pair(tmp_path, azure, etcd, etcd, getattr(request, "param", LEASE))


def _pair(folder: Path, azure: Service, etcd_of_a: str, etcd_of_b: str, duration: str = LEASE) -> Iterator[ReplicaPair]:
    key = f"kvsync/{uuid4()}"

    def replica(name: str, etcd: str) -> Replica:
        config = CONFIG.format(endpoint=azure.url, secret=SECRET.name, etcd=etcd, key=key, duration=duration)
        return Replica(folder / name, config)

    both = replica("a", etcd_of_a), replica("b", etcd_of_b)
    try:
        yield ReplicaPair(*both, azure)
    finally:
        for one in both:
            if one.process is not None and one.process.poll() is None:
                one.end()


def _apart(first: Replica, then: Replica) -> None:
    """What one began to write comes before all that the other began to write."""
    last, earliest = first.journal()[-1][0], then.journal()[0][0]
    assert last < earliest


def test_a_leader_that_was_paused_writes_nothing_when_it_wakes(pair: ReplicaPair) -> None:
    """Paused in the middle of a pass, the leader is replaced; awake again it sends nothing more, says what it did not attempt
    and stands by; when the new leader is killed it leads again, within the time that the lease takes."""
    pair.begin()
    pair.azure.faults(SLOW)
    pair.want("1")
    wait_until(lambda: pair.writes() >= 10)
    pair.a.send(signal.SIGSTOP)
    pair.azure.faults("")
    pair.b.heard("lease.acquired")
    wait_until(lambda: pair.holds("1"))
    wait_until(lambda: [one for one in pair.b.events("pass.finished") if one.get("applied")])
    before = pair.writes()
    pair.a.send(signal.SIGCONT)
    pair.a.heard("lease.lost")
    pair.a.heard("lease.standby")
    wait_until(lambda: [one for one in pair.a.events("pass.finished") if one.get("applied")])
    assert pair.writes() == before, "the one that was paused wrote once more"
    _apart(pair.a, pair.b)
    assert all(outcome is not None for _, outcome in pair.a.journal()), "the journal is complete"
    assert len([one for one in pair.a.journal() if one[1] == "applied"]) < KEYS
    pair.b.end(signal.SIGKILL)
    pair.a.heard("lease.acquired", 2)
    pair.want("2")
    wait_until(lambda: pair.holds("2"))


async def test_a_leader_that_is_cut_off_from_etcd_stops_before_its_lease_ends(
    tmp_path: Path, etcd: str, azure: Service
) -> None:
    """Cut off from etcd and not from the store, the leader stops in the middle of a pass, before another one writes."""
    azure.reset()
    async with wire_to(etcd) as wire:
        for pair in _pair(tmp_path, azure, wire.url, etcd):
            await asyncio.to_thread(_cut_off_and_back, pair, wire.cut, wire.mend)


def _cut_off_and_back(pair: ReplicaPair, cut: Callable[[], None], mend: Callable[[], None]) -> None:
    pair.begin()
    pair.azure.faults(SLOW)
    pair.want("1")
    wait_until(lambda: pair.writes() >= 10)
    cut()
    pair.a.heard("lease.lost")
    pair.azure.faults("")
    pair.b.heard("lease.acquired")
    wait_until(lambda: pair.holds("1"))
    _apart(pair.a, pair.b)
    mend()
    pair.a.heard("lease.standby")
    assert pair.a.end(signal.SIGTERM) == 0


@pytest.mark.parametrize("pair", ["600s"], indirect=True)
def test_a_leader_that_leaves_is_followed_at_once(pair: ReplicaPair) -> None:
    """SIGTERM releases the lease: the standby leads without waiting for its end, and status says who leads."""
    pair.begin()
    leader = pair.b.heard("lease.standby")["leader"]
    assert leader == pair.a.events("lease.acquired")[0]["identity"]
    wait_until(lambda: f"leader: {leader}" in pair.b.command("status").stdout)
    assert pair.a.end(signal.SIGTERM) == 0
    assert [one["leader"] for one in pair.b.events("lease.standby")] == [leader]
    pair.b.heard("lease.acquired")  # long before the lease would have ended
    assert pair.a.events("lease.released")
    wait_until(lambda: "leader (lease " in pair.b.command("status").stdout)
