"""The command `kvsync fmt`."""

from __future__ import annotations

from typing import Any

import click

from kvsync.cli import open as opening
from kvsync.cli import options
from kvsync.cli.command import GlobalOptions, command
from kvsync.cli.edits import carry_out_edits
from kvsync.cli.exit_codes import Exit
from kvsync.cli.output import print_message


@command(
    "fmt",
    short_help="Format the configuration and the state files.",
    examples=("fmt --dry-run", "fmt"),
    exits=(Exit.DONE, Exit.ERROR, Exit.PENDING),
)
@click.option("--dry-run", is_flag=True, help="Show the changes and write nothing; exit with 2 if there are any.")
@options.output("text", "json")
async def fmt(settings: GlobalOptions, **chosen: Any) -> Exit:
    """Give kvsync.yaml, its overlays and the state files of all environments the same layout: two spaces for each level, and
    one space between tokens. Comments, order, quotes and values stay. Encrypted files are left unchanged."""
    return await _fmt(settings, **chosen)


async def _fmt(settings: GlobalOptions, *, dry_run: bool, output: str) -> Exit:
    from kvsync.app.editing import formatted_files

    async with opening.workspace(settings, fetches=False) as workspace:
        edits, left = formatted_files(workspace)
    print_message(*(f"left unchanged: {reason}" for reason in left))
    carry_out_edits(edits, dry_run=dry_run, output=output)
    return Exit.PENDING if dry_run and edits else Exit.DONE
