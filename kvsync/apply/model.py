"""Inputs and results of applying."""

from __future__ import annotations

from kvsync.errors import StoreError
from kvsync.model.change import Action, Change, Outcome
from kvsync.model.entry import Identity
from kvsync.state.deletions import DeletionGrant
from kvsync.stores.base import Write
from kvsync.util.values import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """One change to send. Without `write` it is built from the change when it is sent; a given `write` is sent as it is, and
    never planned again if the entry has changed: so `undo` restores what no file asks for."""

    change: Change
    write: Write | None = None


@dataclass(frozen=True, slots=True)
class RefusedChange:
    """A change that the store rejected for its content, against the version that was there; it is not tried again at once."""

    change: Change
    error: str


@dataclass(frozen=True, slots=True)
class ApplyReport:
    """Result of applying: one outcome for each change, in their order.

    `store_error` is why the store as a whole was given up; the unsent changes are `not-attempted` then. So are the
    `deletes_waiting`, which the `grant` did not cover; it is None without deletes.
    """

    outcomes: tuple[Outcome, ...]
    quarantined: tuple[RefusedChange, ...] = ()
    store_error: StoreError | None = None
    deletes_waiting: int = 0
    grant: DeletionGrant | None = None


class PendingStep:
    """One step until its outcome.

    `approved` is the change that a person or a policy approved, `change` the same change against the version seen last,
    `previous` the entry before it, with its content once that was read. `fixed` is the write if it is not built from the
    change, `sent` the write as it was sent. `lost` says that a response was lost, so that our own write may be in the store;
    `recorded` that the journal has the intent; `tries` how often the entry changed in the meantime; `is_delete` that no value
    may be kept.
    """

    __slots__ = ("approved", "change", "fixed", "index", "is_delete", "lost", "previous", "recorded", "sent", "tries")

    def __init__(self, index: int, step: Step) -> None:
        self.index = index
        self.approved = self.change = step.change
        self.fixed = step.write
        self.is_delete = step.change.action is Action.DELETE
        self.previous = step.change.before
        self.sent: Write | None = None
        self.lost = self.recorded = False
        self.tries = 0

    def renew(self, change: Change) -> None:
        """Continue with the same change against the current version."""
        self.change, self.is_delete = change, change.action is Action.DELETE
        if not self.recorded:
            self.previous = change.before

    @property
    def identity(self) -> Identity:
        """The entry that is changed."""
        return self.change.identity
