"""Selects the runs to undo: one run, or all runs of a commit, since a run or a time, or of a trigger."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from kvsync.errors import UsageError
from kvsync.model.result import Trigger
from kvsync.state import RunFilter, RunRecord, StateDir
from kvsync.util.values import dataclass
from kvsync.yaml.problems import nearest

MOST_RUNS: Final = 10_000
"""Runs that one undo takes back at most."""

_SHORTEST_COMMIT: Final = 4
_DURATION: Final = re.compile(r"(\d{1,6})([smhd])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True, slots=True)
class UndoChoice:
    """What a person chose: a run by the start of its id, or the runs that match all of the rest. `since` is a run, or a
    duration such as `2h`."""

    run: str | None = None
    commit: str | None = None
    since: str | None = None
    trigger: str | None = None


@dataclass(frozen=True, slots=True)
class ChosenRuns:
    """The runs to take back, newest first, and in words what they are. There is at least one."""

    runs: tuple[RunRecord, ...]
    text: str

    @property
    def ids(self) -> tuple[str, ...]:
        """Their ids."""
        return tuple(run.id for run in self.runs)


def chosen_runs(state: StateDir, choice: UndoChoice, now: float) -> ChosenRuns:
    """The runs that a person chose. Raises UsageError when that is nothing, or not clear; StateDirError."""
    if choice.run is not None:
        if choice != UndoChoice(choice.run):
            raise UsageError("give a RUN, or choose runs with --commit, --since and --trigger, not both")
        run = state.journal.run(choice.run)
        return ChosenRuns((run,), run.id)
    if choice.commit is None and choice.since is None:
        narrows = " --trigger only narrows a choice;" if choice.trigger is not None else ""
        raise UsageError(f"which run?{narrows} give a RUN, --commit SHA or --since RUN; kvsync history lists the runs")
    wanted, text = _filter(state, choice, now)
    runs = tuple(run for run in state.runs.find(wanted, MOST_RUNS + 1) if run.changes)
    if not runs:
        raise UsageError(f"no run in the journal matches {text}; kvsync history lists the runs")
    if len(runs) > MOST_RUNS:
        raise UsageError(f"{text}: more than {MOST_RUNS:,} runs; choose fewer")
    return ChosenRuns(runs, text)


def since(state: StateDir, text: str, now: float) -> RunFilter:
    """The runs since a run (by the start of its id), itself included, or since a duration ago. Raises UsageError."""
    match = _DURATION.fullmatch(text)
    if match is not None:
        return RunFilter(since=now - int(match[1]) * _SECONDS[match[2]])
    return RunFilter(since_run=state.journal.run(text).id)


def known_trigger(name: str) -> str:
    """A trigger by its name. Raises UsageError."""
    names = [trigger.value for trigger in Trigger]
    if name not in names:
        near = nearest(name, names)
        hint = f" (did you mean {near}?)" if near else ""
        raise UsageError(f"unknown trigger {name!r}{hint}; the triggers are {', '.join(names)}")
    return name


def _filter(state: StateDir, choice: UndoChoice, now: float) -> tuple[RunFilter, str]:
    wanted, said = RunFilter(), []
    if choice.since is not None:
        wanted = since(state, choice.since, now)
        said.append(f"since {wanted.since_run or choice.since}")
    if choice.commit is not None:
        commit = choice.commit.lower()
        if len(commit) < _SHORTEST_COMMIT or not re.fullmatch("[0-9a-f]+", commit):
            raise UsageError(
                f"{choice.commit!r} is not a commit; give at least {_SHORTEST_COMMIT} hex digits of its hash"
            )
        wanted = replace(wanted, commit=commit, skips_undo=True)
        said.insert(0, f"commit {commit[:12]}")
    if choice.trigger is not None:
        wanted = replace(wanted, trigger=known_trigger(choice.trigger))
        said.append(f"trigger {choice.trigger}")
    return wanted, ", ".join(said)
