"""Flow of `kvsync import`: asks the questions, writes configuration and state files, and adopts the entries."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from kvsync.cli import open as opening
from kvsync.cli.command import GlobalOptions
from kvsync.cli.commands.init import ignore_state_dir
from kvsync.cli.confirm import require_terminal
from kvsync.cli.exit_codes import Exit, worst
from kvsync.cli.import_adoption import adopt
from kvsync.cli.import_questions import ImportRequest, choose, confirm
from kvsync.cli.import_result import ImportResult, print_result, report_dump
from kvsync.cli.output import print_message
from kvsync.errors import InvalidInput, KvsyncError, UsageError
from kvsync.util.private_files import write_private

if TYPE_CHECKING:
    from kvsync.app import Workspace
    from kvsync.app.dump import Dumped, OmittedEntry
    from kvsync.app.survey import Survey


async def run_import(settings: GlobalOptions, request: ImportRequest) -> Exit:
    """Do it. Raises UsageError, NotApproved, InvalidInput, StoreError, StateDirError."""
    if not request.dry_run:
        require_terminal("import", yes=request.yes)
    result = ImportResult(request.store, dry_run=request.dry_run)
    text = settings.config.read_text(encoding="utf-8") if settings.config.exists() else None
    async with _opened(settings, _drafted(settings, request, text, None)) as workspace:
        survey = await _survey(workspace, request, result)
    key_format, namespaces = choose(survey, request, result)
    written = _drafted(settings, request, text, key_format)
    async with _opened(settings, written) as workspace:
        dumped, outside = await _dump(workspace, request, namespaces)
    result.take_in(request.folder, dumped, outside)
    if written is not None:
        result.configuration = str(settings.config)
    report_dump(dumped, outside, written)
    if request.dry_run:
        print_result(result, request.output)
        return Exit.PARTIAL if result.left_out else Exit.DONE
    confirm(request, f"Write {settings.config.name} and {len(result.files)} files, and take ownership?")
    _write(settings, request, dumped, written)
    code = await adopt(settings, result)
    print_result(result, request.output)
    return worst({code, Exit.PARTIAL if result.left_out else Exit.DONE})


def _drafted(settings: GlobalOptions, request: ImportRequest, text: str | None, key_format: str | None) -> str | None:
    """The configuration with the store in it; None if the store is configured already. Raises UsageError, InvalidInput."""
    from kvsync.app.importing import NewStore, owner_from, with_store

    if request.kind is None:
        if text is None:
            raise UsageError(f"{settings.config}: there is no configuration yet; use --type, and --set for its options")
        if request.key_format is not None:
            raise UsageError("--key-format is for a new store (--type); change key_format in kvsync.yaml instead")
        return None
    store = NewStore(request.store, request.kind, request.settings, request.key_format or key_format)
    return with_store(text, store, request.owner or owner_from(settings.config.resolve().parent.name))


@asynccontextmanager
async def _opened(settings: GlobalOptions, drafted: str | None) -> AsyncIterator[Workspace]:
    """The workspace of a configuration that is not written yet, or of the one on disk. Raises InvalidInput."""
    from kvsync.app.configuration import read_config
    from kvsync.app.revision import ConfigDraft

    draft = None if drafted is None else ConfigDraft(drafted.encode())
    try:
        async with opening.workspace(settings, fetches=False, revision=draft) as workspace:
            yield workspace
    except InvalidInput:
        if drafted is not None and settings.config.exists():
            read_config(settings.config, environment=settings.environment, environ=os.environ)  # has lines of its own
        if drafted is not None:
            name = settings.config.name  # without its text: a value of --set may be a secret
            print_message(f"kvsync: {name} as import would write it is invalid; correct --type, --set or --key-format")
        raise


async def _survey(workspace: Workspace, request: ImportRequest, result: ImportResult) -> Survey:
    from kvsync.app.survey import survey
    from kvsync.cli.progress import progress

    if request.store not in workspace.stores:
        known = ", ".join(workspace.stores)
        raise UsageError(f"unknown store {request.store!r}; kvsync.yaml has {known}; use --type to add it")
    with progress("looking"):
        found = await survey(workspace, request.store)
    result.key_format = workspace.stores[request.store].place(request.store).scope.template
    result.candidates = [
        {"key_format": one.key_format, "keys": one.fits, "namespaces": dict(one.namespaces)} for one in found.candidates
    ]
    return found


async def _dump(
    workspace: Workspace, request: ImportRequest, namespaces: Sequence[str]
) -> tuple[list[Dumped], Sequence[OmittedEntry]]:
    from kvsync.app.dump import dump, strays
    from kvsync.cli.progress import progress
    from kvsync.model.entry import Target

    with progress("reading"):
        managed = workspace.load().managed
        new = [name for name in namespaces if Target(request.store, name) not in managed]
        print_message(*(f"{request.store}/{name}: the files name it already" for name in namespaces if name not in new))
        found = await dump(workspace, request.store, new)
        return found, await strays(workspace, request.store, namespaces, is_all=not request.namespaces)


def _write(settings: GlobalOptions, request: ImportRequest, dumped: Sequence[Dumped], written: str | None) -> None:
    folder = settings.config.parent / request.folder
    there = [str(folder / file) for one in dumped for file in one.files if (folder / file).exists()]
    if there:
        raise KvsyncError(
            f"{', '.join(there)}: already exists, and import never overwrites files; move it, or use --to"
        )
    try:
        for one in dumped:
            for file, data in one.files.items():
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                write_private(folder / file, data)
        if written is not None:
            settings.config.write_text(written, encoding="utf-8")
            ignore_state_dir(settings.config.parent / ".gitignore")
    except OSError as error:
        raise KvsyncError(f"{error.filename}: cannot write the file: {error.strerror}") from None
