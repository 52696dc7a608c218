"""The command `kvsync schema`."""

from __future__ import annotations

import click

from kvsync.cli import options
from kvsync.cli.command import GlobalOptions, command
from kvsync.cli.edits import carry_out_edits
from kvsync.cli.exit_codes import Exit
from kvsync.cli.output import print_message, print_text
from kvsync.errors import UsageError
from kvsync.util.escaping import encode_json


@command(
    "schema",
    short_help="Print a JSON Schema, or set up editors.",
    examples=("schema --install --dry-run", "schema --install", "schema config", "schema plan"),
    exits=(Exit.DONE, Exit.ERROR, Exit.PARTIAL),
)
@click.argument(
    "which",
    required=False,
    type=click.Choice(["config", "overlay", "state", "plan", "notice"]),
    metavar="{config,overlay,state,plan,notice}",
)
@click.option(
    "--install",
    is_flag=True,
    help="Write the schemas, and the settings with which VS Code and JetBrains editors use them.",
)
@click.option("--dry-run", is_flag=True, help="With --install: show the changes and write nothing.")
@options.output("text", "json")
def schema(settings: GlobalOptions, which: str | None, *, install: bool, dry_run: bool, output: str) -> Exit:
    """Print the JSON Schema of the configuration, its overlays, state files, plan documents, or the messages of run.notify.

    With --install, editors check kvsync.yaml, its overlays and the state files: kvsync writes the schemas to .kvsync-schemas,
    and adds them to .vscode/settings.json and .idea/jsonSchemas.xml. Other settings there stay. If comments in such a file
    would be lost, kvsync leaves it unchanged and prints what to add to it. Run it again after an upgrade of kvsync.
    """
    if install == (which is not None) or (dry_run and not install):
        raise UsageError("name one schema to print, or use --install")
    if install:
        return _install(settings, output, dry_run=dry_run)
    from kvsync.app.json_schema import SCHEMAS

    print_text(encode_json(SCHEMAS[str(which)](), indent=2) + "\n")
    return Exit.DONE


def _install(settings: GlobalOptions, output: str, *, dry_run: bool) -> Exit:
    import os

    from kvsync.app.configuration import read_config
    from kvsync.app.editor_settings import editor_settings

    edits, left = editor_settings(read_config(settings.config, environment=settings.environment, environ=os.environ))
    print_message(*(f"left unchanged: {reason}" for reason in left))
    carry_out_edits(edits, dry_run=dry_run, output=output, when_none=["nothing to change"])
    return Exit.PARTIAL if left else Exit.DONE
