"""The command `kvsync fmt`."""

from __future__ import annotations

from typing import Any

import click

from kvsync.cli import open as opening
from kvsync.cli import options
from kvsync.cli.command import GlobalOptions, command
from kvsync.cli.exit_codes import Exit
from kvsync.cli.output import answer, answer_document, answer_lines, say

SCHEMA = "kvsync.edit/1"


@command(
    "fmt",
    short_help="Lay out the configuration and the state files.",
    examples=("fmt --dry-run", "fmt"),
    exits=(Exit.DONE, Exit.ERROR, Exit.PENDING),
)
@click.option("--dry-run", is_flag=True, help="Show the changes and write nothing; exit with 2 if there are any.")
@options.output("text", "json")
def fmt(settings: GlobalOptions, **chosen: Any) -> Exit:
    """Give kvsync.yaml, its overlays and the state files of all environments the same layout: two blanks for each level, and
    one between tokens. Comments, order, quotes and values stay. Encrypted files are left alone.
    """
    return opening.run(_fmt(settings, **chosen))


async def _fmt(settings: GlobalOptions, *, dry_run: bool, output: str) -> Exit:
    from kvsync.app.editing import formatted_files, write_edit

    async with opening.workspace(settings, fetches=False) as workspace:
        edits, left = formatted_files(workspace)
    for edit in edits if not dry_run else ():
        write_edit(edit)
    say(*(f"left unchanged: {reason}" for reason in left))
    if output == "json":
        diff, files = "".join(edit.diff for edit in edits), [edit.file for edit in edits]
        answer_document({"schema": SCHEMA, "files": files, "written": bool(edits) and not dry_run, "diff": diff})
    elif dry_run:
        answer("".join(edit.diff for edit in edits))
    else:
        answer_lines(*(f"wrote {edit.file}" for edit in edits))
    return Exit.PENDING if dry_run and edits else Exit.DONE
