"""Offline checks of `kvsync validate`: the configuration, the state files of every environment, and what a change widens."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kvsync.app.configuration import read_config
from kvsync.app.leadership import unshared_ledgers
from kvsync.app.workspace import Workspace
from kvsync.config.changes import ConfigChange, changes
from kvsync.config.model import Config
from kvsync.config.revision import ConfigRevision
from kvsync.desired import DesiredState
from kvsync.errors import InvalidInput, Kind, Origin, Problem

__all__ = ["ConfigChange", "Validation", "place_of", "validate"]

Opener = Callable[[Path | None, ConfigRevision | None], AbstractAsyncContextManager[Workspace]]
"""Opens a workspace: with another state directory than the configured one, under the configuration of a revision."""


@dataclass(frozen=True, slots=True)
class Validation:
    """What the files come to. `environments` counts files and entries of each one; `unshared` are stores whose ledger other
    replicas cannot read; `fetched` says that the files come from a repository. `config` None is one that cannot be read.
    `changes` are those of the configuration since the revision that was used."""

    environments: tuple[dict[str, Any], ...] = ()
    problems: frozenset[Problem] = frozenset()
    warnings: tuple[Problem, ...] = ()
    unshared: tuple[str, ...] = ()
    fetched: bool = False
    config: Config | None = None
    changes: tuple[ConfigChange, ...] = ()


async def validate(
    file: Path, environment: str | None, revision: ConfigRevision | None, *, every_environment: bool, opened: Opener
) -> Validation:
    """Check the files under the configuration of a revision, or under the one that is in the files. Where the two differ, also
    check what the changed configuration would come to. Raises KvsyncError."""
    asked = None if every_environment else environment
    checked = await _check(asked, opened(None, revision))
    if revision is None or not _differs(revision, file):
        return checked
    problems, changed = await _check_change(file, environment, asked, checked, opened)
    return replace(checked, problems=checked.problems | problems, changes=changed)


async def _check(asked: str | None, opening: AbstractAsyncContextManager[Workspace]) -> Validation:
    """Load everything in a workspace."""
    try:
        async with opening as workspace:
            found = _loaded(workspace, asked)
            problems = frozenset(problem for loaded in found.values() for problem in loaded.problems)
            environments = tuple(_counted(name, loaded) for name, loaded in found.items())
            warnings = {*workspace.unmatched_files(), *(one for loaded in found.values() for one in loaded.warnings)}
            warnings |= {one for loaded in found.values() for one in workspace.weak_values(loaded)}
            return Validation(
                environments,
                problems,
                tuple(sorted(warnings, key=place_of)),
                tuple(unshared_ledgers(workspace)),
                fetched=workspace.checkout is not None,
                config=workspace.config,
            )
    except InvalidInput as error:
        return Validation(problems=frozenset(error.problems))


def _differs(revision: ConfigRevision, config: Path) -> bool:
    """True when the configuration in the files, or a file called after it, is not as in the revision."""
    from kvsync.git.config_revision import is_named_after

    try:
        files = [file for file in config.absolute().parent.iterdir() if is_named_after(file, config)]
        if any(file.is_symlink() or not file.is_file() for file in files):
            return True  # a change may have brought it: it could lead to any file of the machine
        return {file.name: file.read_bytes() for file in files} != revision.files
    except OSError:
        return True


async def _check_change(
    file: Path, environment: str | None, asked: str | None, checked: Validation, opened: Opener
) -> tuple[frozenset[Problem], tuple[ConfigChange, ...]]:
    """What is wrong with a changed configuration, and with the state files under it; and what it changes.

    The changed configuration is input that nobody has reviewed: kvsync fetches nothing and follows no file because of it."""
    if (linked := _link_problem(file)) is not None:
        return frozenset({linked}), ()
    try:
        proposed = read_config(file, environment=environment, environ=os.environ)
    except InvalidInput as error:
        return frozenset(error.problems), ()
    if checked.config is None:
        return frozenset(), ()
    if proposed.source is not None and proposed.source != checked.config.source:
        return frozenset(), changes(checked.config, proposed)  # it would show credentials to a server of its choice
    # Not with the state directory that the change names: it is only judged, and makes nothing where it likes.
    under_it = await _check(asked, opened(checked.config.state_dir, None))
    return under_it.problems, changes(checked.config, proposed)


def place_of(problem: Problem) -> tuple[Origin, str]:
    """What problems are sorted by: those without a place first."""
    return problem.origin or Origin("", 0, 0), problem.message


def _link_problem(file: Path) -> Problem | None:
    if not file.is_symlink():
        return None
    what = f"{file}: is a symbolic link, which is not followed with --as-author"
    return Problem(what, hint="make it a file", kind=Kind.UNREADABLE)


def _loaded(workspace: Workspace, asked: str | None) -> dict[str | None, DesiredState]:
    """What the files ask, in one environment or in every one."""
    every: list[str | None] = [*workspace.config.environments] or [None]
    return {name: workspace.load(name) for name in ([asked] if asked else every)}


def _counted(environment: str | None, loaded: DesiredState) -> dict[str, Any]:
    targets = [str(target) for target in loaded.targets]
    return {"environment": environment, "files": loaded.files, "entries": loaded.entries, "targets": targets}
