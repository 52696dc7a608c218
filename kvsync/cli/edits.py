"""Edits of files by a command: written, or shown with --dry-run, and reported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from kvsync.cli.output import print_document, print_lines, print_text

if TYPE_CHECKING:
    from kvsync.app.editing import Edit

SCHEMA = "kvsync.edit/1"


def carry_out_edits(
    edits: Sequence[Edit],
    *,
    dry_run: bool,
    output: str,
    when_none: Sequence[str] = (),
    shows_diff: bool = False,
    more: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Write the edits, unless `dry_run`, and report them, as text or as JSON. The text is the diff with `dry_run` or
    `shows_diff`, else the names of the files; `when_none` are the lines for no edits, `more` are members of the JSON document.
    Raises KvsyncError for a file that cannot be written."""
    from kvsync.app.editing import write_edit

    for edit in edits if not dry_run else ():
        write_edit(edit)
    diff = "".join(edit.diff for edit in edits)
    if output == "json":
        files = [edit.file for edit in edits]
        written = bool(edits) and not dry_run
        print_document({"schema": SCHEMA, "files": files, "written": written, "diff": diff, **more})
    elif not edits:
        print_lines(*when_none)
    elif dry_run or shows_diff:
        print_text(diff)
    else:
        print_lines(*(f"wrote {edit.file}" for edit in edits))
