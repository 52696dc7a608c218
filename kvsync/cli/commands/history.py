"""The command `kvsync history`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, Final

import click

from kvsync.cli import completing, options
from kvsync.cli.command import GlobalOptions, command
from kvsync.cli.exit_codes import Exit
from kvsync.cli.namespace_line import namespace_line
from kvsync.cli.output import print_document, print_text, width
from kvsync.cli.table import aligned, fitted, table
from kvsync.model.entry import Identity, Target
from kvsync.util.escaping import escape_text

SCHEMA: Final = "kvsync.history/1"

_IN_GROUP: Final = 8
"""Runs of one commit that are listed; the others are counted."""

Run = dict[str, Any]


@command(
    "history",
    short_help="List past runs, or show the changes of one run.",
    examples=(
        "history",
        "history --target local/web --since 2d",
        "history --commit 3f2a91c -o json",
        "history 20260131-120000-123",
    ),
    exits=(Exit.DONE, Exit.ERROR),
)
@click.argument("run", required=False, shell_complete=completing.runs)
@click.option(
    "--limit", type=click.IntRange(1), default=100, help="Number of runs to show, newest first (default: 100)."
)
@click.option(
    "--target",
    metavar="STORE[/NS]",
    help="Limit to runs that changed this target, or a target of this store.",
    shell_complete=completing.targets,
)
@options.runs(
    commit="Limit to runs that applied this commit (the start of its hash).",
    since="Limit to this run and later ones, or to a duration such as 2h.",
    trigger="Limit to passes of the daemon that this trigger started (files, hook, …).",
)
@options.output("text", "json")
def history(settings: GlobalOptions, run: str | None, output: str, **chosen: Any) -> Exit:
    """List the runs that wrote to a store, newest first, with target, trigger, environment and outcomes. Runs of one commit are
    grouped. With a RUN (the start of its id is enough), show every entry that it changed, the file and line that caused the
    change, and the outcome; kvsync show RUN also shows the values. Use kvsync undo to revert a run or a commit."""
    from kvsync.app.run_list import HistoryQuery, list_runs, one_run

    if run:
        found = one_run(settings.config, settings.environment, run)
    else:
        found = list_runs(settings.config, settings.environment, HistoryQuery(**chosen))
    if output == "json":
        print_document({"schema": SCHEMA} | found)
    elif run:
        print_text("\n".join(filter(None, ("".join(_groups(found["runs"])), *_details(found)))))
    else:
        print_text(
            "".join(_groups(found["runs"])) or "no run matches\n" if _is_narrowed(chosen) else _all(found["runs"])
        )
    return Exit.DONE


def _details(found: dict[str, Any]) -> tuple[str, ...]:
    """What one run did: its restore points, the namespaces that it deleted, and the table of its changes."""
    from kvsync.rendering.words import restore_points

    (run,) = found["runs"]
    kept = "".join(f"{escape_text(line)}\n" for line in restore_points(run))
    return kept, "".join(map(namespace_line, run["namespaces"])), _changes_table(found["changes"])


def _is_narrowed(chosen: dict[str, Any]) -> bool:
    return any(chosen[name] is not None for name in ("target", "commit", "since", "trigger"))


def _all(runs: Sequence[Run]) -> str:
    return "".join(_groups(runs)) or "nothing has been applied yet\n"


def _groups(runs: Sequence[Run]) -> Iterator[str]:
    """The runs of one commit in one environment under one line each."""
    for number, (_, members) in enumerate(groupby(runs, key=_cause)):
        yield "\n" * bool(number) + _group(list(members))


def _cause(run: Run) -> tuple[bool, str | None, str | None]:
    return run["command"] == "undo", run["source"], run["environment"]


def _group(runs: Sequence[Run]) -> str:
    first, totals = runs[0], _totals(runs)
    if first["source"] is None and first["command"] != "undo":  # what has no commit is not of one piece
        return f"no commit\n{aligned(map(_row, runs), indent='  ')}"
    targets = {(one["store"], one["namespace"]) for run in runs for one in run["targets"]}
    parts = [first["started_at"], _source(first), *filter(None, [first["environment"]])]
    parts.append(totals + (f" in {len(targets):,} targets" if len(targets) > 1 else ""))
    lines = [f"{escape_text('  '.join(parts))}\n", aligned(map(_row, runs[:_IN_GROUP]), indent="  ")]
    if len(runs) > _IN_GROUP:
        lines.append(f"  and {len(runs) - _IN_GROUP:,} more runs{_how_to_list(first)}\n")
    return "".join(lines)


def _source(run: Run) -> str:
    source = run["source"]
    return f"undo of {source or 'a run'}" if run["command"] == "undo" else f"commit {source[:12]}"


def _how_to_list(run: Run) -> str:
    if run["source"] is None or run["command"] == "undo":
        return "; -o json lists all"
    return f"; kvsync history --commit {run['source'][:12]} -o json lists all"


def _row(run: Run) -> tuple[str, ...]:
    triggers = ", ".join(run["triggers"])
    names = [str(Target(one["store"], one["namespace"])) for one in run["targets"]]
    where = f"{len(names):,} targets" if len(names) > 1 else fitted(names[0], _room()) if names else ""
    said = _totals([run]) + ("" if run["status"] == "finished" else f" ({run['status']})")
    return run["run"], f"{run['command']} ({triggers})" if triggers else run["command"], where, said


def _room() -> int:
    """Columns for the name of a target."""
    return max(width() - 56, 24)


def _totals(runs: Sequence[Run]) -> str:
    from kvsync.rendering.words import count, outcome_words

    kinds = {kind: sum(run["summary"].get(kind, 0) for run in runs) for run in runs for kind in run["summary"]}
    intended = sum(run["changes"] + len(run["namespaces"]) for run in runs)
    return outcome_words(kinds) or f"{count(intended, 'change')} intended"


def _changes_table(changes: Sequence[dict[str, Any]]) -> str:
    from kvsync.rendering.words import outcome_word

    head = ("target", "key", "action", "class", "outcome", "where", "error")
    rows = (
        (
            str(Target(change["store"], change["namespace"])),
            str(Identity(change["key"], change["label"])),
            change["action"],
            change["class"],
            outcome_word(change["outcome"] or "unknown: the run was interrupted"),
            change["origin"] or "",
            change["error"] or "",
        )
        for change in changes
    )
    return table(head, rows)
