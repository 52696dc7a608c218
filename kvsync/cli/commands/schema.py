"""The command `kvsync schema`."""

from __future__ import annotations

import click

from kvsync.cli.command import GlobalOptions, command
from kvsync.cli.exit_codes import Exit
from kvsync.cli.output import answer
from kvsync.util.escaping import encode_json


@command(
    "schema",
    short_help="Print a JSON Schema.",
    examples=("schema state > .vscode/kvsync-state.json", "schema config", "schema plan"),
    exits=(Exit.DONE,),
)
@click.argument(
    "which",
    type=click.Choice(["config", "overlay", "state", "plan", "notice"]),
    metavar="{config,overlay,state,plan,notice}",
)
def schema(_settings: GlobalOptions, which: str) -> Exit:
    """Print the JSON Schema of the configuration, its overlays, state files, plan documents, or the messages of run.notify.

    To use it in an editor with a YAML language server, start the file with: # yaml-language-server: $schema=FILE
    """
    from kvsync.app.json_schema import SCHEMAS

    answer(encode_json(SCHEMAS[which](), indent=2) + "\n")
    return Exit.DONE
