"""Lease record and the interface of its backends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from kvsync.leader.division import DivisionKeeper
from kvsync.model.health import DoctorCheck
from kvsync.model.revision import AppliedRevision
from kvsync.util.values import dataclass

MARGIN: Final = 0.1
"""The part of a lease, at its end, in which nothing of the leader's is in flight any more: so much faster may another
replica's clock run."""


@dataclass(frozen=True, slots=True)
class Timing:
    """In seconds: a lease ends `duration` after it was last renewed; a leader that could not renew it for `renew_within` stops
    writing; it is claimed every `retry`."""

    duration: float
    renew_within: float
    retry: float


@dataclass(frozen=True, slots=True)
class LeaseClaim:
    """What a keeper says. `leader` is who leads, None when that is not known; `is_ours` says that it is this replica, for
    `duration` seconds from the moment when it asked. `again_in` is when the lease of someone else may end, if that is
    known. `problem` says why it never ends, and what to do."""

    leader: str | None
    is_ours: bool = False
    duration: float = 0
    again_in: float | None = None
    problem: str | None = None


class Keeper(Protocol):
    """Backend that keeps the lease of one name. All methods except `aclose` raise StoreError."""

    name: str
    """What the lease is called, for people."""

    async def claim(self) -> LeaseClaim:
        """Take the lease if it is free, renew it if it is ours, else return who has it."""

    async def release(self) -> None:
        """Give up the lease if it is ours, so that no replica has to wait for its end."""

    async def check(self) -> Sequence[DoctorCheck]:
        """The checks of `doctor`: reached, permitted, who leads. Changes nothing."""

    async def aclose(self) -> None:
        """Release connections. Idempotent."""


class RevisionKeeper(Keeper, DivisionKeeper, Protocol):
    """Keeps the revisions that leaders applied, and how they divide the work, too. The methods raise StoreError."""

    async def revisions(self) -> Sequence[AppliedRevision]:
        """What leaders applied, oldest first."""

    async def add_revision(self, applied: AppliedRevision) -> None:
        """Record what the leader applies from now on. Raises TransientError when this replica does not lead."""
