"""`kvsync validate`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from kvsync.cli import opening, options
from kvsync.cli.command import Settings, command
from kvsync.cli.exits import Exit
from kvsync.cli.output import answer, answer_document, answer_lines, say
from kvsync.errors import InvalidInput, KvsyncError, Origin, Problem
from kvsync.secrets import REDACTOR

if TYPE_CHECKING:
    from kvsync.sources import Loaded
    from kvsync.workspace import Workspace

SCHEMA = "kvsync.validation/1"


@command(
    "validate",
    short_help="Check configuration and state files, without asking a store.",
    examples=(
        "validate",
        "validate --env prod",
        "validate -o github --sarif-into kvsync.sarif",
        "validate --gitlab-into gl-code-quality-report.json",
    ),
    exits=(Exit.DONE, Exit.ERROR),
)
@click.option("--all-environments", is_flag=True, help="Check every environment, also when --env names one.")
@options.output("text", "json", "sarif", "github", "gitlab")
@click.option("--sarif-into", metavar="FILE", help="Write what is wrong to this file too, as SARIF.")
@click.option("--gitlab-into", metavar="FILE", help="Write what is wrong to this file too, as a Code Quality report.")
def validate(settings: Settings, **chosen: Any) -> Exit:
    """Find everything that can be known to be wrong without asking a store: in the configuration, in the state files of every
    environment (or of the one that --env names), and in what the stores could not hold. All of it at once, each with its place.

    As SARIF, annotations or a Code Quality report, the files are named from the root of the Git checkout.
    """
    return opening.run(_validate(settings, _Options(**chosen)))


@dataclass(frozen=True, slots=True)
class _Options:
    all_environments: bool
    output: str
    sarif_into: str | None
    gitlab_into: str | None


async def _validate(settings: Settings, chosen: _Options) -> Exit:
    from kvsync.leading import unshared_ledgers

    fetched = False
    try:
        async with opening.workspace(settings) as workspace:
            fetched = workspace.checkout is not None
            found = _loaded(workspace, None if chosen.all_environments else settings.environment)
            unshared = unshared_ledgers(workspace)
        problems = {problem for loaded in found.values() for problem in loaded.problems}
        if problems:
            raise InvalidInput(sorted(problems, key=_place))
    except InvalidInput as error:
        try:
            _report(error.problems, settings, chosen, fetched=fetched)
        except KvsyncError as unwritten:  # what is wrong with the files must be seen all the same
            say(f"kvsync: {unwritten}")
        raise
    _report((), settings, chosen)
    for name in unshared:
        say(
            f"kvsync: stores.{name}: with run.lease, set ledger: store; a ledger of its own is of no use to another replica"
        )
    counted = [_counted(name, loaded) for name, loaded in found.items()]
    if chosen.output == "json":
        answer_document({"schema": SCHEMA, "valid": True, "environments": counted, "problems": []})
    elif chosen.output in ("text", "github"):
        answer_lines(*map(_line, counted))
    return Exit.DONE


def _loaded(workspace: Workspace, asked: str | None) -> dict[str | None, Loaded]:
    """What the files ask, in one environment or in every one."""
    every: list[str | None] = [*workspace.config.environments] or [None]
    return {name: workspace.load(name) for name in ([asked] if asked else every)}


def _report(problems: Sequence[Problem], settings: Settings, chosen: _Options, *, fetched: bool = False) -> None:
    """What is wrong, if anything, for other programs: on stdout first, then into files. Raises KvsyncError."""
    from kvsync import __version__
    from kvsync.cli.findings import findings
    from kvsync.cli.shown import write_file
    from kvsync.core.render.findings import github, gitlab, sarif

    found = findings(problems, settings.config, fetched=fetched)
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


def _place(problem: Problem) -> tuple[Origin, str]:
    return problem.origin or Origin("", 0, 0), problem.message


def _counted(environment: str | None, loaded: Loaded) -> dict[str, Any]:
    targets = [str(target) for target in loaded.targets]
    return {"environment": environment, "files": loaded.files, "entries": loaded.entries, "targets": targets}


def _line(counted: dict[str, Any]) -> str:
    from kvsync.core.render.words import count

    where = f"{counted['environment']}: " if counted["environment"] else ""
    entries = count(counted["entries"], "entry", "entries")
    return f"{where}valid: {entries}, {count(len(counted['targets']), 'target')}, {count(counted['files'], 'file')}"
