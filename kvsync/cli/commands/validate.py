"""The command `kvsync validate`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from kvsync.cli import open as opening
from kvsync.cli import options
from kvsync.cli.command import GlobalOptions, command
from kvsync.cli.exit_codes import Exit
from kvsync.cli.output import print_document, print_lines, print_message, print_text
from kvsync.errors import InvalidInput, KvsyncError, Problem
from kvsync.util.redaction import REDACTOR
from kvsync.util.values import dataclass

if TYPE_CHECKING:
    from kvsync.app.revision import ConfigRevision
    from kvsync.app.validation import ConfigChange, Validation

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
async def validate(settings: GlobalOptions, **chosen: Any) -> Exit:
    """Check everything that can be checked without contacting a store: the configuration, the state files of every environment
    (or of the one that --env names), and whether the stores can hold the entries. All problems are reported at once, each with
    file, line and column.

    In SARIF, annotations and Code Quality reports, paths are relative to the root of the Git checkout.

    With --as-author, the state files are checked against the configuration of the target branch, so that a change cannot grant
    itself more rights. If the change also edits the configuration, the output lists what it widens.
    """
    return await _validate(settings, _ValidateOptions(**chosen))


@dataclass(frozen=True, slots=True)
class _ValidateOptions:
    all_environments: bool
    as_author: str | None
    output: str
    sarif_into: str | None
    gitlab_into: str | None


async def _validate(settings: GlobalOptions, chosen: _ValidateOptions) -> Exit:
    from kvsync.app.validation import place_of
    from kvsync.app.validation import validate as check

    revision = await opening.config_revision(settings, chosen.as_author)
    checked = await check(
        settings.config,
        settings.environment,
        revision,
        every_environment=chosen.all_environments,
        opened=lambda state_dir, revision, environment: opening.workspace(
            replace(settings, environment=environment or settings.environment), state_dir=state_dir, revision=revision
        ),
    )
    listed = sorted(checked.problems, key=place_of)
    try:
        _report(listed, checked, settings, chosen)
    except KvsyncError as unwritten:  # what is wrong with the files must be seen all the same
        if not listed:
            raise
        print_message(f"kvsync: {unwritten}")
    if chosen.output == "text":
        print_message(*(f"warning: {warning}" for warning in checked.warnings))
    if listed:
        if checked.changes and revision is not None:
            print_message(*_changes_lines(revision, checked.changes))
        raise InvalidInput(listed)
    for name in checked.unshared:
        print_message(
            f"kvsync: stores.{name}: with run.lease, set ledger: store; other replicas cannot read a local ledger"
        )
    _answer(checked, revision, chosen.output)
    return Exit.DONE


def _report(
    problems: Sequence[Problem], checked: Validation, settings: GlobalOptions, chosen: _ValidateOptions
) -> None:
    """What was found, if anything, for other programs: on stdout first, then into files. Raises KvsyncError."""
    from kvsync import __version__
    from kvsync.app.ci_findings import change_findings, findings
    from kvsync.cli.rendered import write_file
    from kvsync.rendering.findings import Severity, github, gitlab, sarif

    found = findings(problems, settings.config, fetched=checked.fetched)
    found += change_findings(checked.changes, settings.config)
    found += findings(checked.warnings, settings.config, Severity.WARNING, fetched=checked.fetched)
    if chosen.output == "sarif":
        print_document(sarif(found, __version__))
    elif chosen.output == "gitlab":
        print_document(gitlab(found))
    elif chosen.output == "github":
        print_text(github(found))
    if chosen.sarif_into:
        write_file(chosen.sarif_into, REDACTOR.clean_text(sarif(found, __version__)))
    if chosen.gitlab_into:
        write_file(chosen.gitlab_into, REDACTOR.clean_text(gitlab(found)))


def _answer(checked: Validation, revision: ConfigRevision | None, output: str) -> None:
    from kvsync.rendering.problems import problem_document

    counted, changed = checked.environments, checked.changes
    if output == "json":
        warnings = [problem_document(warning) for warning in checked.warnings]
        document: dict[str, Any] = {"schema": SCHEMA, "valid": True, "environments": list(counted), "problems": []}
        document |= {"warnings": warnings}
        print_document(document | ({} if revision is None else {"configuration": _configuration(revision, changed)}))
    elif output in ("text", "github"):
        print_lines(*map(_line, counted))
    if output == "text" and changed and revision is not None:
        print_lines(*_changes_lines(revision, changed))


def _configuration(revision: ConfigRevision, changed: Sequence[ConfigChange]) -> dict[str, Any]:
    described = [{"field": one.field, "widens": one.widens, "message": one.message} for one in changed]
    return {"revision": revision.name, "commit": revision.commit, "changes": described}


def _changes_lines(revision: ConfigRevision, changed: Sequence[ConfigChange]) -> list[str]:
    head = f"the configuration differs from that of {revision.name}, which was used to check the state files:"
    return [head, *map(_change_line, changed)]


def _change_line(change: ConfigChange) -> str:
    return f"  {'widens ' if change.widens else 'changes'}  {change.field}: {change.message}"


def _line(counted: dict[str, Any]) -> str:
    from kvsync.rendering.words import count

    where = f"{counted['environment']}: " if counted["environment"] else ""
    entries = count(counted["entries"], "entry", "entries")
    return f"{where}valid: {entries}, {count(len(counted['targets']), 'target')}, {count(counted['files'], 'file')}"
