"""The command `kvsync status`."""

from __future__ import annotations

from typing import Any

import click

from kvsync.cli import completing, options
from kvsync.cli.command import GlobalOptions, command, run
from kvsync.cli.exit_codes import Exit
from kvsync.cli.output import print_document, print_lines
from kvsync.cli.status_text import status_lines
from kvsync.errors import KvsyncError


@command(
    "status",
    short_help="Show the state of the daemon and of each target.",
    examples=("status", "status --state failing --state parked", "status --target local -o json", "status --check"),
    exits=(Exit.DONE, Exit.ERROR),
)
@options.output("text", "json")
@click.option(
    "--state",
    "states",
    metavar="STATE",
    multiple=True,
    help="Limit to targets in this state (failing, parked, paused, undone, in-sync, …); repeatable.",
    shell_complete=completing.states,
)
@options.targets
@click.option(
    "--check", is_flag=True, help="Exit with 1 unless a daemon is running and ready (for container health checks)."
)
def status(
    settings: GlobalOptions, output: str, states: tuple[str, ...], targets: tuple[str, ...], check: bool
) -> Exit:
    """Show whether a daemon is running on this state directory, and the state of each target, those that need your attention
    first. Also show parked plans (with the hash to approve), pauses, deferred and undone entries, and orphans, which are
    entries that kvsync owns and no file names. Without a daemon, the command shows the last known state. If many targets are in
    sync, they are only counted; --state in-sync lists them."""
    from kvsync.app.status import current_status, narrowed

    known = current_status(settings.config, settings.environment)
    known |= {"orphans": [], "unassigned": []} if check else run(_file_facts(settings, known["daemon"]))
    document = narrowed(known, states, targets)
    if output == "json":
        print_document(document)
    else:
        print_lines(*status_lines(document, lists_all=bool(states or targets)))
    return Exit.ERROR if check and not _is_healthy(document["daemon"]) else Exit.DONE


async def _file_facts(settings: GlobalOptions, daemon: dict[str, Any] | None) -> dict[str, Any]:
    """What the files decide; nothing where they cannot be read, as other commands say."""
    from kvsync.app.status import file_facts

    lease = daemon["lease"] if daemon is not None and daemon["running"] else None
    try:
        return await file_facts(settings.config, settings.environment, lease["shares"] if lease else {})
    except KvsyncError:
        return {"orphans": [], "unassigned": []}


def _is_healthy(daemon: dict[str, Any] | None) -> bool:
    return daemon is not None and daemon["running"] and daemon["ready"]
