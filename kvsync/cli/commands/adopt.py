"""The command `kvsync adopt`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvsync.cli import open as opening
from kvsync.cli import options
from kvsync.cli.command import GlobalOptions, command
from kvsync.cli.exit_codes import Exit
from kvsync.cli.one_time import OneTimeChange

if TYPE_CHECKING:
    from kvsync.model.change import Change


@command(
    "adopt",
    short_help="Take ownership of existing entries that match the files.",
    examples=("adopt --dry-run", "adopt --yes --target local/web"),
    exits=(Exit.DONE, Exit.ERROR, Exit.PARTIAL, Exit.REFUSED, Exit.LOCKED),
)
@options.targets
@options.keys
@options.yes
@options.dry_run
@options.output("text", "json", "markdown")
@options.full
def adopt(settings: GlobalOptions, **chosen: Any) -> Exit:
    """Mark entries as owned by kvsync if they have no owner and match the files, regardless of policy.adopt. Entries whose
    mark is lost, or was made by an earlier version or with an earlier owner key, are marked again. No value changes.

    The plan is shown first. Entries that differ from the files, are locked, or belong to another owner are left unchanged and
    listed; kvsync transfer takes over those of another owner.
    """
    from kvsync.cli.take_over import TakeoverRequest, take_over

    change = OneTimeChange.taken_from(chosen, settings, "adopt")
    return opening.run(take_over(change, TakeoverRequest(_is_adoption, **chosen)))


def _is_adoption(change: Change) -> bool:
    from kvsync.model.change import Action

    return change.action is Action.ADOPT
