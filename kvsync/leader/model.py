"""Lease record and the interface of its backends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from kvsync.leader.division import DivisionStore
from kvsync.model.health import DoctorCheck
from kvsync.model.revision import AppliedRevision
from kvsync.util.values import dataclass

MARGIN: Final = 0.1
"""Fraction of a lease, at its end, in which the leader has no request in flight: the clock of another replica may run faster
by this fraction."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Timing of a lease, in seconds. It ends `duration` after its last renewal. A leader that could not renew it for
    `renew_within` stops writing. Each replica claims it every `retry`."""

    duration: float
    renew_within: float
    retry: float


@dataclass(frozen=True, slots=True)
class LeaseClaim:
    """Answer to a claim. `leader` is the identity of the leader, None if it is not known. `is_ours` is True if this replica
    leads, for `duration` seconds from the moment when it sent the claim. `again_in` is the number of seconds after which the
    lease of another replica may end, if known. `problem` is why the lease never ends, and what to do."""

    leader: str | None
    is_ours: bool = False
    duration: float = 0
    again_in: float | None = None
    problem: str | None = None


class LeaseStore(Protocol):
    """Backend that holds the lease of one name. All methods except `aclose` raise StoreError."""

    name: str
    """Name of the lease in messages."""

    async def claim(self) -> LeaseClaim:
        """Take the lease if it is free, renew it if it is ours, else return who holds it."""

    async def release(self) -> None:
        """Give up the lease if it is ours, so that no replica has to wait for its end."""

    async def check(self) -> Sequence[DoctorCheck]:
        """The checks of `doctor`: reached, permitted, who leads. Changes nothing."""

    async def aclose(self) -> None:
        """Release connections. Idempotent."""


class CoordinationStore(LeaseStore, DivisionStore, Protocol):
    """Lease store that also holds the revisions that leaders applied, and how they divide the work. The methods raise
    StoreError."""

    async def revisions(self) -> Sequence[AppliedRevision]:
        """What leaders applied, oldest first."""

    async def add_revision(self, applied: AppliedRevision) -> None:
        """Record what the leader applies from now on. Raises TransientError when this replica does not lead."""
