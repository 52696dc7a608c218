"""Opens the workspace or the state directory for a command."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from kvsync.cli.command import GlobalOptions, run
from kvsync.cli.failure import print_problems
from kvsync.cli.output import print_message
from kvsync.errors import InvalidInput, UsageError

if TYPE_CHECKING:
    from kvsync.app import DesiredState, Workspace
    from kvsync.app.operator import Operator
    from kvsync.app.revision import ConfigDraft, ConfigRevision
    from kvsync.model.pass_options import PassOptions
    from kvsync.model.plan import Plan
    from kvsync.model.shard import Shard


@asynccontextmanager
async def workspace(
    settings: GlobalOptions,
    writing: str | None = None,
    state_dir: Path | None = None,
    shard: Shard | None = None,
    *,
    fetches: bool = True,
    revision: ConfigRevision | ConfigDraft | None = None,
) -> AsyncIterator[Workspace]:
    """The workspace of the configuration; `writing` names a command that may write to stores, `state_dir` stands in for the
    state directory of the configuration, `shard` is the share of the targets to look at. Where the files come from a
    repository, its newest commit is in force; a command that does not look at the files as they are now `fetches` nothing, and
    has the last good one, if any. With `revision` the configuration is the one of that revision or draft."""
    from kvsync.app import open_workspace
    from kvsync.cli.progress import progress

    opening = open_workspace(
        settings.config,
        environment=settings.environment,
        writing=writing,
        state_dir=state_dir,
        shard=shard,
        revision=revision,
    )
    async with opening as opened:
        from kvsync.app.revision import check_out

        commit = await check_out(opened, offline=settings.offline, fetches=fetches, working=progress)
        if commit is not None:
            print_message(commit)
        yield opened


async def config_revision(settings: GlobalOptions, as_author: str | None) -> ConfigRevision | None:
    """The configuration of the revision that `--as-author` names, of the target branch where it names none; None without the
    option. Raises UsageError, SourceError."""
    if as_author is None:
        return None
    from kvsync.app.revision import read_revision

    revision = await read_revision(settings.config, as_author)
    print_message(f"using the configuration of {revision.name} (commit {revision.commit[:12]})")
    return revision


def operator(settings: GlobalOptions) -> Operator:
    """Operator actions on the targets of the configuration."""
    from kvsync.app.operator import Operator

    return Operator(settings.config, settings.environment)


def require_target(settings: GlobalOptions, chosen: Operator, target: str) -> None:
    """Raise UsageError for a target that no file names and kvsync never saw: it is misspelt."""
    if not chosen.knows(target):
        run(_look_in_files(settings, target))


async def _look_in_files(settings: GlobalOptions, target: str) -> None:
    from kvsync.app.operator import require_named

    async with workspace(settings, fetches=False) as opened:
        require_named(opened.load(), target)


def load(opened: Workspace) -> DesiredState:
    """What the files ask. Says every problem on stderr; raises InvalidInput when no target is usable."""
    loaded = opened.load()
    if loaded.problems and not _usable(loaded):
        raise InvalidInput(loaded.problems)
    if loaded.problems:
        print_problems(loaded.problems)
    return loaded


async def plan(opened: Workspace, loaded: DesiredState, targets: Sequence[str], ask: PassOptions) -> Plan:
    """The plan of the targets named, of all when none is. Says on stderr which globs for keys match nothing. Raises UsageError
    for a target that does not exist, InvalidInput when it may stand in a file that cannot be used."""
    from kvsync.app import TargetSelection, resolve_targets
    from kvsync.cli.progress import progress

    try:
        with progress("planning"):
            found = await opened.plan(TargetSelection(resolve_targets(loaded, targets), ask), loaded)
    except UsageError:
        if loaded.problems:
            raise InvalidInput(loaded.problems) from None
        raise
    print_unmatched(loaded, found, ask.keys)
    return found


def print_unmatched(loaded: DesiredState, plan: Plan, keys: Sequence[str]) -> None:
    """Say on stderr which of the globs given by `--key` match nothing."""
    from kvsync.app import unmatched_keys

    print_message(
        *(f"--key {glob!r} matches no key; check its spelling" for glob in unmatched_keys(loaded, plan, keys))
    )


def _usable(loaded: DesiredState) -> bool:
    return not loaded.hold_all and any(target not in loaded.held for target in loaded.targets)
