"""Inputs and results of applying."""

from __future__ import annotations

from dataclasses import dataclass

from kvsync.errors import StoreError
from kvsync.model.change import Action, Change, Outcome
from kvsync.model.entry import Identity
from kvsync.state.deletions import DeletionGrant
from kvsync.stores.base import Write


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to send. With `write` None it is built from the change at the moment it is sent; a given `write` goes out
    as it is, and is never planned again when the entry moved (that is how `undo` restores what no file asks for)."""

    change: Change
    write: Write | None = None


@dataclass(frozen=True, slots=True)
class RefusedChange:
    """A change that the store refuses for what it is, against the version that was there: not to be tried again at once."""

    change: Change
    error: str


@dataclass(frozen=True, slots=True)
class ApplyReport:
    """What became of the changes: one outcome each, in their order.

    `store_error` is why the store as a whole was given up; the changes not yet sent are `not-attempted` then. So are the
    `deletes_waiting`, those that the `grant` did not cover; there is none without deletes.
    """

    outcomes: tuple[Outcome, ...]
    quarantined: tuple[RefusedChange, ...] = ()
    store_error: StoreError | None = None
    deletes_waiting: int = 0
    grant: DeletionGrant | None = None


class PendingStep:
    """One step on its way to an outcome.

    `approved` is the change a person or a policy let pass, `change` the same one against the version seen last, `previous`
    what is there before, with its content once it was read. `fixed` is the write when it is not built from the change, `sent`
    the write as it went out. `lost` says that an answer was lost, so that finding our own write in the store is not a surprise,
    `recorded` that the journal holds the intent, `tries` how often the entry moved.
    """

    __slots__ = ("approved", "change", "fixed", "index", "lost", "previous", "recorded", "sent", "tries")

    def __init__(self, index: int, step: Step) -> None:
        self.index = index
        self.approved = self.change = step.change
        self.fixed = step.write
        self.previous = step.change.before
        self.sent: Write | None = None
        self.lost = self.recorded = False
        self.tries = 0

    def renew(self, change: Change) -> None:
        """Go on with the same change against the version that is there now."""
        self.change = change
        if not self.recorded:
            self.previous = change.before

    @property
    def identity(self) -> Identity:
        """The entry this is about."""
        return self.change.identity

    @property
    def is_delete(self) -> bool:
        """True when nothing may be left."""
        return self.change.action is Action.DELETE
