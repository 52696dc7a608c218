"""The command `kvsync history`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from kvsync.cli import open as opening
from kvsync.cli import options
from kvsync.cli.command import GlobalOptions, command
from kvsync.cli.exit_codes import Exit
from kvsync.cli.output import answer, answer_document
from kvsync.cli.table import table

if TYPE_CHECKING:
    from kvsync.state import ChangeRecord, RunRecord

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
    with opening.state(settings, writable=False) as (_, state):
        runs = [state.journal.run(run)] if run else state.journal.runs(limit)
        changes = state.journal.changes(runs[0].id) if run else []
    if output == "json":
        document: dict[str, Any] = {"schema": SCHEMA, "runs": [run_document(one) for one in runs]}
        answer_document(document | ({"changes": [change_document(one) for one in changes]} if run else {}))
    elif run:
        answer(_runs_table(runs) + "\n" + _changes_table(changes))
    else:
        answer(_runs_table(runs) or "nothing has been applied yet\n")
    return Exit.DONE


def run_document(run: RunRecord) -> dict[str, Any]:
    """One run as plain data."""
    from kvsync.rendering.words import moment

    return {
        "run": run.id,
        "command": run.command,
        "source": run.source,
        "started_at": moment(run.started_at),
        "finished_at": moment(run.finished_at) if run.finished_at is not None else None,
        "status": run.status.value,
        "changes": run.changes,
        "summary": dict(run.summary),
    }


def change_document(change: ChangeRecord) -> dict[str, Any]:
    """One change of a run as plain data; never a value."""
    from kvsync.rendering.words import moment

    return {
        "store": change.target.store,
        "namespace": change.target.namespace,
        "key": change.identity.key,
        "label": change.identity.label,
        "action": change.action.value,
        "class": change.cause.value,
        "outcome": change.outcome.value if change.outcome else None,
        "error": change.error,
        "origin": change.origin,
        "etag": change.etag,
        "at": moment(change.settled_at if change.settled_at is not None else change.intended_at),
        "run": change.run,
    }


def _runs_table(runs: list[RunRecord]) -> str:
    from kvsync.rendering.words import counts, moment

    head = ("run", "started", "command", "status", "outcomes", "source")
    rows = (
        (
            run.id,
            moment(run.started_at),
            run.command,
            run.status.value,
            counts((number, word) for word, number in run.summary.items()) or f"{run.changes:,} intended",
            (run.source or "")[:12],
        )
        for run in runs
    )
    return table(head, rows)


def _changes_table(changes: list[ChangeRecord]) -> str:
    head = ("target", "key", "action", "class", "outcome", "where", "error")
    rows = (
        (
            str(change.target),
            str(change.identity),
            change.action.value,
            change.cause.value,
            change.outcome.value if change.outcome else "unknown: the run was interrupted",
            change.origin or "",
            change.error or "",
        )
        for change in changes
    )
    return table(head, rows)
