"""Writes what the stores hold into the files: `adopt --write`, shown as a diff."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from kvsync.cli import open as opening
from kvsync.cli.command import GlobalOptions
from kvsync.cli.edits import carry_out_edits
from kvsync.cli.exit_codes import Exit, worst
from kvsync.cli.output import print_message
from kvsync.errors import UsageError

if TYPE_CHECKING:
    from kvsync.app.editing import LeftEntry


class AdoptionRequest(NamedTuple):
    """What to write into the files, and how to answer."""

    targets: tuple[str, ...]
    keys: tuple[str, ...]
    dry_run: bool
    output: str


async def adopt_files(settings: GlobalOptions, request: AdoptionRequest) -> Exit:
    """Compare, change the files, and show how. Raises StoreError, UsageError, KvsyncError."""
    from kvsync.app.editing import adopt_into_files
    from kvsync.rendering.words import name

    if request.output == "markdown":
        raise UsageError("--write prints a diff; use -o text or -o json")
    async with opening.workspace(settings) as workspace:
        loaded = opening.load(workspace)
        found = await adopt_into_files(workspace, loaded, request.targets, request.keys)
    print_message(*(f"left unchanged: {one.target}/{name(one.identity)}: {one.reason}" for one in found.left))
    carry_out_edits(
        found.edits,
        dry_run=request.dry_run,
        output=request.output,
        when_none=() if found.left or loaded.problems else ["the files already match the stores; nothing to change"],
        shows_diff=True,
        more={"left": list(map(_document, found.left))},
    )
    return worst({Exit.PARTIAL if found.left else Exit.DONE, Exit.INVALID if loaded.problems else Exit.DONE})


def _document(one: LeftEntry) -> dict[str, Any]:
    return {
        "store": one.target.store,
        "namespace": one.target.namespace,
        "key": one.identity.key,
        "label": one.identity.label,
        "reason": one.reason,
    }
