"""Checks of one store for `kvsync doctor`: what the store checks itself, the places of its targets, and its ledgers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from kvsync.app.doctor.report import Finding
from kvsync.app.workspace import Workspace
from kvsync.desired import DesiredState
from kvsync.errors import ErrorCode, StoreError
from kvsync.ledger.examination import examine as examine_ledgers
from kvsync.model.health import DoctorCheck
from kvsync.planning.pass_target import PassTarget
from kvsync.stores.base import Store
from kvsync.stores.extensions import as_ledger_keeping
from kvsync.util.waits import WAITS, waiting_place

_LATER: Final = 0.5
"""Seconds by which a store's checks may exceed its `timeout`: its own error comes first, and names the host."""


async def check_store(workspace: Workspace, name: str, loaded: DesiredState) -> list[Finding]:
    """What a store says of itself; at least whether it can be reached."""
    subject, patience = f"store {name}", workspace.config.stores[name].timeout
    with waiting_place(subject):
        checks = asyncio.create_task(_checks(workspace, name, loaded))
    done, _ = await asyncio.wait({checks}, timeout=patience + _LATER)
    if not done:
        late = _why_late(workspace.stores[name], subject, patience)
        checks.cancel()
        await asyncio.gather(checks, return_exceptions=True)
        return [late]
    try:
        return [Finding(subject, one.check, one.ok, one.detail, one.hint, one.code) for one in checks.result()]
    except StoreError as error:
        return [Finding.of_error(subject, "reached", error)]


async def _checks(workspace: Workspace, name: str, loaded: DesiredState) -> Sequence[DoctorCheck]:
    """The checks of a store, and of the places of its targets if those are fine. Raises StoreError."""
    store = workspace.stores[name]
    targets = [target for target in loaded.targets if target.store == name]
    findings: Sequence[DoctorCheck] = await store.check() or [await _reached(store)]
    if targets and all(one.ok for one in findings):
        subjects = [await workspace.locate(target) for target in targets]
        findings = [*findings, *_moved(subjects)]
        keeper = as_ledger_keeping(store)
        findings += [await examine_ledgers(keeper, subjects)] if keeper is not None else []
    return findings


def _why_late(store: Store, subject: str, patience: float) -> Finding:
    """Why the checks of a store have not ended: because kvsync itself waits, or because the server does not answer."""
    failure, wait = store.traffic.last_failure, WAITS.longest(subject)
    if wait is None and failure:
        return Finding(subject, "reached", False, failure, code=ErrorCode.STORE_UNAVAILABLE)
    if wait is None:
        hint = "check the endpoint and the network, or set a longer timeout"
        return Finding(
            subject, "reached", False, f"no response within {patience:g} s", hint, ErrorCode.STORE_UNAVAILABLE
        )
    detail = f"not checked within {patience:g} s, because kvsync itself is {wait.words}"
    detail += f"; the last error was: {failure}" if failure else ""
    hint = "run kvsync doctor again later, or set a longer timeout"
    return Finding(subject, "reached", False, detail, hint, ErrorCode.STORE_UNAVAILABLE)


def _moved(subjects: Sequence[PassTarget]) -> list[DoctorCheck]:
    """The targets whose names lead to another place than in the last pass."""
    hint = (
        "if this is intended, run kvsync apply (every entry there is treated as new); otherwise fix the configuration"
    )
    code = ErrorCode.PLACE_CHANGED
    return [
        DoctorCheck("place", False, f"{one.target} is now {one.located.place}; it was {one.moved_from}", hint, code)
        for one in subjects
        if one.moved_from is not None
    ]


async def _reached(store: Store) -> DoctorCheck:
    """What is to be said of a store that has no checks of its own. Raises StoreError."""
    return DoctorCheck("reached", True, f"{len(await store.namespaces()):,} namespaces")
