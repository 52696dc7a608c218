"""Membership of a process in the fleet that shares one state."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from random import Random
from typing import Final, Protocol
from uuid import uuid4

from kvsync import __version__
from kvsync.errors import ClaimHeld, KvsyncError
from kvsync.leader.fleet import Fleet, FleetTiming
from kvsync.model.entry import Target
from kvsync.state import StateDir
from kvsync.state.claims import Replica, TargetClaims
from kvsync.util.background import in_background
from kvsync.util.clock import Clock
from kvsync.util.write_fence import Fence

TIMING: Final = FleetTiming()


class Share(Protocol):
    """The targets that this process works on, of all that the files name."""

    def wants(self, targets: Iterable[Target]) -> None:
        """Say which targets there are."""
        ...

    def owns(self, target: Target) -> bool:
        """True when this process works on a target."""
        ...

    def claim_temporarily(self, target: Target) -> bool:
        """Hold a target that no file names, for something that is done once; False when another process holds it. Raises
        StateDirError."""
        ...

    def spent(self, target: Target, seconds: float) -> None:
        """Say how long a pass took."""
        ...


def joined(state: StateDir, owner: str, environment: str | None) -> TargetClaims:
    """Be one of the replicas that share a state."""
    host, pid = socket.gethostname(), os.getpid()
    whose = f"{owner} in {environment}" if environment else owner
    return state.join(Replica(f"{host}_{pid}_{uuid4().hex[:8]}", host, pid, __version__, whose))


def fleet_of(claims: TargetClaims, clock: Clock, fence: Fence) -> Fleet:
    """The part of a daemon: it divides the targets with the others, and writes only while its lease runs."""
    claims.takes_on_demand = False
    fleet = Fleet(claims, TIMING, clock, Random())  # noqa: S311 - spreads load, guards nothing
    fence.follow(_while_claimed(claims, fleet.seconds_left), fleet.led_since)
    return fleet


def _while_claimed(claims: TargetClaims, seconds_left: Callable[[], float]) -> Callable[[], float]:
    """The seconds of the lease; none for a pass whose target was lost, whatever became of the lease since."""
    return lambda: seconds_left() if claims.is_current() else 0.0


class CommandShare:
    """The part of a single command: every target that no living replica holds."""

    def __init__(self, claims: TargetClaims) -> None:
        self._claims = claims

    def wants(self, targets: Iterable[Target]) -> None:
        """Claim what can be had. Raises StateDirError."""
        missing = set(targets).difference(self._claims.held)
        left = missing.difference(self._claims.take(missing, {}))
        if left:
            with suppress(ClaimHeld):
                self._claims.ensure(min(left))  # raises what kept all of them from being claimed

    def owns(self, target: Target) -> bool:
        """True when the target was claimed."""
        return target in self._claims.held

    def claim_temporarily(self, target: Target) -> bool:
        """Claim a target. Raises StateDirError."""
        self.wants([target])
        return self.owns(target)

    def spent(self, target: Target, seconds: float) -> None:
        """Nothing to do: a command divides nothing."""


@asynccontextmanager
async def command_lease(claims: TargetClaims, clock: Clock, fence: Fence) -> AsyncIterator[None]:
    """Inside, a command may claim targets and write to them; its lease is renewed. Raises StateDirError."""
    lease = _CommandLease(claims, clock)
    await lease.begin()
    fence.follow(_while_claimed(claims, lease.seconds_left))
    renewing = asyncio.ensure_future(lease.renew())
    try:
        yield
    finally:
        renewing.cancel()
        await asyncio.gather(renewing, return_exceptions=True)
        with suppress(KvsyncError):  # the lease ends on its own
            claims.release_all()


class _CommandLease:
    def __init__(self, claims: TargetClaims, clock: Clock) -> None:
        self._claims, self._clock, self._until = claims, clock, 0.0

    def seconds_left(self) -> float:
        return max(0.0, self._until - self._clock.monotonic())

    async def begin(self) -> None:
        asked_at = self._clock.monotonic()
        await in_background(lambda: self._claims.register(TIMING.lease))
        self._until = asked_at + TIMING.lease - TIMING.margin

    async def renew(self) -> None:
        while True:
            await self._clock.sleep(TIMING.renew_every)
            asked_at = self._clock.monotonic()
            with suppress(KvsyncError):  # then the lease ends, and the fence closes
                if await in_background(self._renew):
                    self._until = asked_at + TIMING.lease - TIMING.margin

    def _renew(self) -> bool:
        return self._claims.renew(TIMING.lease, 0.0, is_draining=True, revision=None)
