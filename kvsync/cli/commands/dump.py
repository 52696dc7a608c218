"""The command `kvsync dump`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from kvsync.cli import completing, options
from kvsync.cli import open as opening
from kvsync.cli.command import GlobalOptions, command
from kvsync.cli.exit_codes import Exit
from kvsync.cli.output import print_document, print_lines, print_message
from kvsync.cli.progress import progress
from kvsync.errors import KvsyncError, UsageError
from kvsync.model.target_name import parse_target
from kvsync.util.private_files import write_private

if TYPE_CHECKING:
    from kvsync.app import Workspace
    from kvsync.app.dump import Dumped, OmittedEntry, Secrets
    from kvsync.model.entry import Identity

SCHEMA = "kvsync.dump/1"


@command(
    "dump",
    short_help="Export the entries of a store as state files.",
    examples=(
        "dump local/web --to state",
        "dump local --to state --force",
        "dump local/web --to state --sops age1…",
        "dump settings --kvset export.json --to state",
        "dump edge/web --wrangler bulk.json --to state",
    ),
    exits=(Exit.DONE, Exit.ERROR, Exit.PARTIAL),
)
@click.argument("target", metavar="STORE[/NS]", shell_complete=completing.targets)
@click.option(
    "--to", "folder", metavar="DIR", required=True, help="Folder for the state files; created if it does not exist."
)
@click.option("--force", is_flag=True, help="Overwrite existing files.")
@click.option("--include-sensitive", is_flag=True, help="Also write sensitive values, in plain text.")
@click.option(
    "--sops", "recipient", metavar="RECIPIENT", help="Encrypt sensitive values for this age, SSH or PGP key, with SOPS."
)
@click.option(
    "--kvset",
    metavar="FILE",
    help="Convert this export of the az CLI (profile appconfig/kvset) instead of reading the store.",
)
@click.option(
    "--wrangler", metavar="FILE", help="Convert this file for wrangler kv bulk put instead of reading the store."
)
@options.output("text", "json")
async def dump(settings: GlobalOptions, target: str, folder: str, **chosen: Any) -> Exit:
    """Export one namespace, or every namespace of a store, as state files that describe exactly what the store holds: a plan
    made immediately afterwards changes no content. Run kvsync adopt to take ownership of entries without an owner.

    Entries that cannot be written are listed with the reason, and the exit code is 3: keys that do not fit key_format, and
    entries that validate would refuse. Entries of another owner, and those that match policy.ignore, are left out and listed
    too, without a change of the exit code.

    Sensitive values are not written. Their entries refer to environment variables, which the output lists. With --sops, they
    are encrypted into a file next to the state file instead. The output also names other values that look like secrets.
    """
    request = _DumpRequest(target, Path(folder), **chosen)
    if request.kvset is not None and request.wrangler is not None:
        raise UsageError("--kvset and --wrangler cannot be combined; use one of them")
    if request.recipient is not None and request.include_sensitive:
        raise UsageError("--sops and --include-sensitive cannot be combined; use one of them")
    return await _dump(settings, request)


class _DumpRequest(NamedTuple):
    """What is to be dumped, where to, and how; `kvset` and `wrangler` are the files that it comes from instead of the store."""

    target: str
    folder: Path
    force: bool
    include_sensitive: bool
    recipient: str | None
    kvset: str | None
    wrangler: str | None
    output: str


class _Found(NamedTuple):
    """What was dumped, and the keys that belong to no namespace."""

    dumped: list[Dumped]
    outside_namespace: Sequence[OmittedEntry]


async def _dump(settings: GlobalOptions, request: _DumpRequest) -> Exit:
    async with opening.workspace(settings, fetches=False) as workspace:
        store, namespace = parse_target(request.target, workspace.config.stores)
        workspace.load()  # so that sensitive values are known, and hidden
        if request.kvset is None and request.wrangler is None:
            found = await _read(workspace, request, store, namespace)
        else:
            found = _convert(workspace, request, store, namespace)
    _require_new_files(request.folder, found.dumped, force=request.force)
    for one in found.dumped:
        _write(request.folder, one)
    if request.output == "json":
        print_document(_document(request.folder, store, found))
    else:
        print_lines(*_lines(request, store, found))
    return Exit.PARTIAL if found.outside_namespace or any(one.left_out for one in found.dumped) else Exit.DONE


async def _read(workspace: Workspace, request: _DumpRequest, store: str, namespace: str | None) -> _Found:
    from kvsync.app.dump import dump as read
    from kvsync.app.dump import strays

    with progress("reading"):
        names = await workspace.stores[store].namespaces() if namespace is None else [namespace]
        dumped = await read(workspace, store, names, _secrets(workspace, request))
        return _Found(dumped, await strays(workspace, store, names, is_all=namespace is None))


def _secrets(workspace: Workspace, request: _DumpRequest) -> Secrets:
    from kvsync.app.dump import Encryption, Secrets

    encryption = None if request.recipient is None else Encryption(request.recipient, workspace.config.sops)
    return Secrets(request.include_sensitive, encryption)


def _convert(workspace: Workspace, request: _DumpRequest, store: str, namespace: str | None) -> _Found:
    from kvsync.app.dump import OmittedEntry, convert
    from kvsync.app.dump.kvset import Kvset, read_kvset
    from kvsync.app.dump.wrangler import BulkFile, read_bulk
    from kvsync.model.entry import Identity

    config, owner = workspace.config.stores[store], workspace.config.owner
    file = Path(request.kvset or request.wrangler or "")
    found: Kvset | BulkFile = (read_kvset if request.kvset else read_bulk)(file, config, namespace, owner)
    if request.kvset and namespace and found.outside_namespace:
        print_message(f"{len(found.outside_namespace):,} keys of {file} belong to other namespaces")
    left_out = () if request.kvset and namespace else found.outside_namespace
    outside_namespace = [OmittedEntry(Identity(key), "its key does not fit key_format") for key in left_out]
    return _Found(convert(workspace, found.entries, _secrets(workspace, request)), outside_namespace)


def _require_new_files(folder: Path, dumped: list[Dumped], *, force: bool) -> None:
    there = [str(folder / file) for one in dumped for file in one.files if (folder / file).exists()]
    if there and not force:
        raise KvsyncError(f"{', '.join(there)}: already exists; use --force to overwrite, or choose another folder")


def _write(folder: Path, dumped: Dumped) -> None:
    for relative, data in dumped.files.items():
        file = folder / relative
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            write_private(file, data)
        except OSError as error:
            raise KvsyncError(f"{file}: cannot write the file: {error.strerror}") from None


def _lines(request: _DumpRequest, store: str, found: _Found) -> Iterator[str]:
    from kvsync.rendering.words import count

    for one in found.dumped:
        yield from (f"wrote {request.folder / file}" for file in one.files if file.endswith((".yaml", ".sops.json")))
        yield from _report(one)
    if found.outside_namespace:
        yield f"{store}: {count(len(found.outside_namespace), 'key')} in no namespace, not written:"
        yield from map(_left_out_line, found.outside_namespace)
    if not found.outside_namespace and not any(one.files or one.left_out or one.passed_over for one in found.dumped):
        yield f"{request.target}: nothing to dump"


def _report(dumped: Dumped) -> Iterator[str]:
    from kvsync.rendering.words import count, name

    if dumped.entries or dumped.left_out:
        yield f"{dumped.target}: {count(dumped.entries, 'entry', 'entries')} written"
    for entries, what in ((dumped.left_out, "not written"), (dumped.passed_over, "left out")):
        if entries:
            yield f"{dumped.target}: {count(len(entries), 'entry', 'entries')} {what}:"
            yield from map(_left_out_line, entries)
    if dumped.variables:
        yield f"{dumped.target}: sensitive values were not written; {_how_to_give(list(dumped.variables))}"
    if dumped.encrypted:
        number = count(len(dumped.encrypted), "sensitive value was", "sensitive values were")
        yield f"{dumped.target}: {number} encrypted with SOPS"
    if dumped.suspects:
        some = ", ".join(map(name, dumped.suspects))
        number = count(len(dumped.suspects), "value looks like a secret", "values look like secrets")
        yield f"{dumped.target}: {number}: {some}; check them before you commit the files"


def _left_out_line(one: OmittedEntry) -> str:
    from kvsync.rendering.words import name

    return f"  - {name(one.identity)}: {one.reason}"


def _how_to_give(variables: Sequence[str]) -> str:
    names = ", ".join(variables)
    return f"set {names} in the environment of kvsync, and allow them in kvsync.yaml: authors: {{env: [{names}]}}"


def _document(folder: Path, store: str, found: _Found) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "store": store,
        "targets": [_target_document(folder, one) for one in found.dumped],
        "left_out": list(map(_left_out_document, found.outside_namespace)),
    }


def _target_document(folder: Path, dumped: Dumped) -> dict[str, Any]:
    return {
        "store": dumped.target.store,
        "namespace": dumped.target.namespace,
        "files": [str(folder / file) for file in dumped.files],
        "entries": dumped.entries,
        "left_out": list(map(_left_out_document, dumped.left_out)),
        "passed_over": list(map(_left_out_document, dumped.passed_over)),
        "variables": {variable: _identity_document(identity) for variable, identity in dumped.variables.items()},
        "encrypted": list(map(_identity_document, dumped.encrypted)),
        "suspects": list(map(_identity_document, dumped.suspects)),
    }


def _left_out_document(one: OmittedEntry) -> dict[str, Any]:
    return {**_identity_document(one.identity), "reason": one.reason}


def _identity_document(identity: Identity) -> dict[str, Any]:
    return {"key": identity.key, "label": identity.label}
