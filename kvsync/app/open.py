"""Opens and closes a workspace: creates its parts and releases them together."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from kvsync.app.configuration import read_config
from kvsync.app.state_access import StateAccess
from kvsync.app.workspace import Workspace, prune_journal
from kvsync.config.credentials import resolve
from kvsync.config.model import Config, Credential
from kvsync.config.revision import ConfigDraft, ConfigRevision
from kvsync.desired import Cache, Source
from kvsync.errors import InvalidInput, Problem, SourceError, StateDirError
from kvsync.logs import get_logger
from kvsync.model.shard import Shard
from kvsync.reconcile import PassContext
from kvsync.reconcile.places import PlaceResolver
from kvsync.state import StateDir
from kvsync.stores.base import Store, StoreContext
from kvsync.stores.isolated import IsolatedStore
from kvsync.stores.registry import open_store
from kvsync.tracing import is_wanted
from kvsync.util.clock import Clock, StoreClock
from kvsync.util.redaction import REDACTOR, Redactor
from kvsync.util.write_fence import Fence

if TYPE_CHECKING:
    from kvsync.git.source import Checkout
    from kvsync.http.shared_budget import BudgetAllocator

_log = get_logger()


DAEMON = "run"
"""What the daemon opens a workspace for."""


@asynccontextmanager
async def open_workspace(
    config_file: Path,
    *,
    environment: str | None = None,
    writing: str | None = None,
    redactor: Redactor = REDACTOR,
    environ: Mapping[str, str] = os.environ,
    clock: Clock | None = None,
    state_dir: Path | None = None,
    shard: Shard | None = None,
    revision: ConfigRevision | ConfigDraft | None = None,
    decrypts: bool = True,
) -> AsyncIterator[Workspace]:
    """Open a workspace. Raises InvalidInput for the configuration, LockHeld, StateDirError.

    `writing` names the command that may write to stores; it then holds the lock of the state directory. Without `writing`,
    stores refuse writes, a state that replicas share is only read, and a state directory that cannot be written to is not an
    error. `state_dir` replaces the configured directory. `shard` limits the workspace to a share of the targets (None: all
    targets). With `revision`, the text of the configuration comes from that revision or draft. Without `decrypts`, kvsync does
    not run SOPS, and reports a problem for each file that needs it.
    """
    config = read_config(config_file, environment=environment, environ=environ, revision=revision)
    config = config if state_dir is None else replace(config, state_dir=state_dir)
    config = config if decrypts else _without_decryption(config)
    clock = clock or Clock()
    async with AsyncExitStack() as stack:
        access = StateAccess(config, redactor, environ)
        state, writable = _open_state(access, clock, must_write=writing is not None)
        stack.enter_context(state)
        fence = Fence()
        if writing is not None:
            stack.enter_context(state.lock(writing))
            if state.is_shared:
                from kvsync.app.fleet import (  # a state directory of one machine does not pay for it
                    command_lease,
                    joined,
                )

                claims = joined(state, config.owner, config.environment)
                if writing != DAEMON:
                    await stack.enter_async_context(command_lease(claims, clock, fence))
            for killed in state.journal.close_interrupted():
                _log.warning("run.unfinished", run=killed.id, intents=killed.changes)
            prune_journal(state, config)
        pass_context = PassContext(config.owner, state, clock, writable, writing is not None, fence, shard)
        workspace = assemble(config, pass_context, redactor, environ)
        stack.push_async_callback(workspace.aclose)
        if state.claims is not None:
            from kvsync.app.revisions import RevisionCheck, SharedRevisions

            name = state.claims.me.host
            log = SharedRevisions(state)
            workspace.revisions = RevisionCheck(log, name, state.path, clock, records=writing == DAEMON)
        yield workspace


@asynccontextmanager
async def open_offline(config_file: Path, environment: str | None) -> AsyncIterator[Workspace]:
    """Open a workspace that never uses the network: of the state it has what the directory of this machine holds, also where a
    database keeps it, and nothing is fetched or decrypted. Creates nothing. Raises InvalidInput, StateDirError."""
    config = read_config(config_file, environment=environment, environ=os.environ)
    config = _without_decryption(config)
    is_kept_here = config.database is None and config.state_dir.exists()
    clock, access = Clock(), StateAccess(replace(config, database=None))
    opened = _open_state(access, clock, must_write=False) if is_kept_here else None
    state, writable = opened or (access.open_directory(writable=False, clock=clock), False)
    with state:
        workspace = assemble(
            access.config, PassContext(config.owner, state, clock, writable, False), REDACTOR, os.environ
        )
        try:
            if workspace.checkout is not None:
                with suppress(SourceError):
                    await workspace.checkout.reopen()
            yield workspace
        finally:
            await workspace.aclose()


def _without_decryption(config: Config) -> Config:
    """The configuration with which no file can be decrypted."""
    return replace(config, sops=replace(config.sops, keys=()))


def assemble(config: Config, pass_context: PassContext, redactor: Redactor, environ: Mapping[str, str]) -> Workspace:
    """A workspace for a configuration in an open state directory. Does no I/O; raises InvalidInput."""
    pass_context = replace(pass_context, owner_keys=partial(_owner_keys, config, redactor, environ))
    config = replace(config, state_dir=pass_context.state.root)
    stores = _open_stores(config, pass_context, redactor, environ)
    pass_context = replace(pass_context, places=PlaceResolver(stores), limits=config.pass_limits)
    source = Source(config, stores, _cache(pass_context.state), environ)
    checkout = _checkout(config, source, pass_context, redactor, environ)
    return Workspace(config, stores, source, pass_context, redactor, checkout)


def _cache(state: StateDir) -> Cache | None:
    """The cache of compiled state files; None where it cannot be kept, or sealed."""
    with suppress(StateDirError):
        return Cache(state.path / "cache.db", state.key) if state.keeps_caches else None
    return None


def _checkout(
    config: Config, source: Source, pass_context: PassContext, redactor: Redactor, environ: Mapping[str, str]
) -> Checkout | None:
    if config.source is None:
        return None
    from kvsync.git.clone_directory import ClonePaths
    from kvsync.git.source import Checkout  # who has the files here does not pay for it

    secret = partial(_secret, config, redactor, environ)
    place = ClonePaths(
        config.root, pass_context.state.root, pass_context.state.keeps_caches, environ, secret, redactor.redact_foreign
    )
    return Checkout(config.source, place, source.why_not_root)


def _secret(config: Config, redactor: Redactor, environ: Mapping[str, str], credential: Credential) -> str:
    return resolve(credential, config.root, environ, redactor)


def _owner_keys(config: Config, redactor: Redactor, environ: Mapping[str, str]) -> tuple[bytes, ...]:
    """The secrets that sign marks and ledgers, as they are now. Raises AuthError."""
    return tuple(_secret(config, redactor, environ, one).encode() for one in config.owner_keys)


def _open_state(access: StateAccess, clock: Clock, *, must_write: bool) -> tuple[StateDir, bool]:
    """The state, and whether it may be written. A command that need not write makes no new state where one was lost, so that
    each command reports the loss until one has to."""
    try:
        state = access.open(writable=True, needed=must_write, clock=clock)
    except StateDirError:
        if must_write:
            raise
        return access.open(writable=False, clock=clock), False
    return state, must_write or not (state.is_shared or state.is_lost)


def _open_stores(
    config: Config, pass_context: PassContext, redactor: Redactor, environ: Mapping[str, str]
) -> dict[str, Store]:
    state = pass_context.state
    allocator = None if state.claims is None else _allocator(state)

    def context(name: str) -> StoreContext:
        return StoreContext(
            root=config.root,
            cache_dir=state.path / "stores" / name if state.keeps_caches else None,
            resolve=partial(_secret, config, redactor, environ),
            clock=_store_clock(pass_context.clock),
            read_only=not pass_context.writing,
            owner=config.owner,
            fence=pass_context.fence,
            limits=config.answer_limits,
            allocator=allocator,
        )

    stores: dict[str, Store] = {}
    problems: list[Problem] = []
    for name, store in config.stores.items():
        try:
            opened = IsolatedStore(open_store(store, context(name)))
            stores[name] = _traced(opened) if is_wanted(config.run.tracing, environ) else opened
        except ValueError as error:
            problems.append(Problem(f"stores.{name}: {error}", store.origin))
    if problems:
        raise InvalidInput(problems)
    return stores


def _allocator(state: StateDir) -> BudgetAllocator:
    from kvsync.app.budgets import StateBudgetAllocator

    return StateBudgetAllocator(state.budgets)


def _traced(store: Store) -> Store:
    from kvsync.stores.traced import TracedStore

    return TracedStore(store)


def _store_clock(clock: Clock) -> Clock:
    """The clock of one store, which its server corrects. A clock that the caller gave is not corrected."""
    return StoreClock(clock) if type(clock) is Clock else clock
