"""Leaves files that are still being written out of the desired state: their targets stay as they were."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from kvsync.config.authority import Authority
from kvsync.desired.file_stability import FileStability
from kvsync.desired.model import CompiledFile, DesiredState, Reading
from kvsync.desired.problem_sets import Problems, in_order
from kvsync.errors import Problem
from kvsync.model.entry import Target


class StableFiles:
    """Uses files only once they are stable, so that a half-written file changes and deletes nothing."""

    def __init__(self, stability: FileStability, authority: Authority) -> None:
        self._stability, self._authority = stability, authority
        self._units: dict[str, tuple[bytes, CompiledFile]] = {}
        self._version: object = None
        self._last: DesiredState | None = None

    def stable_in(self, reading: Reading) -> float | None:
        """Compare the files with the last reading. Returns the seconds until all of them are stable, None if they are."""
        return max(self._unstable(reading).values(), default=None)

    def settled(self, loaded: DesiredState, reading: Reading) -> DesiredState:
        """What may be used of what was just loaded. A target that a moving file names, or named before, is as it was; where
        that cannot be known, so is every target that the file may name."""
        moving, units = self._unstable(reading), reading.units
        concerned = {slot: [known[slot][1] for known in (units, self._units) if slot in known] for slot in moving}
        unknown = {slot for slot, found in concerned.items() if not all(unit.names_known for unit in found)}
        grants = {self._authority.grants_of(slot.split("\0")) for slot in unknown}
        if None in grants:
            state = self._unchanged(loaded, min(unknown))
        elif moving:
            every = [unit for found in concerned.values() for unit in found]
            known = {*loaded.targets, *loaded.held, *(self._last.targets if self._last is not None else ())}
            targets = {target for unit in every for target in unit.targets}
            targets |= {target for target in known if any(self._authority.may_name(one, target) for one in grants)}
            state = self._without(loaded, targets, every)
        else:
            state = loaded
        state = replace(state, stable_in=max(moving.values(), default=None))
        before = {slot: self._units[slot] for slot in moving if slot in self._units}
        self._units = {**units, **before}
        for slot in moving.keys() - before.keys():
            self._units.pop(slot, None)
        self._last = state
        return state

    def _unstable(self, reading: Reading) -> Mapping[str, float]:
        changed, self._version = reading.changed_since(self._version), reading.version
        return self._stability.unstable(reading.states, changed)

    def reconfigure(self, seconds: float, authority: Authority, is_outdated: Callable[[Target], bool]) -> None:
        """Continue under another configuration: another time until files are stable, and without the outdated targets."""
        self._stability.seconds, self._authority = seconds, authority
        if self._last is not None:
            self._last = self._last.only(lambda target: not is_outdated(target))

    def _unchanged(self, loaded: DesiredState, slot: str) -> DesiredState:
        if self._last is not None:
            return replace(self._last, watch=loaded.watch)
        name = slot.partition("\0")[0]
        held = (Problem(f"{name} is still being written; kvsync reads it when it has not changed for run.debounce"),)
        return replace(loaded.only(lambda _: False), hold_all=held, problems=held)

    def _without(self, loaded: DesiredState, targets: set[Target], concerned: list[CompiledFile]) -> DesiredState:
        """The loaded state, with these targets as they were before."""
        others = loaded.only(lambda target: target not in targets)
        last = None if self._last is None else self._last.only(lambda target: target in targets)
        held = {} if last is None else dict(last.held)
        unsaid = {problem for unit in concerned for problem in unit.problems}
        new, old = (_problems(state, targets) | unsaid for state in (loaded, last))
        problems = [problem for problem in loaded.problems if problem not in new]
        problems += [] if self._last is None else [problem for problem in self._last.problems if problem in old]
        return replace(
            others,
            targets=dict(others.targets) | ({} if last is None else dict(last.targets)),
            held=dict(others.held) | held,
            problems=in_order(problems),
            entries=others.entries + (0 if last is None else last.entries),
        )


def _problems(state: DesiredState | None, targets: set[Target]) -> set[Problem]:
    found: Mapping[Target, Problems] = {} if state is None else state.held
    return {problem for target in targets for problem in found.get(target, ())}
