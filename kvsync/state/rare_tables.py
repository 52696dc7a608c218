"""Tables of the state directory that a plan of unchanged targets does not read. Each is imported when it is first used."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from kvsync.state.context import Context

if TYPE_CHECKING:
    from kvsync.state.budgets import Budgets
    from kvsync.state.emptied import EmptiedPlaces
    from kvsync.state.journal import Journal
    from kvsync.state.ledger import Ledger
    from kvsync.state.notices import Notices
    from kvsync.state.passes import PassHistory
    from kvsync.state.pauses import Pauses
    from kvsync.state.revisions import Revisions
    from kvsync.state.run_history import RunHistory
    from kvsync.state.undo_requests import UndoRequests
    from kvsync.state.waves import WaveRecords


class RareTables:
    """Tables that only some commands need."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.environment = ""
        """The environment in force, whose waves are used; empty without one."""

    @cached_property
    def budgets(self) -> Budgets:
        """The budgets of requests that replicas share."""
        from kvsync.state.budgets import Budgets

        return Budgets(self._context)

    @cached_property
    def emptied(self) -> EmptiedPlaces:
        """When kvsync deleted the last entries of a place."""
        from kvsync.state.emptied import EmptiedPlaces

        return EmptiedPlaces(self._context)

    @cached_property
    def journal(self) -> Journal:
        """What each run was about to do, and what it did."""
        from kvsync.state.journal import Journal

        return Journal(self._context, self.ledger)

    @cached_property
    def ledger(self) -> Ledger:
        """What was last applied at each place."""
        from kvsync.state.ledger import Ledger

        return Ledger(self._context)

    @cached_property
    def notices(self) -> Notices:
        """The notices that were sent."""
        from kvsync.state.notices import Notices

        return Notices(self._context)

    @cached_property
    def passes(self) -> PassHistory:
        """The last pass of each target, and the daemon."""
        from kvsync.state.passes import PassHistory

        return PassHistory(self._context)

    @cached_property
    def pauses(self) -> Pauses:
        """The pauses in force."""
        from kvsync.state.pauses import Pauses

        return Pauses(self._context)

    @cached_property
    def revisions(self) -> Revisions:
        """The revisions that replicas applied."""
        from kvsync.state.revisions import Revisions

        return Revisions(self._context)

    @cached_property
    def runs(self) -> RunHistory:
        """Queries over the runs of the journal."""
        from kvsync.state.run_history import RunHistory

        return RunHistory(self._context)

    @cached_property
    def undo_requests(self) -> UndoRequests:
        """The requests of the daemon to undo a run."""
        from kvsync.state.undo_requests import UndoRequests

        return UndoRequests(self._context)

    @cached_property
    def waves(self) -> WaveRecords:
        """The targets of waves that others wait for."""
        from kvsync.state.waves import WaveRecords

        return WaveRecords(self._context, self.environment)
