"""The command `kvsync dump`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kvsync.cli import open as opening
from kvsync.cli.command import GlobalOptions, command
from kvsync.cli.exit_codes import Exit
from kvsync.cli.output import answer_lines, say
from kvsync.cli.progress import progress
from kvsync.errors import KvsyncError, UsageError
from kvsync.model.target_name import parse_target
from kvsync.util.private_files import write_private

if TYPE_CHECKING:
    from kvsync.app import Workspace
    from kvsync.app.dump import Dumped


@command(
    "dump",
    short_help="Export the entries of a store as state files.",
    examples=(
        "dump local/web --to state",
        "dump local --to state --force",
        "dump settings --kvset export.json --to state",
        "dump edge/web --wrangler bulk.json --to state",
    ),
    exits=(Exit.DONE, Exit.ERROR),
)
@click.argument("target", metavar="STORE[/NS]")
@click.option(
    "--to", "folder", metavar="DIR", required=True, help="Folder for the state files; created if it does not exist."
)
@click.option("--force", is_flag=True, help="Overwrite existing files.")
@click.option("--include-sensitive", is_flag=True, help="Also write sensitive values, in plain text.")
@click.option("--kvset", metavar="FILE", help="Convert an export of the az CLI (profile appconfig/kvset) instead.")
@click.option("--wrangler", metavar="FILE", help="Convert a file for wrangler kv bulk put instead.")
def dump(settings: GlobalOptions, target: str, folder: str, **chosen: Any) -> Exit:
    """Export one namespace, or every namespace of a store, as state files that describe exactly what the store holds: a plan
    made right afterwards is empty. Run kvsync adopt to take ownership of entries without an owner. Entries of another owner
    are left out.

    Sensitive values are not written. Their entries refer to environment variables, which the output lists.
    """
    given = _DumpOptions(**chosen)
    if given.kvset is not None and given.wrangler is not None:
        raise UsageError("--kvset and --wrangler cannot be combined; use one of them")
    return opening.run(_dump(settings, target, Path(folder), given))


@dataclass(frozen=True, slots=True)
class _DumpOptions:
    """How to export; `kvset` or `wrangler` is the file that the entries come from instead of the store, if any."""

    force: bool
    include_sensitive: bool
    kvset: str | None
    wrangler: str | None


async def _dump(settings: GlobalOptions, target: str, folder: Path, given: _DumpOptions) -> Exit:
    async with opening.workspace(settings, fetches=False) as workspace:
        store, namespace = parse_target(target, workspace.config.stores)
        workspace.load()  # so that sensitive values are known, and hidden
        if given.kvset is None and given.wrangler is None:
            dumped = await _read(workspace, store, namespace, given.include_sensitive)
        else:
            dumped = _convert(workspace, given, store, namespace)
    _insist_on_room(folder, dumped, force=given.force)
    for one in dumped:
        _write(folder, one)
        _tell(folder, one)
    if not any(one.files for one in dumped):
        answer_lines(f"{target}: nothing to dump")
    return Exit.DONE


async def _read(workspace: Workspace, store: str, namespace: str | None, include_sensitive: bool) -> list[Dumped]:
    from kvsync.app.dump import dump as read

    with progress("reading"):
        names = await workspace.stores[store].namespaces() if namespace is None else [namespace]
        return await read(workspace, store, names, include_sensitive=include_sensitive)


def _convert(workspace: Workspace, given: _DumpOptions, store: str, namespace: str | None) -> list[Dumped]:
    from kvsync.app.dump import convert
    from kvsync.app.dump.kvset import Kvset, read_kvset
    from kvsync.app.dump.wrangler import Bulk, read_bulk

    config, owner = workspace.config.stores[store], workspace.config.owner
    file = Path(given.kvset or given.wrangler or "")
    found: Kvset | Bulk = (read_kvset if given.kvset else read_bulk)(file, config, namespace, owner)
    if found.outside_namespace:
        some = ", ".join(repr(key) for key in found.outside_namespace[:3])
        say(
            f"{len(found.outside_namespace):,} keys of {file} do not belong to the namespace and were left out, such as {some}"
        )
    return convert(workspace, found.entries, include_sensitive=given.include_sensitive)


def _insist_on_room(folder: Path, dumped: list[Dumped], *, force: bool) -> None:
    there = [str(folder / name) for one in dumped for name in one.files if (folder / name).exists()]
    if there and not force:
        raise KvsyncError(f"{', '.join(there)}: already exists; use --force to overwrite, or choose another folder")


def _write(folder: Path, dumped: Dumped) -> None:
    for name, data in dumped.files.items():
        file = folder / name
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            write_private(file, data)
        except OSError as error:
            raise KvsyncError(f"{file}: cannot write the file: {error.strerror}") from None


def _tell(folder: Path, dumped: Dumped) -> None:
    for name in dumped.files:
        if name.endswith(".yaml"):
            answer_lines(f"wrote {folder / name}")
    say_if = (
        (dumped.variables, f"sensitive values were not written; {_how_to_give(dumped.variables)}"),
        (dumped.others, f"{dumped.others:,} entries of another owner were left out"),
        (dumped.ignored, f"{dumped.ignored:,} entries that match policy.ignore were left out"),
    )
    for is_so, text in say_if:
        if is_so:
            say(f"{dumped.target}: {text}")


def _how_to_give(variables: Sequence[str]) -> str:
    names = ", ".join(variables)
    return f"set {names} in the environment of kvsync, and allow them in kvsync.yaml: authors: {{env: [{names}]}}"
