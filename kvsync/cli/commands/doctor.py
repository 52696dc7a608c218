"""The command `kvsync doctor`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from contextlib import aclosing, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from kvsync.cli import open as opening
from kvsync.cli import options
from kvsync.cli.command import GlobalOptions, command
from kvsync.cli.exit_codes import Exit
from kvsync.cli.failure import say_problems
from kvsync.cli.output import answer_document, answer_lines
from kvsync.cli.progress import progress
from kvsync.errors import AuthError, StateDirError, StoreError

if TYPE_CHECKING:
    from kvsync.app import Workspace
    from kvsync.config.model import ChannelConfig, Credential
    from kvsync.desired import DesiredState
    from kvsync.model.health import DoctorCheck
    from kvsync.planning.pass_target import PassTarget
    from kvsync.stores.base import Store

SCHEMA: Final = "kvsync.doctor/1"

_UNSHARED: Final = (
    "its ledger is in the state directory of one replica; the other replicas cannot see which entries kvsync owns"
)


@dataclass(frozen=True, slots=True)
class _CheckedStore:
    """What was checked, and what was found."""

    subject: str
    check: str
    ok: bool
    detail: str
    hint: str | None = None


@command(
    "doctor",
    short_help="Check files, state directory, stores and credentials.",
    examples=("doctor", "doctor -o json"),
    exits=(Exit.DONE, Exit.ERROR),
)
@options.output("text", "json")
def doctor(settings: GlobalOptions, output: str) -> Exit:
    """Check everything that a pass needs, and report what is wrong and how to fix it: the configuration, the state files, the
    state directory and its lock, the Git source, the lease, the notification channels, and each store with its credential,
    permissions, quota and clock. Writes to no store and sends no notification.
    """
    return opening.run(_doctor(settings, output))


async def _doctor(settings: GlobalOptions, output: str) -> Exit:
    broken = _broken_state_dir(settings)
    # The rest can be checked without it: in a state directory that nothing is kept in.
    with TemporaryDirectory(prefix="kvsync-") if broken else nullcontext() as empty:
        state_dir = Path(empty) if empty else None
        async with opening.workspace(settings, state_dir=state_dir, fetches=False) as workspace:
            source = await _source(workspace, offline=settings.offline)
            loaded = workspace.load()
            with progress("checking the stores"):
                stores = (_store(workspace, name, loaded) for name in workspace.stores)
                asked = await asyncio.gather(*stores, _lease(workspace))
            found = [
                _configuration(workspace),
                _owner_key(workspace),
                broken or _state_dir(workspace),
                *source,
                *_server(workspace),
                *_channels(workspace),
                *(one for store in asked for one in store),
            ]
            absent = workspace.checkout is not None and workspace.checkout.root is None
    return _answer(found, loaded, output, absent=absent)


def _answer(found: list[_CheckedStore], loaded: DesiredState, output: str, *, absent: bool) -> Exit:
    from kvsync.rendering.words import count

    if absent:
        found.insert(1, _CheckedStore("state files", "loaded", False, "no commit has been fetched yet"))
        return _say(found, output, Exit.ERROR)
    if loaded.problems:
        say_problems(loaded.problems)
    files = f"{count(loaded.entries, 'entry', 'entries')} in {count(loaded.files, 'file')}"
    wrong = f"{count(len(loaded.problems), 'problem')}; run kvsync validate to list them" if loaded.problems else files
    found.insert(1, _CheckedStore("state files", "loaded", not loaded.problems, wrong))
    return _say(found, output, Exit.INVALID if loaded.problems else Exit.DONE)


def _say(found: list[_CheckedStore], output: str, code: Exit) -> Exit:
    found = [_without_repetition(one) for one in found]
    sound = all(one.ok for one in found)
    if output == "json":
        answer_document({"schema": SCHEMA, "ok": sound, "findings": [asdict(one) for one in found]})
    else:
        answer_lines(*map(_line, found))
    return code if sound or code else Exit.ERROR


def _without_repetition(one: _CheckedStore) -> _CheckedStore:
    """Errors name what they are about, and some what to do, which stands before and behind them here."""
    detail = one.detail.removeprefix(f"{one.subject}: ").removeprefix(f"{one.check}: ").removeprefix(f"{one.check}.")
    return replace(one, detail=detail, hint=None if one.hint and detail.endswith(one.hint) else one.hint)


def _configuration(workspace: Workspace) -> _CheckedStore:
    config = workspace.config
    detail = f"owner {config.owner}, environment {config.environment or 'none'}"
    return _CheckedStore("configuration", "loaded", True, detail)


def _owner_key(workspace: Workspace) -> _CheckedStore:
    """Whether marks and ledgers are signed, and with what."""
    from kvsync.rendering.words import count

    if not workspace.config.owner_keys:
        detail = "none: anyone who can write to a store can forge ownership marks in it; see docs/safety.md"
        return _CheckedStore("configuration", "owner_key", True, detail)
    try:
        keys = workspace.pass_context.owner_keys()
    except AuthError as error:
        return _CheckedStore("configuration", "owner_key", False, str(error))
    older = f", {count(len(keys) - 1, 'older key')} still accepted" if len(keys) > 1 else ""
    return _CheckedStore("configuration", "owner_key", True, f"marks and ledgers are signed{older}")


def _broken_state_dir(settings: GlobalOptions) -> _CheckedStore | None:
    """What is wrong with a state directory that cannot even be read."""
    try:
        with opening.state(settings, writable=False) as (_, state):
            state.parked.all()
    except StateDirError as error:
        return _CheckedStore("state directory", "readable", False, str(error))
    return None


def _state_dir(workspace: Workspace) -> _CheckedStore:
    path = workspace.state.path
    try:
        writer = workspace.state.writer()
    except StateDirError as error:
        return _CheckedStore("state directory", "lock", False, str(error))
    if not workspace.pass_context.writable:
        hint = "check its owner and mode, or set another state_dir"
        return _CheckedStore("state directory", "writable", False, f"{path} is not writable", hint)
    busy = "" if writer is None else f"; process {writer or '?'} holds the lock"
    return _CheckedStore("state directory", "writable", True, f"{path}{busy}")


async def _source(workspace: Workspace, *, offline: bool) -> list[_CheckedStore]:
    """What stands between us and the newest commit, when the files come from a repository."""
    if workspace.checkout is None:
        return []
    from kvsync.git.doctor import examine

    with progress("fetching"):
        findings = await examine(workspace.checkout, offline=offline)
    return [_CheckedStore("source", one.check, one.ok, one.detail, one.hint) for one in findings]


async def _lease(workspace: Workspace) -> list[_CheckedStore]:
    """What keeps the lease, where there is one, and what replicas would not know of each other."""
    from kvsync.app.leadership import keeper_of, unshared_ledgers

    config = workspace.config.run.lease
    if config is None:
        return []
    unshared = [
        _CheckedStore(f"store {name}", "ledger", False, _UNSHARED, "set ledger: store")
        for name in unshared_ledgers(workspace)
    ]
    try:
        keeper = keeper_of(workspace, config, "kvsync doctor", os.environ)
    except StoreError as error:
        return [_CheckedStore("lease", "reached", False, str(error)), *unshared]
    async with aclosing(keeper):
        found = await keeper.check()
    return [_CheckedStore(f"lease {keeper.name}", one.check, one.ok, one.detail, one.hint) for one in found] + unshared


def _server(workspace: Workspace) -> list[_CheckedStore]:
    """Who can reach what the daemon shows, and whether what they must show can be read."""
    from kvsync.config.values import host_and_port, is_loopback

    run = workspace.config.run
    if run.listen is None:
        silent = "run.listen is not set, so the daemon cannot receive webhooks"
        return [_CheckedStore("http", "run.hook", False, silent, "set run.listen: 127.0.0.1:9464")] if run.hook else []
    is_here = is_loopback(host_and_port(run.listen)[0])
    who = "this machine only" if is_here else "other machines, with the token of run.token"
    secrets = {"run.token": run.token, "run.hook.secret": run.hook.secret if run.hook is not None else None}
    wanted = [_secret(workspace, name, credential) for name, credential in secrets.items() if credential is not None]
    return [_CheckedStore("http", "listen", True, f"{run.listen} accepts requests from {who}"), *wanted]


def _channels(workspace: Workspace) -> list[_CheckedStore]:
    """Checks the notification channels as far as possible without sending a message."""
    channels = workspace.config.run.notify
    return [_channel(workspace, f"run.notify[{index}]", channel) for index, channel in enumerate(channels)]


def _channel(workspace: Workspace, where: str, channel: ChannelConfig) -> _CheckedStore:
    from kvsync.config.credentials import describe, resolve
    from kvsync.notify.webhook import WebhookSender

    def read(wanted: Credential) -> str:
        return resolve(wanted, workspace.config.root, os.environ, workspace.redactor)

    try:
        WebhookSender(where, channel, read, workspace.redactor, workspace.clock).check()
    except StoreError as error:
        return _CheckedStore("notify", where, False, str(error))
    kinds = ", ".join(channel.on)
    return _CheckedStore(
        "notify", where, True, f"{channel.format} at {describe(channel.url)} for {kinds}; no test message was sent"
    )


def _secret(workspace: Workspace, name: str, credential: Credential) -> _CheckedStore:
    from kvsync.config.credentials import describe, resolve
    from kvsync.status.http.shared_secret import Secret

    def read(wanted: Credential) -> str:
        return resolve(wanted, workspace.config.root, os.environ, workspace.redactor)

    try:
        Secret(credential, read, name).text()
    except AuthError as error:
        return _CheckedStore("http", name, False, str(error))
    return _CheckedStore("http", name, True, describe(credential))


async def _store(workspace: Workspace, name: str, loaded: DesiredState) -> list[_CheckedStore]:
    """What a store says of itself; at least whether it can be reached."""
    from kvsync.ledger.target_ledger import examine
    from kvsync.stores.extensions import ledger_keeper

    store, subject = workspace.stores[name], f"store {name}"
    targets = [target for target in loaded.targets if target.store == name]
    patience = workspace.config.stores[name].timeout
    try:
        async with asyncio.timeout(patience):
            findings: Sequence[DoctorCheck] = await store.check() or [await _reached(store)]
            if targets and all(one.ok for one in findings):
                subjects = [await workspace.locate(target) for target in targets]
                findings = [*findings, *_moved(subjects)]
                keeper = ledger_keeper(store)
                findings += [await examine(keeper, subjects)] if keeper is not None else []
    except StoreError as error:
        return [_CheckedStore(subject, "reached", False, str(error))]
    except TimeoutError:
        return [_CheckedStore(subject, "reached", False, f"no response within {patience:g} s")]
    return [_CheckedStore(subject, one.check, one.ok, one.detail, one.hint) for one in findings]


def _moved(subjects: Sequence[PassTarget]) -> list[DoctorCheck]:
    """The targets whose names lead to another place than in the last pass."""
    from kvsync.model.health import DoctorCheck

    hint = (
        "if this is intended, run kvsync apply (every entry there is treated as new); otherwise fix the configuration"
    )
    return [
        DoctorCheck("place", False, f"{one.target} is now {one.located.place}; it was {one.moved_from}", hint)
        for one in subjects
        if one.moved_from is not None
    ]


async def _reached(store: Store) -> DoctorCheck:
    """What is to be said of a store that has no checks of its own. Raises StoreError."""
    from kvsync.model.health import DoctorCheck

    return DoctorCheck("reached", True, f"{len(await store.namespaces()):,} namespaces")


def _line(one: _CheckedStore) -> str:
    hint = f" ({one.hint})" if one.hint and not one.ok else ""
    return f"{'ok  ' if one.ok else 'FAIL'}  {one.subject}: {one.check}: {one.detail}{hint}"
