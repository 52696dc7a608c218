"""Reads listings from replicas of the store while the primary does not respond.

A replica may lag behind: what it lists is shown, and nothing is written because of it (`Snapshot.complete`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from math import inf
from typing import TYPE_CHECKING, Final, TypeVar

from kvsync.errors import NotLeader, PassOverdue, PlaceChanged, StoreError, TransientError
from kvsync.util.clock import Clock
from kvsync.util.concurrency import gather_or_cancel

if TYPE_CHECKING:
    from kvsync.stores.azure_appconfig.remote import Remote

_Read = TypeVar("_Read")

_PAUSE: Final = 30.0
"""Seconds after a failure in which the primary is asked last, because its retries take long."""

_OWN: Final = (NotLeader, PassOverdue, PlaceChanged)
"""Errors that are not the server's."""


class Replicas:
    """The replicas at `endpoints`, in turn. `connect` opens the connection to one; the primary is not among them."""

    def __init__(self, endpoints: Sequence[str], connect: Callable[[str], Remote], clock: Clock) -> None:
        self._endpoints, self._connect, self._clock = endpoints, connect, clock
        self._remotes: dict[str, Remote] = {}
        self._failed_at = -inf

    async def first(self, primary: Remote, read: Callable[[Remote], Awaitable[_Read]]) -> tuple[Remote, _Read]:
        """The result of the first endpoint that responds, and its connection. A replica that refuses counts as one that does
        not respond. Raises StoreError; TransientError of the primary if none responds."""
        others = self.remotes(primary)
        if not others:
            return primary, await read(primary)
        is_down = self._clock.monotonic() - self._failed_at < _PAUSE
        failures: dict[Remote, StoreError] = {}
        for remote in (*others, primary) if is_down else (primary, *others):
            try:
                return remote, await read(remote)
            except _OWN:
                raise
            except StoreError as error:
                failures[remote] = error
                if remote is primary:
                    if not isinstance(error, TransientError):
                        raise
                    self._failed_at = self._clock.monotonic()
        raise failures[primary]

    def remotes(self, primary: Remote) -> list[Remote]:
        """The connections to all replicas, opened if they are not. Raises AuthError."""
        for endpoint in self._endpoints:
            if endpoint != primary.endpoint and endpoint not in self._remotes:
                self._remotes[endpoint] = self._connect(endpoint)
        return [remote for endpoint, remote in self._remotes.items() if endpoint != primary.endpoint]

    async def aclose(self) -> None:
        """Close the connections. Idempotent."""
        remotes, self._remotes = self._remotes, {}
        await gather_or_cancel(remote.aclose() for remote in remotes.values())
