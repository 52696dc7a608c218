"""Guides a person, or a script, from a store that holds entries to a repository that owns them."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kvsync.cli import open as opening
from kvsync.cli.command import GlobalOptions
from kvsync.cli.commands.init import ignore_state_dir
from kvsync.cli.confirm import insist_on_terminal
from kvsync.cli.exit_codes import Exit, worst
from kvsync.cli.output import answer_document, answer_lines, say, say_block
from kvsync.errors import KvsyncError, NotApproved, UsageError
from kvsync.util.escaping import escape_text
from kvsync.util.private_files import write_private

if TYPE_CHECKING:
    from kvsync.app import Workspace
    from kvsync.app.dump import Dumped, LeftOut
    from kvsync.app.survey import Survey

SCHEMA = "kvsync.import/1"
_STAGED = ".kvsync-import.yaml"
_MOST_SHOWN = 20


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """What to import, and what was decided in advance."""

    store: str
    kind: str | None
    settings: tuple[str, ...]
    owner: str | None
    key_format: str | None
    namespaces: tuple[str, ...]
    folder: str
    yes: bool
    dry_run: bool
    output: str

    @property
    def asks(self) -> bool:
        """True when a person can be asked."""
        return not self.yes and not self.dry_run and self.output == "text" and sys.stdin.isatty()


@dataclass(slots=True)
class _ImportResult:
    """What an import came to, as its JSON document tells it."""

    store: str
    key_format: str | None = None
    candidates: list[dict[str, Any]] = field(default_factory=list)
    namespaces: list[str] = field(default_factory=list)
    configuration: str | None = None
    files: list[str] = field(default_factory=list)
    entries: int = 0
    left_out: list[dict[str, Any]] = field(default_factory=list)
    suspects: list[dict[str, Any]] = field(default_factory=list)
    adopted: int = 0
    pending: dict[str, int] = field(default_factory=dict)
    refused: list[dict[str, Any]] = field(default_factory=list)
    dry_run: bool = False


async def run_import(settings: GlobalOptions, request: ImportRequest) -> Exit:
    """Do it. Raises UsageError, NotApproved, InvalidInput, StoreError, StateDirError."""
    if not request.dry_run:
        insist_on_terminal("import", yes=request.yes)
    result = _ImportResult(request.store, dry_run=request.dry_run)
    text = settings.config.read_text(encoding="utf-8") if settings.config.exists() else None
    with _staged(settings, request, text, None) as (staged, _):
        async with opening.workspace(staged, fetches=False) as workspace:
            survey = await _look(workspace, request, result)
    key_format, namespaces = _choose(survey, request, result)
    with _staged(settings, request, text, key_format) as (staged, written):
        async with opening.workspace(staged, fetches=False) as workspace:
            dumped, outside = await _dump(workspace, request, namespaces)
        _take_in(result, request, dumped, outside)
        if written is not None:
            result.configuration = str(settings.config)
    _tell(dumped, outside, written)
    if request.dry_run:
        return _answered(request, result, Exit.PARTIAL if result.left_out else Exit.DONE)
    _confirm(request, f"Write {settings.config.name} and {len(result.files)} files, and take ownership?")
    _write(settings, request, dumped, written)
    code = await _adopt(settings, request, result)
    return _answered(request, result, worst({code, Exit.PARTIAL if result.left_out else Exit.DONE}))


@contextmanager
def _staged(
    settings: GlobalOptions, request: ImportRequest, text: str | None, key_format: str | None
) -> Iterator[tuple[GlobalOptions, str | None]]:
    """The configuration with the store in it, in a file next to its own as long as it is not decided; with its text, None where
    the store is configured already."""
    from kvsync.app.importing import NewStore, owner_from, with_store

    if request.kind is None:
        if text is None:
            raise UsageError(f"{settings.config}: there is no configuration yet; use --type, and --set for its options")
        if request.key_format is not None:
            raise UsageError("--key-format is for a new store (--type); change key_format in kvsync.yaml instead")
        yield settings, None
        return
    store = NewStore(request.store, request.kind, request.settings, request.key_format or key_format)
    written = with_store(text, store, request.owner or owner_from(settings.config.resolve().parent.name))
    file = settings.config.parent / _STAGED
    try:
        write_private(file, written.encode())
        yield replace(settings, config=file), written
    finally:
        file.unlink(missing_ok=True)


async def _look(workspace: Workspace, request: ImportRequest, result: _ImportResult) -> Survey:
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


def _choose(survey: Survey, request: ImportRequest, result: _ImportResult) -> tuple[str | None, Sequence[str]]:
    """The key format, None where the store has it already, and the namespaces."""
    from kvsync.app.survey import PLAIN

    if not survey.candidates:
        names = list(request.namespaces) or _asked_names(request, survey.namespaces)
        result.namespaces = names
        return None, names
    known = {one.key_format: one for one in survey.candidates}
    template = result.key_format
    if request.kind is not None:
        template = request.key_format or _asked_format(request, survey)
    result.key_format = template
    found = known.get(template or "")
    if request.namespaces:
        names = list(request.namespaces)
    elif template == PLAIN or found is None or not found.namespaces:
        names = [_ask(request, "Name of the namespace that all keys are in", request.store)]
    else:
        names = _asked_names(request, tuple(found.namespaces))
    result.namespaces = names
    return template, names


def _asked_format(request: ImportRequest, survey: Survey) -> str:
    best = survey.candidates[0].key_format
    lines = [f"{survey.keys:,} keys. These formats divide them into namespaces:"]
    for one in survey.candidates:
        some = ", ".join(f"{name} ({number:,})" for name, number in list(one.namespaces.items())[:5])
        more = f", and {len(one.namespaces) - 5:,} more" if len(one.namespaces) > 5 else ""
        lines.append(f"  {one.key_format:<20} {one.fits:>6,} keys fit  {some or 'one namespace'}{more}")
    say(*lines)
    return _ask(request, "key_format", best)


def _asked_names(request: ImportRequest, names: Sequence[str]) -> list[str]:
    if len(names) > 1:
        say(f"namespaces: {', '.join(names[:_MOST_SHOWN])}{' …' if len(names) > _MOST_SHOWN else ''}")
        given = _ask(request, "Which of them, separated by commas", "all")
        return list(names) if given == "all" else [name.strip() for name in given.split(",")]
    return list(names)


def _ask(request: ImportRequest, question: str, proposal: str) -> str:
    """What a person answers; the proposal where nothing is typed, or nobody can be asked."""
    if not request.asks:
        return proposal
    say_block(f"{escape_text(question)} [{escape_text(proposal)}]: ")
    return sys.stdin.readline().strip() or proposal


def _confirm(request: ImportRequest, question: str) -> None:
    if request.asks and _ask(request, f"{question} Type yes to continue", "no") != "yes":
        raise NotApproved("aborted: not confirmed; nothing was written")


async def _dump(
    workspace: Workspace, request: ImportRequest, namespaces: Sequence[str]
) -> tuple[list[Dumped], Sequence[LeftOut]]:
    from kvsync.app.dump import dump, strays
    from kvsync.cli.progress import progress
    from kvsync.model.entry import Target

    with progress("reading"):
        managed = workspace.load().managed
        new = [name for name in namespaces if Target(request.store, name) not in managed]
        say(*(f"{request.store}/{name}: the files name it already" for name in namespaces if name not in new))
        found = await dump(workspace, request.store, new)
        return found, await strays(workspace, request.store, namespaces, is_all=not request.namespaces)


def _take_in(
    result: _ImportResult, request: ImportRequest, dumped: Sequence[Dumped], outside: Sequence[LeftOut]
) -> None:
    result.files = [str(Path(request.folder) / file) for one in dumped for file in one.files]
    result.entries = sum(one.entries for one in dumped)
    left = [(one.target.namespace, entry) for one in dumped for entry in one.left_out]
    result.left_out = [{"namespace": name, **_identity(one)} for name, one in left]
    result.left_out += [{"namespace": None, **_identity(one)} for one in outside]
    result.suspects = [
        {"namespace": one.target.namespace, "key": name.key, "label": name.label}
        for one in dumped
        for name in one.suspects
    ]


def _identity(one: LeftOut) -> dict[str, Any]:
    return {"key": one.identity.key, "label": one.identity.label, "reason": one.reason}


def _tell(dumped: Sequence[Dumped], outside: Sequence[LeftOut], written: str | None) -> None:
    """What would be written, on stderr: the answer comes at the end."""
    from kvsync.rendering.words import count, name

    if written is not None:
        say("configuration:", *(f"  {line}" for line in written.splitlines()))
    for one in dumped:
        say(f"{one.target}: {count(one.entries, 'entry', 'entries')} in {', '.join(sorted(one.files)) or 'no file'}")
        say(*(f"  not written: {name(entry.identity)}: {entry.reason}" for entry in (*one.left_out, *one.passed_over)))
        if one.suspects:
            say(f"  values that look like secrets: {', '.join(map(name, one.suspects))}; check them before you commit")
    say(*(f"in no namespace, not written: {name(one.identity)}: {one.reason}" for one in outside))


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


async def _adopt(settings: GlobalOptions, request: ImportRequest, result: _ImportResult) -> Exit:
    """Take ownership of what was written down, and look whether anything is left to do."""
    from dataclasses import asdict

    from kvsync.app import TargetSelection
    from kvsync.model.entry import Target
    from kvsync.model.pass_options import PassOptions
    from kvsync.model.plan import outcome_counts, pending, summary
    from kvsync.model.policy import Adopt
    from kvsync.rendering.words import name

    async with opening.workspace(settings, writing="import") as workspace:
        loaded = opening.load(workspace)
        wanted = [Target(request.store, one) for one in result.namespaces]
        targets = tuple(one for one in wanted if one in loaded.managed)
        selection = TargetSelection(targets, PassOptions(deep=True, adopt=Adopt.IF_EQUAL))
        report = await workspace.apply(await workspace.plan(selection, loaded), command="import")
        counts = outcome_counts(report.targets)
        result.adopted = counts[next(kind for kind in counts if kind.value == "applied")]
        after = await workspace.plan(TargetSelection(targets, PassOptions(deep=True)), loaded)
        left = asdict(summary(after.targets))
        result.pending = {
            word: number for word, number in left.items() if number and word not in ("unchanged", "foreign")
        }
        refused = [(one.target, refusal) for one in after.targets for refusal in one.refused]
        result.refused = [
            {"namespace": target.namespace, "key": one.identity.key, "label": one.identity.label, "reason": one.reason}
            for target, one in refused
        ]
        say(*(f"not adopted: {target}: {name(one.identity)}: {one.reason}" for target, one in refused[:_MOST_SHOWN]))
        errors = [one.error for one in report.targets if one.error] + [one.error for one in after.targets if one.error]
        say(*(f"kvsync: {error}" for error in errors))
        if errors:
            return Exit.ERROR
        return Exit.PENDING if pending(after) else Exit.DONE


def _answered(request: ImportRequest, result: _ImportResult, code: Exit) -> Exit:
    from dataclasses import asdict

    if request.output == "json":
        answer_document({"schema": SCHEMA, **asdict(result)})
    else:
        answer_lines(*_lines(result))
    return code


def _lines(result: _ImportResult) -> Iterator[str]:
    from kvsync.app.importing import left_to_do
    from kvsync.rendering.words import count

    entries = count(result.entries, "entry", "entries")
    if result.dry_run:
        yield f"{entries} of {result.store} would be written to {count(len(result.files), 'file')}; nothing was written"
        return
    yield f"wrote {count(len(result.files), 'file')} with {entries}, and took ownership of {result.adopted:,}"
    left = list(left_to_do(result.pending))
    yield (
        f"the plan still has {', '.join(left)}; see kvsync plan"
        if left
        else "the plan is empty: files and store are equal"
    )
