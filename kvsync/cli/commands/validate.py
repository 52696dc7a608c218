"""The command `kvsync validate`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kvsync.cli import open as opening
from kvsync.cli import options
from kvsync.cli.command import GlobalOptions, command
from kvsync.cli.exit_codes import Exit
from kvsync.cli.output import answer, answer_document, answer_lines, say
from kvsync.errors import InvalidInput, Kind, KvsyncError, Origin, Problem
from kvsync.util.redaction import REDACTOR

if TYPE_CHECKING:
    from kvsync.app import Workspace
    from kvsync.config.changes import ConfigChange
    from kvsync.config.model import Config
    from kvsync.config.revision import ConfigRevision
    from kvsync.desired import DesiredState

SCHEMA = "kvsync.validation/1"


@command(
    "validate",
    short_help="Check the configuration and the state files offline.",
    examples=(
        "validate",
        "validate --env prod",
        "validate --as-author=origin/main",
        "validate -o github --sarif-into kvsync.sarif",
        "validate --gitlab-into gl-code-quality-report.json",
    ),
    exits=(Exit.DONE, Exit.ERROR),
)
@click.option("--all-environments", is_flag=True, help="Check every environment, even if --env is set.")
@options.as_author
@options.output("text", "json", "sarif", "github", "gitlab")
@click.option("--sarif-into", metavar="FILE", help="Also write the problems to this file, as SARIF.")
@click.option("--gitlab-into", metavar="FILE", help="Also write the problems to this file, as a Code Quality report.")
def validate(settings: GlobalOptions, **chosen: Any) -> Exit:
    """Check everything that can be checked without contacting a store: the configuration, the state files of every environment
    (or of the one in --env), and whether the stores can hold the entries. All problems are reported at once, each with its
    place.

    In SARIF, annotations and Code Quality reports, paths are relative to the root of the Git checkout.

    With --as-author, the state files are checked against the configuration of the target branch, so that a change cannot grant
    itself more rights. If the change also edits the configuration, the output lists what it widens.
    """
    return opening.run(_validate(settings, _ValidateOptions(**chosen)))


@dataclass(frozen=True, slots=True)
class _ValidateOptions:
    all_environments: bool
    as_author: str | None
    output: str
    sarif_into: str | None
    gitlab_into: str | None


@dataclass(frozen=True, slots=True)
class _ValidationResult:
    """What the files come to under one configuration: `config` None is one that cannot be read."""

    config: Config | None = None
    found: Mapping[str | None, DesiredState] = field(default_factory=dict)
    problems: frozenset[Problem] = frozenset()
    warnings: tuple[Problem, ...] = ()
    unshared: tuple[str, ...] = ()
    fetched: bool = False


async def _validate(settings: GlobalOptions, chosen: _ValidateOptions) -> Exit:
    revision = await opening.config_revision(settings, chosen.as_author)
    checked = await _check(settings, chosen, revision)
    problems = checked.problems
    changed: tuple[ConfigChange, ...] = ()
    if revision is not None and _differs(revision, settings.config):
        more, changed = await _check_change(settings, chosen, checked)
        problems |= more
    listed = sorted(problems, key=_place)
    try:
        _report(listed, changed, settings, chosen, checked)
    except KvsyncError as unwritten:  # what is wrong with the files must be seen all the same
        if not listed:
            raise
        say(f"kvsync: {unwritten}")
    if chosen.output == "text":
        say(*(f"warning: {warning}" for warning in checked.warnings))
    if listed:
        if changed and revision is not None:
            say(*_changes_lines(revision, changed))
        raise InvalidInput(listed)
    for name in checked.unshared:
        say(f"kvsync: stores.{name}: with run.lease, set ledger: store; other replicas cannot read a local ledger")
    _answer(checked, revision, changed, chosen.output)
    return Exit.DONE


async def _check(
    settings: GlobalOptions, chosen: _ValidateOptions, revision: ConfigRevision | None, state_dir: Path | None = None
) -> _ValidationResult:
    """Load everything under the configuration of a revision, or under the one that is in the files."""
    from kvsync.app.leadership import unshared_ledgers

    try:
        async with opening.workspace(settings, state_dir=state_dir, revision=revision) as workspace:
            found = _loaded(workspace, None if chosen.all_environments else settings.environment)
            problems = frozenset(problem for loaded in found.values() for problem in loaded.problems)
            warnings = {*workspace.unmatched_files(), *(one for loaded in found.values() for one in loaded.warnings)}
            return _ValidationResult(
                workspace.config,
                found,
                problems,
                tuple(sorted(warnings, key=_place)),
                tuple(unshared_ledgers(workspace)),
                fetched=workspace.checkout is not None,
            )
    except InvalidInput as error:
        return _ValidationResult(problems=frozenset(error.problems))


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
    settings: GlobalOptions, chosen: _ValidateOptions, checked: _ValidationResult
) -> tuple[frozenset[Problem], tuple[ConfigChange, ...]]:
    """What is wrong with a changed configuration, and with the state files under it; and what it changes.

    The changed configuration is input that nobody has reviewed: kvsync fetches nothing and follows no file because of it."""
    from kvsync.app.configuration import read_config
    from kvsync.config.changes import changes

    if settings.config.is_symlink():
        what = f"{settings.config}: is a symbolic link, which is not followed with --as-author"
        return frozenset({Problem(what, hint="make it a file", kind=Kind.UNREADABLE)}), ()
    try:
        proposed = read_config(settings.config, environment=settings.environment, environ=os.environ)
    except InvalidInput as error:
        return frozenset(error.problems), ()
    if checked.config is None:
        return frozenset(), ()
    if proposed.source is not None and proposed.source != checked.config.source:
        return frozenset(), changes(checked.config, proposed)  # it would show credentials to a server of its choice
    # Not with the state directory that the change names: it is only judged, and makes nothing where it likes.
    under_it = await _check(settings, chosen, None, checked.config.state_dir)
    return under_it.problems, changes(checked.config, proposed)


def _loaded(workspace: Workspace, asked: str | None) -> dict[str | None, DesiredState]:
    """What the files ask, in one environment or in every one."""
    every: list[str | None] = [*workspace.config.environments] or [None]
    return {name: workspace.load(name) for name in ([asked] if asked else every)}


def _report(
    problems: Sequence[Problem],
    changed: Sequence[ConfigChange],
    settings: GlobalOptions,
    chosen: _ValidateOptions,
    checked: _ValidationResult,
) -> None:
    """What was found, if anything, for other programs: on stdout first, then into files. Raises KvsyncError."""
    from kvsync import __version__
    from kvsync.cli.ci_findings import change_findings, findings
    from kvsync.cli.rendered import write_file
    from kvsync.rendering.findings import Severity, github, gitlab, sarif

    found = findings(problems, settings.config, fetched=checked.fetched) + change_findings(changed, settings.config)
    found += findings(checked.warnings, settings.config, Severity.WARNING, fetched=checked.fetched)
    if chosen.output == "sarif":
        answer_document(sarif(found, __version__))
    elif chosen.output == "gitlab":
        answer_document(gitlab(found))
    elif chosen.output == "github":
        answer(github(found))
    if chosen.sarif_into:
        write_file(chosen.sarif_into, REDACTOR.clean_text(sarif(found, __version__)))
    if chosen.gitlab_into:
        write_file(chosen.gitlab_into, REDACTOR.clean_text(gitlab(found)))


def _answer(
    checked: _ValidationResult, revision: ConfigRevision | None, changed: Sequence[ConfigChange], output: str
) -> None:
    from kvsync.rendering.problems import problem_document

    counted = [_counted(name, loaded) for name, loaded in checked.found.items()]
    if output == "json":
        warnings = [problem_document(warning) for warning in checked.warnings]
        document = {"schema": SCHEMA, "valid": True, "environments": counted, "problems": [], "warnings": warnings}
        answer_document(document | ({} if revision is None else {"configuration": _configuration(revision, changed)}))
    elif output in ("text", "github"):
        answer_lines(*map(_line, counted))
    if output == "text" and changed and revision is not None:
        answer_lines(*_changes_lines(revision, changed))


def _configuration(revision: ConfigRevision, changed: Sequence[ConfigChange]) -> dict[str, Any]:
    described = [{"field": one.field, "widens": one.widens, "message": one.message} for one in changed]
    return {"revision": revision.name, "commit": revision.commit, "changes": described}


def _changes_lines(revision: ConfigRevision, changed: Sequence[ConfigChange]) -> list[str]:
    head = f"the configuration differs from that of {revision.name}, which was used to check the state files:"
    return [head, *map(_change_line, changed)]


def _change_line(change: ConfigChange) -> str:
    return f"  {'widens ' if change.widens else 'changes'}  {change.field}: {change.message}"


def _place(problem: Problem) -> tuple[Origin, str]:
    return problem.origin or Origin("", 0, 0), problem.message


def _counted(environment: str | None, loaded: DesiredState) -> dict[str, Any]:
    targets = [str(target) for target in loaded.targets]
    return {"environment": environment, "files": loaded.files, "entries": loaded.entries, "targets": targets}


def _line(counted: dict[str, Any]) -> str:
    from kvsync.rendering.words import count

    where = f"{counted['environment']}: " if counted["environment"] else ""
    entries = count(counted["entries"], "entry", "entries")
    return f"{where}valid: {entries}, {count(len(counted['targets']), 'target')}, {count(counted['files'], 'file')}"
