"""The command `kvsync set`."""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

import click

from kvsync.cli import completing, options
from kvsync.cli import open as opening
from kvsync.cli.command import GlobalOptions, command
from kvsync.cli.edits import carry_out_edits
from kvsync.cli.exit_codes import Exit
from kvsync.errors import UsageError
from kvsync.model.entry import Identity
from kvsync.model.target_name import parse_target

_MOST_BYTES = 10 * 1024 * 1024


@command(
    "set",
    short_help="Change a value in its state file.",
    examples=(
        "set local/web timeout 45",
        "set local/web limits '{\"rps\": 20}' --json --dry-run",
        "set local/web theme dark --label prod",
        "set local/web theme dark --tag team=web --content-type text/plain",
    ),
    exits=(Exit.DONE, Exit.ERROR),
)
@click.argument("target", metavar="STORE/NS", shell_complete=completing.targets)
@click.argument("key", shell_complete=completing.keys)
@click.argument("value")
@click.option("--label", metavar="LABEL", help="Change the entry under this label.")
@click.option("--description", metavar="TEXT", help="Also change the description of the entry.")
@click.option(
    "--ttl", metavar="DURATION", help="Also change the lifetime of the entry (7d, 1h30m; none: it does not expire)."
)
@click.option("--expires-at", metavar="MOMENT", help="Also change when the entry expires (2026-12-24T00:00:00Z).")
@click.option("--content-type", metavar="TYPE", help="Also change the content type of the entry.")
@click.option("--tag", "tags", metavar="NAME=TEXT", multiple=True, help="Also set a tag of the entry; repeatable.")
@click.option("--remove-tag", "gone_tags", metavar="NAME", multiple=True, help="Remove a tag of the entry; repeatable.")
@click.option("--metadata", metavar="JSON", help="Also change the metadata of the entry.")
@click.option("--json", "is_json", is_flag=True, help="Parse VALUE as JSON instead of text.")
@click.option("--dry-run", is_flag=True, help="Show the change and write nothing.")
@options.output("text", "json")
async def set(settings: GlobalOptions, target: str, key: str, value: str, **chosen: Any) -> Exit:  # noqa: A001  # the command's name
    """Change the value of KEY in the state file, or in the overlay of the current environment, that defines it. A key that no
    file defines is added to the file of the target. VALUE is text; - reads it from standard input.

    Only that entry changes: comments, order and layout stay. The change is shown as a diff; review and commit it. No store is
    contacted. Sensitive entries are refused, and so are entries whose value comes from elsewhere (file, env, sops, template).
    """
    return await _set(settings, _SetRequest(target, key, value, **chosen))


class _SetRequest(NamedTuple):
    """What to set."""

    target: str
    key: str
    value: str
    label: str | None
    description: str | None
    ttl: str | None
    expires_at: str | None
    content_type: str | None
    tags: tuple[str, ...]
    gone_tags: tuple[str, ...]
    metadata: str | None
    is_json: bool
    dry_run: bool
    output: str


async def _set(settings: GlobalOptions, request: _SetRequest) -> Exit:
    from kvsync.app.editing import EntryEdit, edit_entry, given_lifetime, given_metadata, given_tags
    from kvsync.model.entry import Target

    async with opening.workspace(settings, fetches=False) as workspace:
        store, namespace = parse_target(request.target, workspace.config.stores)
        if namespace is None:
            raise UsageError(f"{request.target}: name a namespace too, as STORE/NS")
        identity = Identity(request.key, request.label)
        given = {"description": request.description, "content_type": request.content_type}
        options = {name: text for name, text in given.items() if text is not None}
        fields = {**given_lifetime(request.ttl, request.expires_at), **given_metadata(request.metadata)}
        tags = given_tags(request.tags, request.gone_tags)
        wanted = EntryEdit(
            *(Target(store, namespace), identity, _value(request), request.is_json, options, tags), fields=fields
        )
        edit = edit_entry(workspace, wanted)
    unchanged = [f"{edit.file}: the file already has this value; nothing to change"]
    edits = [edit] if edit.diff else []
    carry_out_edits(edits, dry_run=request.dry_run, output=request.output, when_none=unchanged, shows_diff=True)
    return Exit.DONE


def _value(request: _SetRequest) -> str:
    if request.value != "-":
        return request.value
    data = sys.stdin.buffer.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise UsageError("the value on standard input has more than 10 MiB")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise UsageError("the value on standard input is not UTF-8 text") from None
