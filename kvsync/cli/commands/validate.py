"""`kvsync validate`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kvsync.cli import opening, options
from kvsync.cli.command import Settings, command
from kvsync.cli.exits import Exit
from kvsync.cli.output import answer, answer_document, say
from kvsync.errors import InvalidInput, Origin, Problem

if TYPE_CHECKING:
    from kvsync.sources import Loaded

SCHEMA = "kvsync.validation/1"


@command(
    "validate",
    short_help="Check configuration and state files, without asking a store.",
    examples=("validate", "validate --env prod", "validate -o json"),
    exits=(Exit.DONE, Exit.ERROR),
)
@click.option("--all-environments", is_flag=True, help="Check every environment, also when --env names one.")
@options.output("text", "json")
def validate(settings: Settings, all_environments: bool, output: str) -> Exit:
    """Find everything that can be known to be wrong without asking a store: in the configuration, in the state files of every
    environment (or of the one that --env names), and in what the stores could not hold. All of it at once, each with its place.
    """
    return opening.run(_validate(settings, all_environments, output))


async def _validate(settings: Settings, all_environments: bool, output: str) -> Exit:
    from kvsync.leading import unshared_ledgers

    async with opening.workspace(settings) as workspace:
        every: list[str | None] = [*workspace.config.environments] or [None]
        asked = None if all_environments else settings.environment
        found = {name: workspace.load(name) for name in ([asked] if asked else every)}
        unshared = unshared_ledgers(workspace)
    problems = {problem for loaded in found.values() for problem in loaded.problems}
    if problems:
        raise InvalidInput(sorted(problems, key=_place))
    counted = [_counted(name, loaded) for name, loaded in found.items()]
    for name in unshared:
        say(
            f"kvsync: stores.{name}: with run.lease, set ledger: store; a ledger of its own is of no use to another replica"
        )
    if output == "json":
        answer_document({"schema": SCHEMA, "valid": True, "environments": counted, "problems": []})
    else:
        answer("".join(map(_line, counted)))
    return Exit.DONE


def _place(problem: Problem) -> tuple[Origin, str]:
    return problem.origin or Origin("", 0, 0), problem.message


def _counted(environment: str | None, loaded: Loaded) -> dict[str, Any]:
    targets = [str(target) for target in loaded.targets]
    return {"environment": environment, "files": loaded.files, "entries": loaded.entries, "targets": targets}


def _line(counted: dict[str, Any]) -> str:
    from kvsync.core.render.words import count

    where = f"{counted['environment']}: " if counted["environment"] else ""
    entries = f"{counted['entries']:,} {'entry' if counted['entries'] == 1 else 'entries'}"
    return f"{where}valid: {entries}, {count(len(counted['targets']), 'target')}, {count(counted['files'], 'file')}\n"
