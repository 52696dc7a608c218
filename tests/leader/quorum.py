"""Three members of a real etcd, which can be killed and come back."""

from __future__ import annotations

import json
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.leader.support import etcd_binary, free_port, is_healthy, wait_until

MEMBERS: Final = ("one", "two", "three")


class Quorum:
    """A cluster. Only one of its members is killed at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.clients = {name: f"http://127.0.0.1:{free_port()}" for name in MEMBERS}
        self._peers = {name: f"http://127.0.0.1:{free_port()}" for name in MEMBERS}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._lock = threading.Lock()

    def start(self, name: str) -> None:
        """Start a member, or start it again."""
        cluster = ",".join(f"{one}={url}" for one, url in self._peers.items())
        flags = {
            "name": name,
            "data-dir": self._folder / name,
            "listen-client-urls": self.clients[name],
            "advertise-client-urls": self.clients[name],
            "listen-peer-urls": self._peers[name],
            "initial-advertise-peer-urls": self._peers[name],
            "initial-cluster": cluster,
            "heartbeat-interval": 100,
            "election-timeout": 1000,
            "unsafe-no-fsync": "true",
            "snapshot-count": 100_000,
        }
        with (self._folder / f"{name}.log").open("ab") as log:
            command = [etcd_binary(), *(f"--{flag}={value}" for flag, value in flags.items())]
            self._processes[name] = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)

    def lose_leader(self) -> None:
        """Kill the member that leads; it comes back when another one does."""
        with self._lock:
            name = wait_until(self._leader)
            self._processes[name].kill()
            self._processes[name].wait()
            wait_until(self._leader)
            self.start(name)
            wait_until(lambda: is_healthy(self.clients[name]))

    def _leader(self) -> str | None:
        """The member that says of itself that it leads."""
        for name, url in self.clients.items():
            request = urllib.request.Request(f"{url}/v3/maintenance/status", b"{}", method="POST")
            try:
                with urllib.request.urlopen(request, timeout=1) as answer:
                    found = json.load(answer)
            except OSError:
                continue
            if found.get("leader") == found["header"]["member_id"]:
                return name
        return None

    def stop(self) -> None:
        """End all members."""
        for process in self._processes.values():
            process.kill()
            process.wait()


@contextmanager
def running_quorum(folder: Path) -> Iterator[Quorum]:
    """A cluster that serves, until the end of the block."""
    quorum = Quorum(folder)
    try:
        for name in MEMBERS:
            quorum.start(name)
        wait_until(lambda: all(map(is_healthy, quorum.clients.values())))
        yield quorum
    finally:
        quorum.stop()
