"""The command `kvsync transfer`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kvsync.cli import open as opening
from kvsync.cli import options
from kvsync.cli.command import GlobalOptions, command
from kvsync.cli.exit_codes import Exit

if TYPE_CHECKING:
    from kvsync.model.entry import Change


@command(
    "transfer",
    short_help="Take over the entries of another owner, for example after a change of owner.",
    examples=("transfer --from-owner old-team --dry-run", "transfer --from-owner old-team --yes --target edge/web"),
    exits=(Exit.DONE, Exit.ERROR, Exit.PARTIAL, Exit.REFUSED, Exit.LOCKED),
)
@click.option("--from-owner", metavar="OWNER", required=True, help="The owner whose entries are taken over.")
@options.targets
@options.keys
@options.yes
@options.dry_run
@options.output("text", "json", "markdown")
@options.full
def transfer(settings: GlobalOptions, **chosen: Any) -> Exit:
    """Mark the entries of another owner as owned by kvsync, where the files define them. No value changes: what differs from
    the files is updated by the next apply, under the guards of its policy. Entries that no file defines stay with their owner.

    A mark that the other owner made for another place or key (a copy) is not taken over. Stop the other kvsync first: it
    reports the entries as taken from then on.
    """
    from kvsync.cli.take_over import TakeoverRequest, take_over

    return opening.run(take_over(settings, TakeoverRequest("transfer", _is_taken, **chosen)))


def _is_taken(change: Change) -> bool:
    from kvsync.model.entry import Class

    return change.cause is Class.TAKEN
