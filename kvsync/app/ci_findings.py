"""Converts problems to CI findings, with paths relative to the root of the Git checkout."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from kvsync.config.changes import ConfigChange
from kvsync.errors import Kind, Origin, Problem
from kvsync.rendering.findings import CiFinding, Severity


def findings(
    problems: Iterable[Problem], config: Path, level: Severity = Severity.ERROR, *, fetched: bool = False
) -> list[CiFinding]:
    """Every problem with its place, sorted. One without a place is the configuration's. `fetched` says that the state files
    come from another repository, whose root is theirs."""
    folder = _from_root(config)
    return sorted(_finding(problem, config.name, folder, level, fetched=fetched) for problem in problems)


def change_findings(changes: Iterable[ConfigChange], config: Path) -> list[CiFinding]:
    """Every change of the configuration: a warning where it widens something."""
    path = (_from_root(config) / config.name).as_posix()
    return [_change_finding(change, path) for change in changes]


def _change_finding(change: ConfigChange, path: str) -> CiFinding:
    line, column = (change.origin.line, change.origin.column) if change.origin else (1, 1)
    level = Severity.WARNING if change.widens else Severity.NOTE
    message = f"{'widens' if change.widens else 'changes'} {change.field}: {change.message}"
    return CiFinding(path, line, column, Kind.CONFIGURATION_CHANGE, message, level)


def _finding(problem: Problem, config: str, folder: PurePosixPath, level: Severity, *, fetched: bool) -> CiFinding:
    origin = problem.origin or Origin(config, 1, 1)
    below = PurePosixPath() if fetched and origin.file != config else folder
    message = problem.message + (f" ({problem.hint})" if problem.hint else "")
    return CiFinding((below / origin.file).as_posix(), origin.line, origin.column, problem.kind, message, level)


def _from_root(config: Path) -> PurePosixPath:
    """The folder of the configuration, seen from the root of the Git checkout that it is in; empty where it is in none."""
    folder = config.parent.resolve()
    root = next((above for above in (folder, *folder.parents) if os.path.lexists(above / ".git")), folder)
    return PurePosixPath(folder.relative_to(root).as_posix())
