"""Keeps a replica with older files from applying them over what another replica applied."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final, Protocol

from kvsync.desired import DesiredState
from kvsync.errors import AuthError, StoreError
from kvsync.logs import get_logger
from kvsync.model.change import Action
from kvsync.model.plan import TargetPlan
from kvsync.model.revision import AppliedRevision
from kvsync.planning.revisions import is_recorded, newer_revision
from kvsync.rendering.words import moment
from kvsync.state import StateDir
from kvsync.util.background import in_background
from kvsync.util.clock import Clock
from kvsync.util.private_files import write_private

_FRESH: Final = 2.0
"""Seconds for which the history is not read again: other replicas seldom begin a revision."""

_MOST_SEEN: Final = 1000

_FILE: Final = "revisions.json"


_log = get_logger()


class RevisionLog(Protocol):
    """Where replicas record what they apply. The methods raise StoreError, StateDirError."""

    async def revisions(self) -> Sequence[AppliedRevision]:
        """What was applied, oldest first."""
        ...

    async def add_revision(self, applied: AppliedRevision) -> None:
        """Record that a revision is applied from now on."""
        ...


class SharedRevisions:
    """The log in a state that replicas share."""

    def __init__(self, state: StateDir) -> None:
        self._log = state.revisions

    async def revisions(self) -> Sequence[AppliedRevision]:
        """What was applied, oldest first. Raises StateDirError."""
        return await in_background(self._log.all)

    async def add_revision(self, applied: AppliedRevision) -> None:
        """Record a revision. Raises StateDirError."""
        await in_background(lambda: self._log.add(applied))


class RevisionCheck:
    """What one replica knows of the revisions. `by` is its name; one that `records` says what it applies."""

    def __init__(self, log: RevisionLog, by: str, folder: Path, clock: Clock, *, records: bool) -> None:
        self._log, self._by, self._clock, self._records = log, by, clock, records
        self._seen = _SeenRevisions(folder / _FILE)
        self._mine: str | None = None
        self._base: Sequence[AppliedRevision] = ()
        self._history: Sequence[AppliedRevision] = ()
        self._read_at = float("-inf")
        self._lock = asyncio.Lock()
        self._is_denied = False
        self._newer: AppliedRevision | None = None

    async def why_not(self, files: DesiredState) -> str | None:
        """Why these files must not be applied without an approval, None if they may be. Raises StateDirError."""
        try:
            async with self._lock:
                return await self._decide(files)
        except AuthError as error:
            self._warn(error)
            return None
        except StoreError as error:
            return f"cannot find out which files were applied last: {error}"

    def superseded_by(self, revision: str | None) -> str | None:
        """The revision that was applied after this one, as far as the last pass found out; None where there is none."""
        is_older = self._newer is not None and revision == self._mine
        return self._newer.revision if self._newer is not None and is_older else None

    async def _decide(self, files: DesiredState) -> str | None:
        if self._clock.monotonic() >= self._read_at + _FRESH:
            self._history, self._read_at = await self._log.revisions(), self._clock.monotonic()
        if files.is_applicable and (self._mine is None or files.stable_in is None):  # what still moves is not used
            self._switch(files.revision)
        if self._mine is None:
            return None
        self._newer = newer = newer_revision(self._mine, self._base, self._seen.known, self._history)
        if newer is not None:
            return _reason(files, newer)
        await self._record(files)
        self._base = self._history
        return None

    def _warn(self, error: AuthError) -> None:
        """Say once that older files are not noticed: an earlier version needed no right to this record."""
        if not self._is_denied:
            _log.warning("revisions.denied", error=str(error), code=error.code)
        self._is_denied = True

    def _switch(self, revision: str) -> None:
        if revision != self._mine:
            self._mine, self._base = revision, ()
            self._seen.add(revision)

    async def _record(self, files: DesiredState) -> None:
        if self._records and self._mine and not is_recorded(self._mine, self._history):
            applied = AppliedRevision(self._mine, files.source, self._clock.now(), self._by)
            await self._log.add_revision(applied)
            self._history = (*self._history, applied)


def parked(plan: TargetPlan, reason: str) -> TargetPlan:
    """The plan of files that must not be applied; what to do comes after a semicolon in the reason. A plan that only renews
    lifetimes is applied all the same."""
    if plan.deletes_namespace:
        notes = (*plan.notes, f"the namespace stays: {reason.partition(';')[0]}")
        return replace(plan, deletes_namespace=False, notes=notes)
    only_renews = all(one.action is Action.RENEW for one in plan.changes)
    return plan if only_renews else replace(plan, parked=(*plan.parked, reason))


class _SeenRevisions:
    """The revisions that the files of this machine had. A file that cannot be read or written is done without."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.known: dict[str, None] = {}
        with suppress(OSError, ValueError, TypeError):
            self.known = dict.fromkeys(map(str, json.loads(file.read_bytes())))

    def add(self, revision: str) -> None:
        self.known.pop(revision, None)
        self.known[revision] = None
        self.known = dict.fromkeys(list(self.known)[-_MOST_SEEN:])
        with suppress(OSError):
            write_private(self._file, json.dumps(list(self.known)).encode())


def _reason(files: DesiredState, newer: AppliedRevision) -> str:
    mine, other = (f" (commit {commit[:12]})" if commit else "" for commit in (files.source, newer.commit))
    applied = f"{newer.by} applied at {moment(newer.at)}{other}"
    return f"the files here{mine} are older than those that {applied}; update them, or approve this plan to go back"
