"""The command `kvsync import`."""

from __future__ import annotations

from typing import Any

import click

from kvsync.cli import completing, options
from kvsync.cli.command import GlobalOptions, command
from kvsync.cli.exit_codes import Exit


@command(
    "import",
    short_help="Import a store that already has entries, and take ownership of them.",
    examples=(
        "import settings --type azure-appconfig --set connection_string=env:AZURE_APPCONFIG_CONNECTION_STRING",
        "import edge --dry-run",
        "import edge --namespace web --namespace shop --yes",
        "import settings --key-format '{namespace}/{key}' --yes -o json",
    ),
    exits=(Exit.DONE, Exit.ERROR, Exit.PENDING, Exit.PARTIAL, Exit.REFUSED, Exit.LOCKED, Exit.USAGE),
)
@click.argument("store", shell_complete=completing.stores)
@click.option("--type", "kind", metavar="TYPE", help="Type of a store that is not in kvsync.yaml yet (kvsync stores).")
@click.option(
    "--set",
    "settings",
    metavar="NAME=VALUE",
    multiple=True,
    help="Option of the new store; env:NAME refers to a secret.",
)
@click.option("--owner", metavar="ID", help="Owner for a new kvsync.yaml (the name of its folder).")
@click.option("--key-format", metavar="FORMAT", help="The key_format of the new store (the one that fits best).")
@click.option("--namespace", "namespaces", metavar="NS", multiple=True, help="Import this namespace; repeatable (all).")
@click.option("--to", "folder", metavar="DIR", default="state", help="Folder for the state files (state).")
@options.yes
@options.dry_run
@options.output("text", "json")
async def import_(global_options: GlobalOptions, store: str, **chosen: Any) -> Exit:
    """Read what STORE holds, choose namespaces and key_format, write kvsync.yaml and state files, take ownership of the
    entries, and check that the plan is empty afterwards. No value in the store changes.

    On a terminal, kvsync suggests each choice and asks; the options answer in advance. With --dry-run, nothing is written.
    Existing files are never overwritten. Entries that cannot be imported are listed with the reason, and the exit code is 3.
    """
    from kvsync.cli.import_questions import ImportRequest
    from kvsync.cli.importing import run_import

    return await run_import(global_options, ImportRequest(store, **chosen))
