"""The command `kvsync explain`."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

import click

from kvsync.cli import code_explanation, completing, options
from kvsync.cli import open as opening
from kvsync.cli.command import GlobalOptions, command
from kvsync.cli.exit_codes import Exit
from kvsync.cli.explanation import explanation_document, explanation_lines
from kvsync.cli.output import print_document, print_lines
from kvsync.errors import KvsyncError, UsageError
from kvsync.util.escaping import escape_name

if TYPE_CHECKING:
    from kvsync.app import DesiredState

SCHEMA: Final = "kvsync.explanation/1"


@command(
    "explain",
    short_help="Show why an entry has its planned action, or what an error code means.",
    examples=(
        "explain greeting",
        "explain theme --label prod --target local/web",
        "explain greeting -o json",
        "explain KV1203",
    ),
    exits=(Exit.DONE, Exit.ERROR),
)
@click.argument("key", shell_complete=completing.keys)
@click.option("--label", metavar="LABEL", help="Limit to the entry with this label.")
@options.targets
@options.output("text", "json")
async def explain(settings: GlobalOptions, key: str, label: str | None, targets: tuple[str, ...], output: str) -> Exit:
    """Show everything that kvsync knows about KEY: where the files define it, what the store holds, what was last applied, the
    planned action and its reason, which policy setting decides, and the last runs that changed it.

    If KEY is an error code such as KV1203, show its cause and remedy instead. With --label or --target, KEY is always a key.
    """
    may_be_code = label is None and not targets and code_explanation.is_like_code(key)
    code = code_explanation.find_code(key) if may_be_code else None
    if code is not None:
        return code_explanation.explain_code(code, as_json=output == "json")
    if may_be_code and not settings.config.exists():  # without files, it cannot be a key
        raise UsageError(code_explanation.unknown_code(key))
    return await _explain(settings, key, label, targets, output)


async def _explain(settings: GlobalOptions, key: str, label: str | None, targets: tuple[str, ...], output: str) -> Exit:
    from kvsync.app.explain import explain as ask

    async with opening.workspace(settings) as workspace:
        loaded = opening.load(workspace)
        found = await ask(workspace, loaded, key, label, targets)
        owner, seal, environment = workspace.config.owner, workspace.state.seal, workspace.config.environment
    if not found:
        raise KvsyncError(_unknown(key, label, loaded))
    if output == "json":
        entries = [explanation_document(one, owner, seal) for one in found]
        print_document({"schema": SCHEMA, "key": key, "environment": environment, "entries": entries})
    else:
        print_lines(
            *([f"environment: {escape_name(environment)}", ""] if environment else []), *explanation_lines(found, owner)
        )
    broken = any(one.error for one in found)
    return Exit.INVALID if loaded.problems else Exit.ERROR if broken else Exit.DONE


def _unknown(key: str, label: str | None, loaded: DesiredState) -> str:
    keys = {identity.key for desired in loaded.targets.values() for identity in desired.entries}
    near = [repr(one) for one in get_close_matches(key, keys, 3) if one != key]
    hint = f"; did you mean {', '.join(near[:-1])}{' or ' * (len(near) > 1)}{near[-1]}?" if near else ""
    if not hint and label is None and code_explanation.is_like_code(key):
        hint = f"; {code_explanation.unknown_code(key)}"
    with_label = f" with label {label!r}" if label is not None else ""
    return f"no such key in the files or the stores: {key!r}{with_label}{hint}"
