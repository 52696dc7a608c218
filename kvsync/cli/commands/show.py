"""The command `kvsync show`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, Final

import click

from kvsync.cli import completing, options
from kvsync.cli.command import GlobalOptions, command
from kvsync.cli.exit_codes import Exit
from kvsync.cli.namespace_line import namespace_line
from kvsync.cli.output import print_document, print_text
from kvsync.cli.table import markdown_table
from kvsync.model.change import Action
from kvsync.model.entry import Identity, Target
from kvsync.util.escaping import clip, escape_text, quote_text

SCHEMA: Final = "kvsync.show/1"
_VALUE: Final = 48
"""Characters of a value that a line shows; JSON has all."""

Document = dict[str, Any]


@command(
    "show",
    short_help="Show every change of a run, or of a saved plan.",
    examples=("show 20260131-120000-123", "show 20260131-120000-123 -o json", "show plan.json -o markdown"),
    exits=(Exit.DONE, Exit.ERROR),
)
@click.argument("what", metavar="RUN|PLANFILE", shell_complete=completing.runs)
@options.output("text", "json", "markdown")
def show(settings: GlobalOptions, what: str, output: str) -> Exit:
    """Show every change of RUN (the start of its id is enough), with the old and the new value if the journal has them, or
    every change of a PLANFILE from kvsync plan --out, which contains no values. Sensitive values are never shown."""
    from kvsync.app.show import is_plan_file, show_plan_file, show_run

    found = show_plan_file(what) if is_plan_file(what) else show_run(settings.config, settings.environment, what)
    if output == "json":
        print_document({"schema": SCHEMA} | found)
    else:
        print_text("".join(_markdown(found) if output == "markdown" else _text(found)))
    return Exit.DONE


def _title(found: Document) -> str:
    if (plan := found.get("plan")) is not None:
        environment = f", environment {plan['environment']}" if plan["environment"] else ""
        return f"plan {plan['digest']} of {plan['owner']}{environment}"
    run = found["run"]
    parts = [f"run {run['run']}: {run['command']}"]
    parts += [f"triggers {', '.join(run['triggers'])}"] if run["triggers"] else []
    parts += [f"source {run['source'][:40]}"] if run["source"] else []
    parts += [f"environment {run['environment']}"] if run["environment"] else []
    return ", ".join([*parts, f"{run['status']}, started {run['started_at']}"])


def _namespaces(found: Document) -> list[Document]:
    """The namespaces that a run deleted; a plan file deletes none."""
    return found["run"]["namespaces"] if "run" in found else []


def _restore_points(found: Document) -> list[str]:
    from kvsync.rendering.words import restore_points

    return restore_points(found.get("run", {}))


def _by_target(changes: Sequence[Document]) -> Iterator[tuple[str, list[Document]]]:
    ordered = sorted(changes, key=lambda one: (one["store"], one["namespace"]))
    for (store, namespace), members in groupby(ordered, key=lambda one: (one["store"], one["namespace"])):
        yield str(Target(store, namespace)), list(members)


def _text(found: Document) -> Iterator[str]:
    yield f"{escape_text(_title(found))}\n"
    yield from (f"{escape_text(line)}\n" for line in _restore_points(found))
    if namespaces := _namespaces(found):
        yield "\n" + "".join(map(namespace_line, namespaces))
    for target, changes in _by_target(found["changes"]):
        yield f"\n{escape_text(target)}: {len(changes):,} change{'s' if len(changes) != 1 else ''}\n"
        for change in changes:
            yield from _lines(change)


def _lines(change: Document) -> Iterator[str]:
    from kvsync.rendering.words import SIGNS, name, outcome_word

    sign = SIGNS[Action(change["action"])]
    outcome = f", {outcome_word(change['outcome'] or 'outcome unknown')}" if "run" in change else ""
    yield f"  {sign} {name(Identity(change['key'], change['label']))}  {change['class']}{outcome}\n"
    if change["action"] != "renew":
        yield f"      {_side(change, 'before')} -> {_side(change, 'after')}\n"
    if change["error"]:
        yield f"      {escape_text(change['error'])}\n"
    if change["origin"]:
        yield f"      {escape_text(change['origin'])}\n"


def _side(change: Document, which: str) -> str:
    side = change[which]
    if side is None:
        return "(absent)"
    if "value" in side:
        return clip(quote_text(side["value"]), _VALUE)
    known = side.get("fingerprint")
    hidden = "sensitive, " if change.get("sensitive") else ""
    return f"({hidden}fingerprint {known[:12]})" if known else f"({hidden}not known)"


def _markdown(found: Document) -> Iterator[str]:
    from kvsync.rendering.words import outcome_word
    from kvsync.util.escaping import escape_markdown, markdown_code

    yield f"### {escape_markdown(_title(found))}\n"
    yield from (f"\n{escape_markdown(line)}\n" for line in _restore_points(found))
    for namespace in _namespaces(found):
        yield f"\n{escape_markdown(namespace_line(namespace).rstrip())}\n"
    for target, changes in _by_target(found["changes"]):
        yield f"\n{markdown_code(target)}\n\n"
        rows = (
            (
                str(Identity(one["key"], one["label"])),
                f"{one['action']} ({one['class']})",
                _side(one, "before"),
                _side(one, "after"),
                outcome_word(one["outcome"] or ""),
            )
            for one in changes
        )
        yield markdown_table(("entry", "action", "before", "after", "outcome"), rows)
