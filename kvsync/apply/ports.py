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
"""Observe one entry and judge it again, given the change that was approved. None: there is nothing to do, the entry is as
desired. Raises StoreError."""


ArrivalCheck = Callable[[Target, Sequence[Identity]], Awaitable[Mapping[Identity, str]]]
"""Tell why entries of another target cannot be relied on, as `is not there yet`; those that are in place are left out. Raises
StoreError."""


class DeletionPort(Protocol):
    """Counts deletes before they are sent. Both methods raise StateDirError: then nothing more may be deleted."""

    def take(self, wanted: int) -> DeletionGrant:
        """Ask for so many deletes; fewer may be granted."""

    def settle(self, grant: DeletionGrant, used: int) -> None:
        """Report how many of a grant may have reached the store."""


class TimePort(Protocol):
    """The time that a pass may take."""

    @property
    def is_over(self) -> bool:
        """True once nothing more may be sent."""

    @property
    def error(self) -> StoreError:
        """Why what is left waits."""


class RunPort(Protocol):
    """The journal of one run. Both methods return once their records are committed, and raise StateDirError when they
    cannot be."""

    def intend(self, located: LocatedTarget, intents: Sequence[Intent]) -> None:
        """Record what is about to be written, with what is there before."""

    def settle(self, located: LocatedTarget, settled: Sequence[Settled]) -> None:
        """Record what became of it."""
