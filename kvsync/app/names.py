"""Names that a shell completes: targets, keys, runs, commits, hashes and environments, as this machine knows them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from kvsync.app.configuration import read_config
from kvsync.app.open import open_offline
from kvsync.rendering.words import moment, short_hash

RUNS: Final = 50
"""How many of the last runs are offered."""


class Name(NamedTuple):
    """One name, and what it is, for shells that show that."""

    text: str
    about: str = ""


class KnownNames:
    """The names under one configuration. No store, database or Git server is asked, and nothing is decrypted."""

    def __init__(self, file: Path, environment: str | None) -> None:
        self._file, self._environment = file, environment

    def environments(self) -> Iterator[Name]:
        """The declared environments. Raises InvalidInput."""
        return map(Name, read_config(self._file, environ=os.environ).environments)

    def stores(self) -> Iterator[Name]:
        """The configured stores. Raises InvalidInput."""
        config = read_config(self._file, environment=self._environment, environ=os.environ)
        return (Name(name, store.type) for name, store in config.stores.items())

    async def targets(self) -> Iterator[Name]:
        """The targets that files name, and those in which kvsync was before. Raises InvalidInput, StateDirError."""
        async with open_offline(self._file, self._environment) as workspace:
            found = sorted({*workspace.load().managed, *workspace.state.places.all()})
        return (Name(str(target)) for target in found)

    async def keys(self, target: str | None) -> Iterator[Name]:
        """The keys that files define, in one target or in all. Raises InvalidInput, StateDirError."""
        async with open_offline(self._file, self._environment) as workspace:
            targets = workspace.load().targets
        meant = (desired.entries for one, desired in targets.items() if target in (None, str(one)))
        return map(Name, sorted({identity.key for entries in meant for identity in entries}))

    async def runs(self) -> list[Name]:
        """The last runs, newest first. Raises InvalidInput, StateDirError."""
        async with open_offline(self._file, self._environment) as workspace:
            return [
                Name(run.id, f"{run.command}, {moment(run.started_at)}") for run in workspace.state.journal.runs(RUNS)
            ]

    async def commits(self) -> Iterator[Name]:
        """The commits that the last runs applied, newest first. Raises InvalidInput, StateDirError."""
        async with open_offline(self._file, self._environment) as workspace:
            runs = workspace.state.journal.runs(RUNS)
        return map(Name, dict.fromkeys(run.source[:12] for run in runs if run.source))

    async def hashes(self) -> list[Name]:
        """The plans that wait for approval. Raises InvalidInput, StateDirError."""
        async with open_offline(self._file, self._environment) as workspace:
            parked = [one for one in workspace.state.parked.all() if one.approved_at is None]
            return [Name(short_hash(one.digest), str(one.target)) for one in parked]
