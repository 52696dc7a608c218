"""The command `kvsync history`."""

from __future__ import annotations

from typing import Any, Final

import click

from kvsync.cli import options
from kvsync.cli.command import GlobalOptions, command
from kvsync.cli.exit_codes import Exit
from kvsync.cli.output import answer, answer_document
from kvsync.cli.table import table
from kvsync.model.entry import Identity, Target

SCHEMA: Final = "kvsync.history/1"


@command(
    "history",
    short_help="List past runs, or show the changes of one run.",
    examples=("history", "history --limit 5 -o json", "history 20260131-120000-123"),
    exits=(Exit.DONE, Exit.ERROR),
)
@click.argument("run", required=False)
@click.option("--limit", type=click.IntRange(1), default=20, help="Number of runs to show, newest first (default: 20).")
@options.output("text", "json")
def history(settings: GlobalOptions, run: str | None, limit: int, output: str) -> Exit:
    """List the runs that wrote to a store, newest first. With a RUN (the start of its id is enough), show every entry it
    changed, the file and line that caused the change, and the outcome. Use kvsync undo to revert a run.
    """
    from kvsync.app.operator import Operator

    found = Operator(settings.config, settings.environment).history(run, limit)
    if output == "json":
        answer_document({"schema": SCHEMA} | found)
    elif run:
        answer(_runs_table(found["runs"]) + "\n" + _changes_table(found["changes"]))
    else:
        answer(_runs_table(found["runs"]) or "nothing has been applied yet\n")
    return Exit.DONE


def _runs_table(runs: list[dict[str, Any]]) -> str:
    from kvsync.rendering.words import counts

    head = ("run", "started", "command", "status", "outcomes", "source")
    rows = (
        (
            run["run"],
            run["started_at"],
            run["command"],
            run["status"],
            counts((number, word) for word, number in run["summary"].items()) or f"{run['changes']:,} intended",
            (run["source"] or "")[:12],
        )
        for run in runs
    )
    return table(head, rows)


def _changes_table(changes: list[dict[str, Any]]) -> str:
    head = ("target", "key", "action", "class", "outcome", "where", "error")
    rows = (
        (
            str(Target(change["store"], change["namespace"])),
            str(Identity(change["key"], change["label"])),
            change["action"],
            change["class"],
            change["outcome"] or "unknown: the run was interrupted",
            change["origin"] or "",
            change["error"] or "",
        )
        for change in changes
    )
    return table(head, rows)
