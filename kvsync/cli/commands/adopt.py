"""The command `kvsync adopt`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kvsync.cli import options
from kvsync.cli.command import GlobalOptions, command
from kvsync.cli.exit_codes import Exit
from kvsync.cli.one_time import OneTimeChange

if TYPE_CHECKING:
    from kvsync.model.change import Change


@command(
    "adopt",
    short_help="Take ownership of existing entries that match the files.",
    examples=("adopt --dry-run", "adopt --yes --target local/web", "adopt --write --target local/web --dry-run"),
    exits=(Exit.DONE, Exit.ERROR, Exit.PARTIAL, Exit.REFUSED, Exit.LOCKED),
)
@click.option("--write", is_flag=True, help="Update the files instead, so that they match the stores.")
@options.targets
@options.keys
@options.one_time_change
async def adopt(settings: GlobalOptions, write: bool, **chosen: Any) -> Exit:
    """Mark entries as owned by kvsync if they have no owner and match the files, regardless of policy.adopt. Entries whose mark
    is lost, or was made by an earlier version or with an earlier owner key, are marked again. No value changes.

    The plan is shown first. Entries that differ from the files, are locked, or belong to another owner are left unchanged and
    listed; kvsync transfer takes over those of another owner.

    With --write, the stores stay unchanged. Entries that differ from the files are written into them: value, content type,
    tags, metadata, description and lifetime, in the file or overlay that defines the entry. Comments, order and layout stay.
    The change is shown as a diff; review and commit it. Sensitive entries, values that look like secrets, and values that come
    from elsewhere (file, env, sops, template) are listed, not written.
    """
    if write:
        from kvsync.cli.adopt_files import AdoptionRequest, adopt_files

        wanted = AdoptionRequest(chosen["targets"], chosen["keys"], chosen["dry_run"], chosen["output"])
        return await adopt_files(settings, wanted)
    from kvsync.cli.take_over import TakeoverRequest, take_over

    change = OneTimeChange.taken_from(chosen, settings, "adopt")
    return await take_over(change, TakeoverRequest(_is_adoption, **chosen))


def _is_adoption(change: Change) -> bool:
    from kvsync.model.change import Action

    return change.action is Action.ADOPT
