"""A real etcd for the tests of its store."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from kvsync.config.model import Credential, StoreConfig
from kvsync.errors import PermanentError
from kvsync.stores.base import Store, StoreContext
from kvsync.stores.registry import open_store
from kvsync.testing import FakeClock
from kvsync.util.clock import Clock
from tests.stores.emulated import StoreRepo
from tests.support.etcd import Member


def etcd_store(
    *urls: str, clock: Clock | None = None, key_format: str | None = None, timeout: float = 5, **options: Any
) -> Store:
    """A connection of kvsync's to these members; secrets come from the environment."""
    given = {"endpoints": urls, **options}
    config = StoreConfig("core", "etcd", given, key_format=key_format, timeout=timeout)
    return open_store(config, StoreContext(Path(), None, _secret, clock or Clock(), owner="conformance"))


class LeaseTime:
    """Lets leases end when a fake clock passes their end, because the real server does not know that clock."""

    def __init__(self, member: Member) -> None:
        self._member, self._passed = member, 0.0
        self._seen: dict[str, float] = {}

    def advance(self, clock: FakeClock, seconds: float) -> None:
        """Move the clock, and revoke what has ended by then."""
        for lease in self._leases():
            self._seen.setdefault(lease, self._passed)
        clock.advance(seconds)
        self._passed += seconds
        for lease in self._leases():
            granted = int(self._member.ask("lease/timetolive", ID=lease).get("grantedTTL", 0))
            if self._passed - self._seen[lease] >= granted:
                self._member.ask("lease/revoke", ID=lease)

    def _leases(self) -> list[str]:
        return [one["ID"] for one in self._member.ask("lease/leases").get("leases", ())]


def _secret(credential: Credential) -> str:
    try:
        return os.environ[credential.name]
    except KeyError:
        raise PermanentError(f"{credential.name} is not set") from None


class EtcdRepo(StoreRepo):
    """A folder with `kvsync.yaml` and state files for one etcd."""

    store = "core"

    def options(self) -> str:
        urls = json.dumps(self.service.urls)
        return f"    type: etcd\n    endpoints: {urls}\n    timeout: 5s\n"


class EtcdService:
    """The members of a cluster as a service that a repository is tried with."""

    def __init__(self, *members: Member) -> None:
        self.members, self.urls = members, [member.url for member in members]
        self.env: dict[str, str] = {}

    def clear_requests(self) -> None:
        """Nothing is counted."""
