"""The command `kvsync list`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from kvsync.cli import completing, options
from kvsync.cli import open as opening
from kvsync.cli.command import GlobalOptions, command
from kvsync.cli.exit_codes import Exit
from kvsync.cli.failure import print_problems
from kvsync.cli.output import print_document, print_text
from kvsync.cli.table import table
from kvsync.util.escaping import escape_text

if TYPE_CHECKING:
    from kvsync.app.owned import OwnedTarget

SCHEMA = "kvsync.list/1"


@command(
    "list",
    short_help="List the entries that kvsync owns, including orphans.",
    examples=("list", "list --orphans", "list local/web -o json"),
    exits=(Exit.DONE, Exit.ERROR),
)
@click.argument("target", metavar="[STORE[/NS]]", required=False, shell_complete=completing.targets)
@click.option("--orphans", is_flag=True, help="List only orphans: entries that no file names.")
@options.output("text", "json")
async def list(settings: GlobalOptions, target: str | None, orphans: bool, output: str) -> Exit:  # noqa: A001 - the command's name
    """List the entries that kvsync wrote and still owns, by target: where the files define each entry, and the last run that
    changed it.

    An orphan is an entry that kvsync owns and that no file defines any more, for example because its file was deleted. The list
    comes from the state directory of this machine; no store is contacted.
    """
    from kvsync.app.owned import owned_targets

    async with opening.workspace(settings, fetches=False) as workspace:
        loaded = workspace.load()
        found = owned_targets(workspace, loaded, target)
    if loaded.problems:
        print_problems(loaded.problems)
    shown = [one for one in found if one.orphans or not orphans]
    if output == "json":
        print_document({"schema": SCHEMA, "targets": [_document(one, orphans=orphans) for one in shown]})
    else:
        print_text("\n".join("".join(_text(one, orphans=orphans)) for one in shown) or _nothing(orphans=orphans))
    return Exit.DONE


def _nothing(*, orphans: bool) -> str:
    return "no orphans\n" if orphans else "kvsync owns nothing yet, according to this state directory\n"


def _text(owned: OwnedTarget, *, orphans: bool) -> Iterator[str]:
    from kvsync.rendering.words import count

    number = count(len(owned.entries), "entry", "entries")
    lost = f", {count(len(owned.orphans), 'orphan')}" if owned.orphans else ""
    yield escape_text(f"{owned.target}: {number}{lost} ({owned.place})") + "\n"
    if owned.entries:
        yield table(("key", "file", "last run"), _rows(owned, orphans=orphans), indent="  ")
    if owned.orphans:
        yield escape_text(f"  {_how_to_go_on(owned)}") + "\n"
    yield from (escape_text(f"  {_of_another(owner, held)}") + "\n" for owner, held in owned.others.items())


def _of_another(owner: str, number: int) -> str:
    from kvsync.rendering.words import count

    taking = f"kvsync transfer --from-owner {quote(owner)} takes over those that the files define"
    return f"{count(number, 'entry', 'entries')} of the previous owner {owner!r}; {taking}"


def _how_to_go_on(owned: OwnedTarget) -> str:
    from kvsync.model.plan import UnmanagedTarget
    from kvsync.rendering.words import count, orphans_unmanaged

    number = len(owned.orphans)
    if not owned.is_managed:
        return orphans_unmanaged(UnmanagedTarget(owned.target, number, owned.is_configured))
    how = "kvsync plan shows what happens to them (policy.prune); kvsync release gives up ownership"
    return f"{count(number, 'orphan')} in {owned.target}: no file names them; {how}"


def _rows(owned: OwnedTarget, *, orphans: bool) -> Iterator[Sequence[str]]:
    for entry in owned.orphans if orphans else owned.entries:
        where = str(entry.origin) if entry.origin else "orphan" if entry.is_orphan else "not known"
        yield str(entry.identity), where, entry.last_run or ""


def _document(owned: OwnedTarget, *, orphans: bool) -> dict[str, Any]:
    entries = owned.orphans if orphans else owned.entries
    return {
        "store": owned.target.store,
        "namespace": owned.target.namespace,
        "place": owned.place,
        "managed": owned.is_managed,
        "configured": owned.is_configured,
        "orphans": len(owned.orphans),
        "previous_owners": dict(owned.others),
        "entries": [
            {
                "key": entry.identity.key,
                "label": entry.identity.label,
                "origin": str(entry.origin) if entry.origin else None,
                "orphan": entry.is_orphan,
                "last_run": entry.last_run,
            }
            for entry in entries
        ],
    }
