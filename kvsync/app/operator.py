"""Operator actions of the command line: each opens the state directory, does one thing, and wakes the daemon."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kvsync.app.state_access import has_file, open_state
from kvsync.config.model import Config
from kvsync.desired import DesiredState
from kvsync.errors import UsageError
from kvsync.model.entry import Identity, Target
from kvsync.model.target_name import parse_target
from kvsync.state import ParkedRecord, Pause, StateDir
from kvsync.state import operator as actions
from kvsync.state.operator import Resumed
from kvsync.yaml.problems import nearest

_BY: Final = "command"


@dataclass(frozen=True, slots=True)
class RetriedEntries:
    """The deferred entries that are tried again, and the pauses that still hold some of them."""

    released: Sequence[tuple[Target, Identity]]
    pauses: Sequence[Pause]


class Operator:
    """What a person can do to the targets of a configuration. The methods raise InvalidInput, UsageError, StateDirError."""

    def __init__(self, file: Path, environment: str | None) -> None:
        self._file, self._environment = file, environment

    def approve(self, digest: str) -> list[ParkedRecord]:
        """Release what is parked under a hash. Raises NotApproved when nothing is."""
        with self._opened() as (_, state):
            return actions.approve(state, digest, time.time(), _BY)

    def knows(self, target: str) -> bool:
        """True for a store, and for a target that is paused, had a pass or was written to. Raises UsageError for an unknown
        store, and for another target on a machine without a configuration."""
        with open_state(self._file, self._environment, writable=False) as (config, state):
            paused = state.pauses.all()
            if parse_target(target, {*config.stores, *(one.store for one in paused)})[1] is None:
                return True
            names = {*map(str, paused), *(str(record.target) for record in state.passes.all())}
            names |= {str(one) for one in state.places.all()}
        if target not in names and not has_file(self._file):
            near = nearest(target, names)
            raise UsageError(f"the database has no target {target}" + (f"; did you mean {near}?" if near else ""))
        return target in names

    def pause(self, target: str, reason: str | None) -> bool:
        """Leave a target, or all of a store, alone; False when it was paused before."""
        with self._opened() as (config, state):
            return actions.pause(state, config.stores, target, reason, time.time(), _BY)

    def resume(self, target: str) -> Resumed:
        """End the pause of a target, or of all of a store."""
        with self._opened() as (config, state):
            return actions.resume(state, config.stores, target, _BY)

    def retry(self, target: str, keys: Collection[str]) -> RetriedEntries:
        """Let the deferred entries of a target, or of a store, be tried again at once whose keys match one of the globs."""
        with self._opened() as (config, state):
            released = actions.retry(state, config.stores, target, keys, time.time(), _BY)
            targets = dict.fromkeys(one for one, _ in released)
            pauses = [pause for one in targets if (pause := state.pauses.find(one)) is not None]
        return RetriedEntries(released, list(dict.fromkeys(pauses)))

    @contextmanager
    def _opened(self) -> Iterator[tuple[Config, StateDir]]:
        with open_state(self._file, self._environment, writable=True) as (config, state):
            yield config, state
            state.wake()


def require_named(loaded: DesiredState, target: str) -> None:
    """Raise UsageError for a target that no file names: it is misspelt. Files that cannot be read prove nothing."""
    names = {str(one) for one in loaded.managed}
    if target in names or loaded.hold_all:
        return
    near = nearest(target, names)
    raise UsageError(f"no file names a target {target}" + (f"; did you mean {near}?" if near else ""))
