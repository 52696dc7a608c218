"""Offline checks of `kvsync validate`: the configuration, the state files of every environment, and what a change widens."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from kvsync.app.configuration import config_problems, read_config
from kvsync.app.ledger_sharing import unshared_ledgers
from kvsync.app.overlay_checks import overlay_warnings
from kvsync.app.wave_checks import wave_warnings
from kvsync.app.workspace import Workspace
from kvsync.config.changes import ConfigChange, changes
from kvsync.config.model import Config
from kvsync.config.revision import ConfigRevision
from kvsync.desired import DesiredState
from kvsync.errors import InvalidInput, Kind, Origin, Problem
from kvsync.planning.waves import Wave
from kvsync.util.redaction import Redactor
from kvsync.util.values import dataclass

__all__ = ["ConfigChange", "Validation", "place_of", "validate"]

Opener = Callable[[Path | None, ConfigRevision | None, str | None], AbstractAsyncContextManager[Workspace]]
"""Opens a workspace: with another state directory than the configured one, under the configuration of a revision, in an
environment. None for what is configured."""

_WEAK: Final = (
    "the sensitive value is too weak to be recognised in text, so kvsync does not redact it there: it is shorter than"
    " 8 bytes, or made of words that kvsync itself uses"
)
_STRONGER: Final = "use a longer, random value"


@dataclass(frozen=True, slots=True)
class Validation:
    """What the files come to. `environments` counts files and entries of each one; `unshared` are stores whose ledger other
    replicas cannot read; `fetched` says that the files come from a repository. `config` None is one that cannot be read.
    `waves` has those of each configuration that holds somewhere. `changes` are those of the configuration since the revision
    that was used."""

    environments: tuple[dict[str, Any], ...] = ()
    problems: frozenset[Problem] = frozenset()
    warnings: tuple[Problem, ...] = ()
    unshared: tuple[str, ...] = ()
    fetched: bool = False
    config: Config | None = None
    waves: frozenset[tuple[Wave, ...]] = frozenset()
    changes: tuple[ConfigChange, ...] = ()


async def validate(
    file: Path, environment: str | None, revision: ConfigRevision | None, *, every_environment: bool, opened: Opener
) -> Validation:
    """Check the files under the configuration of a revision, or under the one that is in the files. Where the two differ, also
    check what the changed configuration would come to. Raises KvsyncError."""
    scope = _Scope(file, environment, None if every_environment else environment, opened)
    checked = await _check(scope, revision, None)
    if revision is None or not _differs(revision, file):
        return checked
    problems, changed = await _check_change(scope, revision, checked)
    return replace(checked, problems=checked.problems | problems, changes=changed)


@dataclass(frozen=True, slots=True)
class _Scope:
    """What to check: the configuration `file` in the environment `chosen` on the command line, and the state files of the one
    that is `asked` for, None for every one."""

    file: Path
    chosen: str | None
    asked: str | None
    opened: Opener

    def environments(self, config: Config) -> list[str | None]:
        """The environments to check."""
        return [self.asked] if self.asked else [*config.environments] or [None]

    def config(self, revision: ConfigRevision | None, environment: str | None, *, links: bool = True) -> Config:
        """The configuration in an environment. Raises InvalidInput."""
        return read_config(self.file, environment=environment, environ=os.environ, revision=revision, links=links)

    def config_problems(self, revision: ConfigRevision | None) -> frozenset[Problem]:
        """What is wrong with the configuration in the environments to check."""
        return config_problems(self.file, self.asked, environ=os.environ, revision=revision)


async def _check(scope: _Scope, revision: ConfigRevision | None, state_dir: Path | None) -> Validation:
    """Load the state files of each environment, under the configuration that holds there."""
    try:
        config = scope.config(revision, scope.chosen)
        names = scope.environments(config)
    except InvalidInput as error:
        return Validation(problems=frozenset(error.problems) | scope.config_problems(revision))
    checked = Validation(config=config, warnings=tuple(overlay_warnings(config, revision)))
    groups, problems = _by_overlay(scope, revision, names)
    for group in groups:
        opening = scope.opened(state_dir, revision, group[0] or scope.chosen)
        checked = _joined(checked, await _check_group(group, opening))
    checked = replace(checked, problems=checked.problems | problems)
    return _with_wave_warnings(checked, knows_all=scope.asked is None and not checked.problems)


def _with_wave_warnings(checked: Validation, *, knows_all: bool) -> Validation:
    """With a warning for each glob of a wave that decides nothing. `knows_all`: it has the targets of every environment."""
    names = {name for one in checked.environments for name in one["targets"]} if knows_all else None
    found = {problem for waves in checked.waves for problem in wave_warnings(waves, names)}
    return replace(checked, warnings=tuple(sorted({*checked.warnings, *found}, key=place_of)))


def _by_overlay(
    scope: _Scope, revision: ConfigRevision | None, names: Sequence[str | None]
) -> tuple[list[list[str | None]], frozenset[Problem]]:
    """The environments in groups with the same configuration, and the problems of those that have none."""
    groups: dict[Path | None, list[str | None]] = {}
    problems: set[Problem] = set()
    for name in names:
        try:
            groups.setdefault(scope.config(revision, name or scope.chosen).overlay, []).append(name)
        except InvalidInput as error:
            problems.update(error.problems)
    return list(groups.values()), frozenset(problems)


async def _check_group(names: Sequence[str | None], opening: AbstractAsyncContextManager[Workspace]) -> Validation:
    """Load the state files of environments that share a workspace."""
    try:
        async with opening as workspace:
            found = {name: workspace.load(name) for name in names}
            warnings = {*workspace.unmatched_files(), *(one for loaded in found.values() for one in loaded.warnings)}
            warnings |= {one for loaded in found.values() for one in _weak_values(loaded, workspace.redactor)}
            return Validation(
                tuple(_counted(name, loaded) for name, loaded in found.items()),
                frozenset(problem for loaded in found.values() for problem in loaded.problems),
                tuple(warnings),
                tuple(unshared_ledgers(workspace)),
                fetched=workspace.checkout is not None,
                waves=frozenset([workspace.config.waves]),
            )
    except InvalidInput as error:
        return Validation(problems=frozenset(error.problems))


def _weak_values(loaded: DesiredState, redactor: Redactor) -> Iterator[Problem]:
    """A warning for each sensitive value that kvsync cannot recognise in text."""
    if not loaded.secrets:
        return
    for desired in loaded.targets.values():
        for entry in desired.entries.values():
            value = entry.content.value.decode("utf-8", "surrogateescape") if entry.sensitive else ""
            if value and redactor.is_weak(value):
                yield Problem(f"keys.{entry.identity.key}: {_WEAK}", entry.origin, _STRONGER, Kind.WEAK_VALUE)


def _joined(one: Validation, other: Validation) -> Validation:
    return replace(
        one,
        environments=one.environments + other.environments,
        problems=one.problems | other.problems,
        warnings=tuple(sorted({*one.warnings, *other.warnings}, key=place_of)),
        unshared=tuple(dict.fromkeys((*one.unshared, *other.unshared))),
        fetched=one.fetched or other.fetched,
        waves=one.waves | other.waves,
    )


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
    scope: _Scope, revision: ConfigRevision, checked: Validation
) -> tuple[frozenset[Problem], tuple[ConfigChange, ...]]:
    """What is wrong with a changed configuration, and with the state files under it; and what it changes.

    The changed configuration is input that nobody has reviewed: kvsync fetches nothing and follows no file because of it."""
    try:
        proposed = scope.config(None, scope.chosen, links=False)
        by_environment = _changes(scope, revision, proposed, checked.config)
    except InvalidInput as error:
        return frozenset(error.problems), ()
    if checked.config is None:
        return frozenset(), ()
    found = tuple(sorted(_merged(by_environment), key=lambda one: not one.widens))
    if any(change.field == "source" for change in found):
        return frozenset(), found  # it would show credentials to a server of its choice
    # Not with the state directory that the change names: it is only judged, and makes nothing where it likes.
    under_it = await _check(scope, None, checked.config.state_dir)
    return under_it.problems, found


def _changes(
    scope: _Scope, revision: ConfigRevision, proposed: Config, reviewed: Config | None
) -> dict[str | None, tuple[ConfigChange, ...]]:
    """What the change does to the configuration in each environment. Raises InvalidInput."""
    found = {}
    for name in scope.environments(proposed):
        after = scope.config(None, name or scope.chosen, links=False)
        try:
            before = scope.config(revision, name or scope.chosen)
        except InvalidInput:  # an environment that the change adds
            if reviewed is None:
                continue
            before = reviewed
        found[name] = changes(before, after)
    return found


def _merged(found: Mapping[str | None, Sequence[ConfigChange]]) -> Iterator[ConfigChange]:
    """Each change once, with the environments in which it holds where that is not all of them."""
    names: defaultdict[ConfigChange, list[str]] = defaultdict(list)
    for name, several in found.items():
        for one in several:
            names[replace(one, origin=None)].append(name or "")
    for one, where in names.items():
        origin = next(
            other.origin for several in found.values() for other in several if replace(other, origin=None) == one
        )
        message = one.message if len(where) == len(found) else f"{one.message} (in {', '.join(where)})"
        yield replace(one, message=message, origin=origin)


def place_of(problem: Problem) -> tuple[Origin, str]:
    """What problems are sorted by: those without a place first."""
    return problem.origin or Origin("", 0, 0), problem.message


def _counted(environment: str | None, loaded: DesiredState) -> dict[str, Any]:
    targets = [str(target) for target in loaded.targets]
    return {"environment": environment, "files": loaded.files, "entries": loaded.entries, "targets": targets}
