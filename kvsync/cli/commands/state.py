"""The command `kvsync state`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kvsync.cli import options
from kvsync.cli.command import GlobalOptions, command
from kvsync.cli.exit_codes import Exit
from kvsync.cli.output import print_document, print_lines

if TYPE_CHECKING:
    from kvsync.app.state_access import SchemaChange

_ACTIONS = ("init", "upgrade", "copy")
_ENDS = ("database", "directory")


@command(
    "state",
    short_help="Set up, upgrade or copy the state in PostgreSQL.",
    examples=("state init", "state copy --to database --dry-run", "state copy --to directory"),
    exits=(Exit.DONE, Exit.ERROR, Exit.LOCKED),
)
@click.argument("action", type=click.Choice(_ACTIONS))
@click.option("--to", type=click.Choice(_ENDS), help="For copy: the destination. The other one is the source.")
@options.dry_run
@options.output("text", "json")
def state(settings: GlobalOptions, action: str, to: str | None, dry_run: bool, output: str) -> Exit:
    """Manage the database of `state.postgresql`, which keeps journal, ledger, approvals and pauses for all replicas.

    init creates the tables; running it again does nothing. upgrade brings them up to date after a new version of kvsync is
    installed. copy copies the state from the state directory to the database, or back: everything but caches, into an empty
    state. Before you copy, stop every kvsync process that uses either of them.
    """
    if (action == "copy") != (to is not None):
        raise click.UsageError("copy needs --to database or --to directory; init and upgrade take no --to")
    if dry_run and action != "copy":
        raise click.UsageError("--dry-run works with copy only")
    if to is not None:
        return _copy(settings, to, dry_run, output)
    return _bring_up_to_date(settings, action, output)


def _bring_up_to_date(settings: GlobalOptions, action: str, output: str) -> Exit:
    from kvsync.app.state_access import init_database, upgrade_database

    change = init_database if action == "init" else upgrade_database
    made = change(settings.config, settings.environment)
    if output == "json":
        print_document({"state": made.name, "created": made.before is None, "schema_before": made.before})
    else:
        print_lines(f"{made.name}: {_schema_change(made)}")
    return Exit.DONE


def _schema_change(made: SchemaChange) -> str:
    if made.before is None:
        return f"tables created (schema {made.now})"
    if made.before == made.now:
        return f"nothing to do, schema {made.now} is up to date"
    return f"upgraded from schema {made.before} to {made.now}; replace the replicas of the earlier version now"


def _copy(settings: GlobalOptions, to: str, dry_run: bool, output: str) -> Exit:
    from kvsync.app.state_access import copy_state

    report = copy_state(settings.config, settings.environment, to_database=to == "database", dry_run=dry_run)
    if output == "json":
        names = {"from": report.source, "to": report.target, "dry_run": dry_run}
        print_document(names | {"rows": dict(report.rows)})
        return Exit.DONE
    rows = ", ".join(f"{count} {table}" for table, count in report.rows.items() if count) or "nothing"
    print_lines(f"{'would copy' if dry_run else 'copied'} from {report.source} to {report.target}: {rows}")
    return Exit.DONE
