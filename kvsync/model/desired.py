"""Desired state of one target, from the state files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from functools import cached_property

from kvsync.errors import Origin, Problem
from kvsync.model.entry import Entry, Identity, Target
from kvsync.model.policy import Policy
from kvsync.util.values import dataclass


@dataclass(frozen=True, slots=True)
class Move:
    """A key that was renamed in the files: `source` goes once `destination` is verified to be there.

    A move between two targets is kept by both: by the one that the key leaves with `destination_target`, and by the one
    that it arrives in with `source_target`."""

    source: str
    destination: str
    origin: Origin | None = None
    source_target: Target | None = None
    destination_target: Target | None = None


@dataclass(frozen=True, slots=True)
class EditedEntries:
    """What changed in a target since an earlier state of its files, which has this digest: the identities of the entries that
    were there `before` and are others now, or are gone, and the entries that are there `after` and were others, or new."""

    digest: str
    before: frozenset[Identity]
    after: Mapping[Identity, Entry]


def _keep() -> None:
    """Free nothing."""


@dataclass(frozen=True)
class Desired:
    """What the files ask of one target.

    `entries` has every identity; the mapping may build entries lazily. `settled` is the cheap view for comparing: the
    fingerprints of the entries that have no lifetime, mode `enforce`, and are neither sensitive nor protected. `digest`
    changes whenever anything here does. `problems` is not empty when a file that names this target could not be used:
    then the target keeps its state. `edits` are the differences to earlier states, the latest first, as far as they are known:
    there is none to a state that differs in more than a few entries. `release` frees what `entries` and `settled` have built,
    which they build again when they are asked.
    """

    target: Target
    entries: Mapping[Identity, Entry]
    settled: Mapping[Identity, bytes]
    digest: str
    policy: Policy = field(default_factory=Policy)
    absent: Mapping[str, Origin] = field(default_factory=dict)
    moved: tuple[Move, ...] = ()
    problems: tuple[Problem, ...] = ()
    release: Callable[[], None] = field(default=_keep, repr=False, compare=False)
    edits: tuple[EditedEntries, ...] = field(default=(), repr=False, compare=False)

    @cached_property
    def moves(self) -> Mapping[str, Move]:
        """The moves by the key that goes; the first, where files name one key twice."""
        return {move.source: move for move in reversed(self.moved) if move.source_target is None}
