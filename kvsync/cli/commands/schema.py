"""The command `kvsync schema`."""

from __future__ import annotations

import click

from kvsync.cli import options
from kvsync.cli.command import GlobalOptions, command
from kvsync.cli.exit_codes import Exit
from kvsync.cli.output import answer, answer_document, answer_lines, say
from kvsync.errors import UsageError
from kvsync.util.escaping import encode_json

SCHEMA = "kvsync.edit/1"


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
    "--install", is_flag=True, help="Write schemas, and the settings of VS Code and JetBrains editors that use them."
)
@click.option("--dry-run", is_flag=True, help="With --install: show the changes and write nothing.")
@options.output("text", "json")
def schema(settings: GlobalOptions, which: str | None, *, install: bool, dry_run: bool, output: str) -> Exit:
    """Print the JSON Schema of the configuration, its overlays, state files, plan documents, or the messages of run.notify.

    With --install, editors check kvsync.yaml, its overlays and the state files: the schemas are written to .kvsync-schemas,
    and added to .vscode/settings.json and .idea/jsonSchemas.xml. Other settings there stay; a file whose comments would be
    lost is left unchanged, with what to add to it. Run it again after an upgrade of kvsync.
    """
    if install == (which is not None) or (dry_run and not install):
        raise UsageError("name one schema to print, or use --install")
    if install:
        return _install(settings, output, dry_run=dry_run)
    from kvsync.app.json_schema import SCHEMAS

    answer(encode_json(SCHEMAS[str(which)](), indent=2) + "\n")
    return Exit.DONE


def _install(settings: GlobalOptions, output: str, *, dry_run: bool) -> Exit:
    import os

    from kvsync.app.configuration import read_config
    from kvsync.app.editing import write_edit
    from kvsync.app.editor_settings import editor_settings

    edits, left = editor_settings(read_config(settings.config, environment=settings.environment, environ=os.environ))
    for edit in edits if not dry_run else ():
        write_edit(edit)
    say(*(f"left unchanged: {reason}" for reason in left))
    if output == "json":
        diff, files = "".join(edit.diff for edit in edits), [edit.file for edit in edits]
        answer_document({"schema": SCHEMA, "files": files, "written": bool(edits) and not dry_run, "diff": diff})
    elif dry_run:
        answer("".join(edit.diff for edit in edits))
    else:
        answer_lines(*([f"wrote {edit.file}" for edit in edits] or ["nothing to change"]))
    return Exit.PARTIAL if left else Exit.DONE
