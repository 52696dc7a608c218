"""Checks of `kvsync doctor`: everything that a pass needs, asked without writing to a store or sending a notification."""

from __future__ import annotations

import asyncio
import os
from contextlib import aclosing, nullcontext, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from kvsync.app.doctor.report import DoctorReport, Finding
from kvsync.app.doctor.stores import check_store
from kvsync.app.leadership import lease_store_of
from kvsync.app.ledger_sharing import unshared_ledgers
from kvsync.app.model import Working
from kvsync.app.open import open_workspace
from kvsync.app.state_access import open_state
from kvsync.app.workspace import Workspace
from kvsync.config.credentials import describe, resolve
from kvsync.config.model import ChannelConfig, Credential
from kvsync.config.values import host_and_port, is_loopback
from kvsync.desired import DesiredState
from kvsync.errors import AuthError, ErrorCode, SourceError, StateDirError, StoreError
from kvsync.rendering.words import count

_UNSHARED: Final = (
    "its ledger is in the state directory of one replica; the other replicas cannot see which entries kvsync owns"
)


async def examine(file: Path, environment: str | None, *, offline: bool, working: Working) -> DoctorReport:
    """Check everything. Raises InvalidInput for a configuration that cannot be read."""
    broken = _broken_state_dir(file, environment)
    # The rest can be checked without it: in a state directory that nothing is kept in.
    with TemporaryDirectory(prefix="kvsync-") if broken else nullcontext() as empty:
        state_dir = Path(empty) if empty else None
        async with open_workspace(file, environment=environment, state_dir=state_dir) as workspace:
            if workspace.checkout is not None:
                with suppress(SourceError):
                    await workspace.checkout.reopen()
            source = await _source(workspace, working, offline=offline)
            loaded = workspace.load()
            with working("checking the stores"):
                stores = (check_store(workspace, name, loaded) for name in workspace.stores)
                asked = await asyncio.gather(*stores, _lease(workspace))
            findings = (
                _configuration(workspace),
                _files(workspace, loaded),
                _owner_key(workspace),
                broken or _state_dir(workspace),
                *source,
                *_server(workspace),
                *_channels(workspace),
                *(one for store in asked for one in store),
            )
            is_absent = _is_absent(workspace)
    return DoctorReport(findings, () if is_absent else tuple(loaded.problems), is_absent)


def _is_absent(workspace: Workspace) -> bool:
    return workspace.checkout is not None and workspace.checkout.root is None


def _files(workspace: Workspace, loaded: DesiredState) -> Finding:
    if _is_absent(workspace):
        return Finding(
            "state files",
            "loaded",
            False,
            "no commit has been fetched yet",
            "correct what the check of the Git source reports, then run this again",
            ErrorCode.SOURCE_UNAVAILABLE,
        )
    files = f"{count(loaded.entries, 'entry', 'entries')} in {count(loaded.files, 'file')}"
    wrong = f"{count(len(loaded.problems), 'problem')}; run kvsync validate to list them" if loaded.problems else files
    code = loaded.problems[0].code if loaded.problems else None
    return Finding("state files", "loaded", not loaded.problems, wrong, code=code)


def _configuration(workspace: Workspace) -> Finding:
    config = workspace.config
    detail = f"owner {config.owner}, environment {config.environment or 'none'}"
    return Finding("configuration", "loaded", True, detail)


def _owner_key(workspace: Workspace) -> Finding:
    """Whether marks and ledgers are signed, and with what."""
    if not workspace.config.owner_keys:
        detail = "none: anyone who can write to a store can forge ownership marks in it; see docs/safety.md"
        return Finding("configuration", "owner_key", True, detail)
    try:
        keys = workspace.pass_context.owner_keys()
    except AuthError as error:
        return Finding.of_error("configuration", "owner_key", error)
    older = f", {count(len(keys) - 1, 'older key')} still accepted" if len(keys) > 1 else ""
    return Finding("configuration", "owner_key", True, f"marks and ledgers are signed{older}")


def _broken_state_dir(file: Path, environment: str | None) -> Finding | None:
    """What is wrong with a state directory that cannot even be read."""
    try:
        with open_state(file, environment, writable=False) as (_, state):
            state.parked.all()
    except StateDirError as error:
        return Finding.of_error("state directory", "readable", error)
    return None


def _state_dir(workspace: Workspace) -> Finding:
    path = workspace.state.name
    try:
        writer = workspace.state.writer()
    except StateDirError as error:
        return Finding.of_error("state directory", "lock", error)
    if not workspace.pass_context.writable:
        hint = "check its owner and mode, or set another state_dir"
        return Finding("state directory", "writable", False, f"{path} is not writable", hint, ErrorCode.STATE_UNUSABLE)
    busy = "" if writer is None else f"; process {writer or '?'} holds the lock"
    return Finding("state directory", "writable", True, f"{path}{busy}")


async def _source(workspace: Workspace, working: Working, *, offline: bool) -> list[Finding]:
    """What stands between us and the newest commit, when the files come from a repository."""
    if workspace.checkout is None:
        return []
    from kvsync.git.doctor import examine as examine_source

    with working("fetching"):
        findings = await examine_source(workspace.checkout, offline=offline)
    return [Finding("source", one.check, one.ok, one.detail, one.hint, one.code) for one in findings]


async def _lease(workspace: Workspace) -> list[Finding]:
    """What keeps the lease, where there is one, and what replicas would not know of each other."""
    config = workspace.config.run.lease
    if config is None:
        return []
    unshared = [
        Finding(f"store {name}", "ledger", False, _UNSHARED, "set ledger: store", ErrorCode.INVALID)
        for name in unshared_ledgers(workspace)
    ]
    try:
        backend = lease_store_of(workspace, config, "kvsync doctor", os.environ)
    except StoreError as error:
        return [Finding.of_error("lease", "reached", error), *unshared]
    async with aclosing(backend):
        found = await backend.check()
    return [
        Finding(f"lease {backend.name}", one.check, one.ok, one.detail, one.hint, one.code) for one in found
    ] + unshared


def _server(workspace: Workspace) -> list[Finding]:
    """Who can reach what the daemon shows, and whether what they must show can be read."""
    run = workspace.config.run
    if run.listen is None:
        hint = "set run.listen: 127.0.0.1:9464"
        silent = "run.listen is not set, so the daemon cannot receive webhooks"
        return [Finding("http", "run.hook", False, silent, hint, ErrorCode.INVALID)] if run.hook else []
    is_here = is_loopback(host_and_port(run.listen)[0])
    who = "this machine only" if is_here else "other machines, with the token of run.token"
    secrets = {"run.token": run.token, "run.hook.secret": run.hook.secret if run.hook is not None else None}
    wanted = [_secret(workspace, name, credential) for name, credential in secrets.items() if credential is not None]
    return [Finding("http", "listen", True, f"{run.listen} accepts requests from {who}"), *wanted]


def _channels(workspace: Workspace) -> list[Finding]:
    """Checks the notification channels as far as possible without sending a message."""
    channels = workspace.config.run.notify
    return [_channel(workspace, f"run.notify[{index}]", channel) for index, channel in enumerate(channels)]


def _channel(workspace: Workspace, where: str, channel: ChannelConfig) -> Finding:
    from kvsync.notify.webhook import WebhookSender

    def read(wanted: Credential) -> str:
        return resolve(wanted, workspace.config.root, os.environ, workspace.redactor)

    try:
        WebhookSender(where, channel, read, workspace.redactor, workspace.clock).check()
    except StoreError as error:
        return Finding.of_error("notify", where, error)
    kinds = ", ".join(channel.on)
    return Finding(
        "notify", where, True, f"{channel.format} at {describe(channel.url)} for {kinds}; no test message was sent"
    )


def _secret(workspace: Workspace, name: str, credential: Credential) -> Finding:
    from kvsync.status.http.shared_secret import Secret

    def read(wanted: Credential) -> str:
        return resolve(wanted, workspace.config.root, os.environ, workspace.redactor)

    try:
        Secret(credential, read, name).text()
    except AuthError as error:
        return Finding.of_error("http", name, error)
    return Finding("http", name, True, describe(credential))
