"""Interfaces that the apply engine needs: a journal, and a way to re-plan one entry."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from kvsync.errors import StoreError
from kvsync.model.change import Change, Refusal
from kvsync.model.entry import Identity, Target
from kvsync.model.place import LocatedTarget
from kvsync.state.deletions import DeletionGrant
from kvsync.state.records import Intent, Settled

Replan = Callable[[Identity, Change], Awaitable[Change | Refusal | None]]
"""Observe one entry and plan it again, given the approved change. None: the entry is as desired. Raises StoreError."""


ArrivalCheck = Callable[[Target, Sequence[Identity]], Awaitable[Mapping[Identity, str]]]
"""Say why entries of another target cannot be relied on, such as `is not there yet`; entries that can are left out. Raises
StoreError."""


class DeletionPort(Protocol):
    """Counts deletes before they are sent. Both methods raise StateDirError: then nothing more may be deleted."""

    def take(self, wanted: int) -> DeletionGrant:
        """Request a number of deletes; fewer may be granted."""

    def settle(self, grant: DeletionGrant, used: int) -> None:
        """Report how many of the granted deletes may have reached the store."""


class TimePort(Protocol):
    """The time that a pass may take."""

    @property
    def is_over(self) -> bool:
        """True once nothing more may be sent."""

    @property
    def error(self) -> StoreError:
        """Why the unsent steps wait."""


class RunPort(Protocol):
    """The journal of one run. What it records is committed when the method returns; it raises StateDirError if that fails."""

    @property
    def id(self) -> str:
        """Names the run."""

    def restore_point(self, target: Target) -> str | None:
        """The restore point of a target that the run has made."""

    def keep_restore_point(self, target: Target, name: str) -> None:
        """Record a restore point, before anything is written."""

    def intend(self, located: LocatedTarget, intents: Sequence[Intent]) -> None:
        """Record what is about to be written, and what is there before."""

    def settle(self, located: LocatedTarget, settled: Sequence[Settled]) -> None:
        """Record the outcomes."""
