"""A store that fails on command, a real state directory, the real three-way diff, and an applier between them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kvsync.apply.engine import Applier
from kvsync.apply.model import ApplyReport, Step
from kvsync.apply.ports import RunPort
from kvsync.apply.store_access import ApplierOptions
from kvsync.model.canonical import fingerprint
from kvsync.model.change import Action, Change, Outcome, OutcomeKind, Refusal
from kvsync.model.entry import Applied, Content, Entry, Identity, Target
from kvsync.model.policy import Adopt
from kvsync.planning.classify import classify
from kvsync.planning.undesired import classify_undesired
from kvsync.planning.verdict import Rules
from kvsync.reconcile.observer import Observer
from kvsync.state import StateDir
from kvsync.stores.memory.store import MemoryStore
from kvsync.stores.pacing import RetryPolicy
from kvsync.testing import FakeClock, MemoryServer, memory_store
from tests.support.places import subject_of

TARGET = Target("memory", "web")
OWNER = "team-a"


def entry(key: str, value: str = "v", **fields: Any) -> Entry:
    content = Content(value.encode())
    return Entry(Identity(key), content, fingerprint(content), **fields)


def kinds(report: ApplyReport) -> dict[str, str]:
    return {str(outcome.identity): outcome.kind.value for outcome in report.outcomes}


@dataclass
class ApplyHarness:
    """`want` says what the files ask; `plan` what follows from that; `apply` does it."""

    path: Path
    capabilities: dict[str, Any] = field(default_factory=dict)
    adopt: Adopt = Adopt.IF_EQUAL

    def __post_init__(self) -> None:
        self.clock = FakeClock()
        self.server = MemoryServer(self.clock)
        self.store: MemoryStore = memory_store(self.server, clock=self.clock, **self.capabilities)
        self.state = StateDir.open(self.path, writable=True, clock=self.clock)
        self._subject = subject_of(self.store, TARGET, OWNER)
        self._observer = Observer(self.store, self._subject, self.state)
        self.desired: dict[Identity, Entry] = {}
        self.replanned: list[Identity] = []
        self.run_id = ""

    def ledger(self) -> dict[Identity, Applied]:
        """All that the ledger knows."""
        return dict(self.state.ledger.all(self._subject.key))

    def want(self, *entries: Entry) -> None:
        self.desired = {one.identity: one for one in entries}

    def held(self, key: str) -> bytes | None:
        content = self.server.contents("web").get(Identity(key))
        return content.value if content else None

    @property
    def rules(self) -> Rules:
        return Rules(self._subject.signer, self.clock.now(), b"key", adopt=self.adopt)

    async def plan(self) -> list[Change]:
        snapshot = await self._observer.observe(None, deep=False)
        assert snapshot is not None
        verdicts = []
        for identity in sorted({*self.desired, *snapshot.entries}, key=str):
            actual = snapshot.entries.get(identity)
            if actual is not None and actual.fingerprint is None:
                actual = await self._observer.reread(identity)
            verdicts.append(self._judge(identity, actual))
        return [verdict for verdict in verdicts if isinstance(verdict, Change)]

    async def replan(self, identity: Identity, _approved: Change) -> Change | Refusal | None:
        self.replanned.append(identity)
        verdict = self._judge(identity, await self._observer.reread(identity))
        return verdict if isinstance(verdict, Change | Refusal) else None

    def _judge(self, identity: Identity, actual: Any) -> Any:
        last = self.state.ledger.get(self._subject.key, [identity]).get(identity)
        if identity in self.desired:
            return classify(self.desired[identity], actual, last, self.rules)
        return classify_undesired(actual, last, None, self.rules) if actual is not None else None

    def applier(self, run: RunPort | None = None, **options: Any) -> Applier:
        if run is None:
            opened = self.state.journal.begin("test")
            run, self.run_id = opened, opened.id
        options.setdefault("retry", RetryPolicy(attempts=4, deadline=60, base=1, cap=8))
        options.setdefault("replan", self.replan)
        return Applier(
            self.store,
            self._subject.located,
            self._subject.signer,
            run,
            self.clock,
            ApplierOptions(rng=random.Random(7), **options),
        )

    async def apply(self, changes: Iterable[Change] | None = None, **options: Any) -> ApplyReport:
        changes = list(changes) if changes is not None else await self.plan()
        return await self.applier(**options).run([Step(one) for one in changes])

    async def settle(self, *entries: Entry) -> None:
        """Bring the store to these entries, undisturbed."""
        self.want(*entries)
        report = await self.apply()
        assert all(outcome.kind is OutcomeKind.APPLIED for outcome in report.outcomes), report.outcomes
        self.server.calls.clear()

    def journal(self) -> dict[str, str | None]:
        """The outcomes that the journal holds of the last run, by key."""
        return {str(one.identity): one.outcome for one in self.state.journal.changes(self.run_id)}


def after(count: int) -> Callable[[], bool]:
    """A `stop` that is true from the given look on."""
    looks = iter(range(10**9))
    return lambda: next(looks) >= count


def writes_of(server: MemoryServer) -> list[tuple[str, ...]]:
    return [call.keys for call in server.calls if call.method == "change"]


def only(report: ApplyReport) -> Outcome:
    (outcome,) = report.outcomes
    return outcome


__all__ = ["OWNER", "TARGET", "Action", "ApplyHarness", "after", "entry", "kinds", "only", "writes_of"]
