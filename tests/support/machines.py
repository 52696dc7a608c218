"""Several machines over one server: each a state directory of its own, on the same files or on others."""

from __future__ import annotations

import asyncio
import shutil
import threading
from typing import Any

import pytest

from kvsync.app import Report
from kvsync.ledger import target_ledger as ledgers
from kvsync.ledger.document import LedgerDocument, LedgerRow, decode, encode
from kvsync.logs import EVENTS
from kvsync.model.entry import Applied, Identity, Target
from kvsync.model.pass_options import PassOptions
from kvsync.model.place import KeyScope, Place
from kvsync.model.plan import TargetPlan
from kvsync.planning.marks import MarkSigner
from kvsync.stores.memory.backend import StoredLedger
from tests.support.memory_repository import OWNER, MemoryRepository

WEB = Target("main", "web")

SHARED_KINDS = ("memory-shared-bucket", "memory-shared-mortal")
"""The kinds of stores that keep the ledger."""


class Machine:
    """One state directory over the repository's files and server."""

    def __init__(self, repo: MemoryRepository, name: str) -> None:
        self.repo, self.path = repo, repo.root / f"machine-{name}"

    async def apply(self, ask: PassOptions | None = None, **options: Any) -> Report:
        """Plan and apply here."""
        return await self.repo.apply(ask, state_dir=self.path, **options)

    async def plan(self, ask: PassOptions | None = None, **options: Any) -> TargetPlan:
        """Plan here, writing nothing."""
        return await self.repo.plan(ask, state_dir=self.path, **options)

    async def ledger(self) -> dict[str, Applied]:
        """What the ledger of this machine holds, by key."""
        async with self.repo.open(writing=None, state_dir=self.path) as workspace:
            subject = await workspace.locate(WEB)
            return {identity.key: one for identity, one in workspace.state.ledger.all(subject.key).items()}

    async def known(self) -> set[str]:
        """The keys of entries in the ledger of this machine, without those that are out of sight."""
        return {key for key, one in (await self.ledger()).items() if one.unseen_since is None}

    def forget(self) -> None:
        """Lose the state directory."""
        shutil.rmtree(self.path)

    def apply_meanwhile(self) -> None:
        """Plan and apply here while another machine is at work in this thread."""
        thread = threading.Thread(target=lambda: asyncio.run(self.apply()))
        thread.start()
        thread.join()


def signer(repo: MemoryRepository, owner: str = OWNER) -> MarkSigner:
    """What signs at the place of the target main/web."""
    place = Place(repo.kind, (("memory", repo.server.id), ("namespace", "web")), KeyScope())
    return MarkSigner(owner, place, repo.owner_keys)


def document(repo: MemoryRepository, owner: str = OWNER) -> LedgerDocument | None:
    """The ledger that the server keeps of the target main/web, which must be that of the owner."""
    held = repo.server.ledgers.get("web")
    return None if held is None else decode(held.text, signer(repo, owner))


def keys_there(repo: MemoryRepository) -> set[str]:
    """The keys of entries in the server's ledger, without those that are out of sight."""
    found = document(repo)
    return set() if found is None else {name.key for name, row in found.rows.items() if row.unseen_since is None}


def leave(repo: MemoryRepository, text: bytes) -> None:
    """Put something in the place of the server's ledger, as another program or a broken connection would."""
    repo.server.ledgers["web"] = StoredLedger(text, repo.clock.now() + 7_776_000)


def ledger_of(owner: str = OWNER, repo: MemoryRepository | None = None, **rows: LedgerRow) -> bytes:
    """A ledger, as text, of the repository's place or of another one."""
    elsewhere = MarkSigner(owner, Place("elsewhere", ()))
    made = LedgerDocument(owner, {Identity(key): row for key, row in rows.items()})
    return encode(made, elsewhere if repo is None else signer(repo, owner))


class LedgerEvents:
    """The events that the ledgers have logged."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        patch.setattr(ledgers, "_log", self)

    def warning(self, event: str, **fields: Any) -> None:
        """Remember an event, which must be a registered one with registered fields."""
        assert set(fields) <= set(EVENTS[event].fields)
        self.events.append((event, fields))

    debug = warning

    def reasons(self) -> list[str]:
        """Why ledgers were said to be lost."""
        return [fields["reason"] for event, fields in self.events if event == "ledger.lost"]


def calls(repo: MemoryRepository) -> dict[str, int]:
    """How many calls of each method reached the server since the calls were last cleared."""
    methods = [call.method for call in repo.server.calls]
    return {method: methods.count(method) for method in sorted(set(methods))}
