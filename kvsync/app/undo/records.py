"""Journal records of the chosen runs by target, without those that another run changed in between."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kvsync.model.entry import Identity, Target
from kvsync.state import ChangeRecord, StateDir


def records_of(state: StateDir, runs: Sequence[str], only: Target | None = None) -> Mapping[Target, list[ChangeRecord]]:
    """The changes of runs (given newest first) by target, oldest first. Where another run changed an entry between two of them,
    those before it are left out: taking them back would take back the other one too. Raises StateDirError."""
    found: dict[Target, list[ChangeRecord]] = {}
    for run in reversed(runs):
        for record in state.journal.changes(run):
            if only is None or record.target == only:
                found.setdefault(record.target, []).append(record)
    if len(runs) == 1:
        return found
    entries = {(target, one.identity) for target, records in found.items() for one in records}
    changed, chosen = state.runs.changes_since(runs, entries), frozenset(runs)
    last = {entry: _last_block(order, chosen) for entry, order in changed.items()}
    return {
        target: [one for one in records if one.run in last[target, one.identity]] for target, records in found.items()
    }


def newer_run(state: StateDir, runs: Sequence[str], target: Target, identity: Identity) -> str | None:
    """The run that changed an entry after the last of these runs did, None when none did. Raises StateDirError."""
    order = state.runs.changes_since(runs, [(target, identity)])[target, identity]
    return order[-1] if order and order[-1] not in runs else None


def _last_block(order: Sequence[str], chosen: frozenset[str]) -> frozenset[str]:
    """The last of the chosen runs that changed an entry, with those before it up to the first that was not chosen."""
    block: list[str] = []
    for run in reversed(order):
        if run in chosen:
            block.append(run)
        elif block:
            break
    return frozenset(block)
