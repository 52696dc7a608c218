"""`kvsync schema`."""

from __future__ import annotations

import click

from kvsync.cli.command import GlobalOptions, command
from kvsync.cli.exit_codes import Exit
from kvsync.cli.output import answer
from kvsync.util.escaping import encode_json


@command(
    "schema",
    short_help="Print a JSON Schema, for editors and programs.",
    examples=("schema state > .vscode/kvsync-state.json", "schema config", "schema plan"),
    exits=(Exit.DONE,),
)
@click.argument("which", type=click.Choice(["config", "state", "plan", "notice"]), metavar="{config,state,plan,notice}")
def schema(_settings: GlobalOptions, which: str) -> Exit:
    """Print the JSON Schema of the configuration, of state files, of the plan document, or of the messages of run.notify.

    An editor with a YAML language server uses it when the file begins with: # yaml-language-server: $schema=FILE
    """
    from kvsync.app.json_schema import SCHEMAS

    answer(encode_json(SCHEMAS[which](), indent=2) + "\n")
    return Exit.DONE
