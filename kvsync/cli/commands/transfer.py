"""The command `kvsync transfer`."""

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
    "transfer",
    short_help="Take over entries after a change of owner, store, namespace or key_format.",
    examples=(
        "transfer --from-owner old-team --dry-run",
        "transfer --from-owner old-team --yes --target edge/web",
        "transfer --from-key-format '{namespace}:{key}' --target edge --dry-run",
        "transfer --from-store edge-old --yes",
        "transfer --from-namespace shop-2025 --target edge/shop --yes",
    ),
    exits=(Exit.DONE, Exit.ERROR, Exit.PARTIAL, Exit.REFUSED, Exit.LOCKED, Exit.USAGE),
)
@click.option("--from-owner", metavar="OWNER", help="The owner whose entries are taken over.")
@click.option("--from-store", metavar="NAME", help="The store that has the entries now, or its former name.")
@click.option("--from-namespace", metavar="NS", help="The namespace that has the entries now.")
@click.option("--from-key-format", metavar="FORMAT", help="The key_format that the entries were written with.")
@options.targets
@options.keys
@options.one_time_change
async def transfer(settings: GlobalOptions, **chosen: Any) -> Exit:
    """Take over the entries that the files define, after a change of owner, store, namespace or key_format.

    With --from-owner, the entries of another owner are marked as owned by kvsync where they are. No value changes: the next
    apply updates the entries that differ from the files. A mark that the other owner made for another place or key (a copy) is
    not taken over. Stop the other kvsync process first. A ledger that the store keeps for the other owner is taken over as a
    whole.

    With the other options, kvsync copies the entries that it wrote at the previous place to the current one, unchanged, reads
    each copy back, and only then deletes the old entry, so readers never see a gap. If only the name of a store changed, no
    entry is written. Entries that no file defines, and entries of others, stay. With `rename_namespaces: true` in the store,
    --from-namespace renames the namespace instead, with everything in it, if no namespace has the new name yet.
    """
    from kvsync.app.relocated import FormerPlace

    former = FormerPlace(*(chosen.pop(f"from_{one}") for one in ("store", "namespace", "key_format")))
    is_moved = former != FormerPlace()
    if is_moved is (chosen["from_owner"] is not None):
        raise click.UsageError("use --from-owner, or one of --from-store, --from-namespace and --from-key-format")
    if former.namespace is not None and len(chosen["targets"]) != 1:
        raise click.UsageError("--from-namespace needs one --target STORE/NS, the namespace that the entries move to")
    if is_moved and chosen["keys"]:
        raise click.UsageError("--key can be used only with --from-owner")
    change = OneTimeChange.taken_from(chosen, settings, "transfer")
    if is_moved:
        from kvsync.cli.relocate import relocate

        return await relocate(change, former, chosen["targets"])
    from kvsync.cli.take_over import TakeoverRequest, take_over

    return await take_over(change, TakeoverRequest(_is_taken, **chosen))


def _is_taken(change: Change) -> bool:
    from kvsync.model.change import Class

    return change.cause is Class.TAKEN
