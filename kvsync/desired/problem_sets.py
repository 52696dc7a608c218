"""Shared problem sets: targets of one file share its problems, so that each set is processed once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from itertools import chain

from kvsync.errors import Origin, Problem
from kvsync.model.entry import Target

Problems = tuple[Problem, ...]


def in_order(problems: Iterable[Problem]) -> Problems:
    """Sort problems by place, each once."""
    nowhere = Origin("", 0, 0)
    return tuple(sorted(dict.fromkeys(problems), key=lambda problem: (problem.origin or nowhere, problem.message)))


class ProblemSets:
    """The problems by target. `groups` are those found for each, by where they were found; a group that several targets share
    must be the same object for all of them. `hold_all` are those of every target. A set that is equal to one of `before` is the
    same object, so that comparing it costs nothing."""

    def __init__(
        self,
        groups: Mapping[Target, Sequence[Problems]],
        hold_all: Iterable[Problem],
        before: Mapping[Problems, Problems],
    ) -> None:
        self._groups, self._before = groups, before  # the groups stay alive, so that their ids stay theirs
        self._held: dict[tuple[int, ...], Problems] = {}
        self._sealed: dict[int, tuple[Problems, bytes]] = {}
        self.hold_all = self._known(in_order(hold_all))
        self.held = {target: self._in_order(found) for target, found in groups.items() if any(found)}

    @property
    def sets(self) -> Mapping[Problems, Problems]:
        """Every set, as `before` for the next time."""
        return {problems: problems for problems in (self.hold_all, *self._held.values())}

    def of(self, target: Target) -> tuple[Problems, bytes]:
        """The problems of a target, with those of every target, and their digest; an empty one when there are none."""
        held = self.held.get(target, ())
        known = self._sealed.get(id(held))
        if known is None:
            problems = held + self.hold_all
            text = repr(problems).encode(errors="surrogateescape")
            known = problems, blake2b(text, digest_size=16).digest() if problems else b""
            self._sealed[id(held)] = known
        return known

    def all(self, unheld: Iterable[Problem] = ()) -> Problems:
        """Every problem of any target, and those that hold no target."""
        return in_order(chain(*self.sets, unheld))

    def _in_order(self, groups: Sequence[Problems]) -> Problems:
        """The problems of these groups; the same object for the same groups."""
        known = self._held.get(key := tuple(map(id, groups)))
        if known is None:
            known = self._held[key] = self._known(in_order(chain(*groups)))
        return known

    def _known(self, problems: Problems) -> Problems:
        return self._before.get(problems, problems)
