"""Three members of a real etcd, whose leader can be lost."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.etcd import Member, is_healthy, running_members, wait_until


class Quorum:
    """A cluster. Only one of its members is killed at a time."""

    def __init__(self, members: list[Member]) -> None:
        self._members, self._lock = members, threading.Lock()
        self.urls = [member.url for member in members]

    def lose_leader(self) -> None:
        """Kill the member that leads; it comes back when another one does."""
        with self._lock:
            lost: Member = wait_until(self._leader)
            lost.stop()
            wait_until(self._leader)
            lost.start(self._members)
            wait_until(lambda: is_healthy(lost.url))

    def _leader(self) -> Member | None:
        """The member that says of itself that it leads."""
        for member in self._members:
            try:
                found = member.ask("maintenance/status")
            except OSError:
                continue
            if found.get("leader") == found["header"]["member_id"]:
                return member
        return None


@contextmanager
def running_quorum(folder: Path) -> Iterator[Quorum]:
    """A cluster that serves, until the end of the block."""
    with running_members(folder, 3, "--unsafe-no-fsync") as members:
        yield Quorum(members)
