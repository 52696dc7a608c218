from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kvsync.errors import BatchRefused, LostAnswer, TransientError
from kvsync.model.change import Change
from kvsync.model.entry import Actual, Identity
from kvsync.stores.base import Write, WriteResult, WriteStatus
from tests.apply.harness import ApplyHarness, entry
from tests.support.examples import examples

KEYS = "abcdef"
FOREIGN = b"foreign"

keys = st.sampled_from(KEYS)
wishes = st.dictionaries(keys, st.sampled_from(["1", "2"]), max_size=6)
events = st.one_of(
    st.none(),
    st.sampled_from(
        ["transient", "throttle", "lost before", "lost after", "refused", "unknown before", "unknown after"]
    ),
    st.tuples(st.sampled_from(["write", "delete", "rewrite"]), keys),
)
stores = st.sampled_from(
    [
        {"batch": 3},
        {"batch": 1, "concurrency": 3},
        {"batch": 2, "values_in_listing": False, "read_batch": 1},
        {"batch": 3, "compare_and_set": False},
        {"batch": 3, "compare_and_set": False, "settle": 60.0},
    ]
)


class FaultyHarness:
    """A bench whose store meets one event of a script at every call, and notes what kvsync really did there."""

    def __init__(self, harness: ApplyHarness, script: Sequence[Any]) -> None:
        self.harness, self.script = harness, list(script)
        self.done: dict[str, bytes | None] = {}
        self.overwritten: list[str] = []
        self.seen_gone: set[str] = set()
        self._read, self._write = harness.store.read, harness.store.write
        self._foreign_writes = 0

    def __enter__(self) -> None:
        self.harness.store.read = self.read  # type: ignore[method-assign]
        self.harness.store.write = self.write  # type: ignore[method-assign]

    def __exit__(self, *_error: object) -> None:
        self.harness.store.read = self._read  # type: ignore[method-assign]
        self.harness.store.write = self._write  # type: ignore[method-assign]

    async def read(self, namespace: str, identities: Sequence[Identity]) -> Mapping[Identity, Actual]:
        event = self._next()
        if event in ("transient", "throttle", "lost before", "lost after"):
            raise TransientError("try later", 3.0 if event == "throttle" else None)
        found = await self._read(namespace, identities)
        self.seen_gone |= {identity.key for identity in identities if identity not in found}
        return found

    async def write(self, namespace: str, writes: Sequence[Write]) -> Sequence[WriteResult]:
        match event := self._next():
            case "transient" | "throttle":
                raise TransientError("try later", 3.0 if event == "throttle" else None)
            case "refused":
                raise BatchRefused("there is something wrong in this call")
            case "lost before":
                raise LostAnswer("no answer")
            case "unknown before":
                return [WriteResult(WriteStatus.UNKNOWN, error="?") for _ in writes]
        results = await self._really_write(namespace, writes)
        if event == "lost after":
            raise LostAnswer("no answer")
        if event == "unknown after":
            return [WriteResult(WriteStatus.UNKNOWN, error="?") for _ in writes]
        return results

    async def _really_write(self, namespace: str, writes: Sequence[Write]) -> Sequence[WriteResult]:
        before = {write.identity.key: self.harness.held(write.identity.key) for write in writes}
        results = await self._write(namespace, writes)
        for write, result in zip(writes, results, strict=True):
            if result.status is WriteStatus.DONE:
                key = write.identity.key
                self.done[key] = write.content.value if write.content else None
                if (before[key] or b"").startswith(FOREIGN):
                    self.overwritten.append(key)
        return results

    def _next(self) -> Any:
        event = self.script.pop(0) if self.script else None
        if isinstance(event, tuple):
            self._interfere(*event)
        return event

    def _interfere(self, what: str, key: str) -> None:
        server = self.harness.server
        held = {slot.key: one for slot, one in server.held.get("web", {}).items()}.get(key)
        self._foreign_writes += 1
        if what == "delete":
            server.delete("web", key)
        elif what == "rewrite" and held is not None:
            server.write("web", key, held.content, mark=held.mark)
        else:
            server.write("web", key, FOREIGN + b"%d" % self._foreign_writes, mark=held.mark if held else None)


def check_outcomes(rough: FaultyHarness, changes: Sequence[Change], outcomes: Sequence[Any]) -> None:
    assert [(one.identity, one.action) for one in outcomes] == [(one.identity, one.action) for one in changes]
    for change, outcome in zip(changes, outcomes, strict=True):
        wished = change.after.content.value if change.after else None
        key = change.identity.key
        if outcome.kind == "applied":
            # What someone else deleted is gone too, even if yet another one writes it again later.
            assert key in rough.done or (wished is None and key in rough.seen_gone), outcome
            assert rough.done.get(key) == wished
        if outcome.kind in ("not-attempted", "refused", "skipped"):
            assert key not in rough.done


def check_journal(rough: FaultyHarness, outcomes: Sequence[Any]) -> None:
    journal = rough.harness.journal()
    assert set(rough.done) <= set(journal)
    kinds = {str(outcome.identity): outcome.kind for outcome in outcomes}
    assert all(kind == kinds[key] for key, kind in journal.items())


async def live(path: Path, capabilities: Mapping[str, Any], first: Any, then: Any, script: Sequence[Any]) -> None:
    harness = ApplyHarness(path, dict(capabilities))
    try:
        await harness.settle(*(entry(key, value) for key, value in first.items()))
        harness.want(*(entry(key, value) for key, value in then.items()))
        changes = await harness.plan()
        with (rough := FaultyHarness(harness, script)):
            report = await harness.apply(changes)
        check_outcomes(rough, changes, report.outcomes)
        check_journal(rough, report.outcomes)
        if harness.store.capabilities.compare_and_set:
            assert rough.overwritten == []
        await converge(harness)
    finally:
        harness.state.close()


async def converge(harness: ApplyHarness) -> None:
    """Left alone, the next run does all that is still to do."""
    report = await harness.apply()
    assert {outcome.kind.value for outcome in report.outcomes} <= {"applied"}
    assert await harness.plan() == []
    for identity, content in harness.server.contents("web").items():
        wished = harness.desired.get(identity)
        assert content.value.startswith(FOREIGN) or (wished is not None and content == wished.content)


@settings(max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(capabilities=stores, first=wishes, then=wishes, script=st.lists(events, max_size=25))
def test_whatever_happens_on_the_way(
    capabilities: Mapping[str, Any], first: dict[str, str], then: dict[str, str], script: list[Any]
) -> None:
    """Under any faults and foreign writers: one outcome a change; `applied` exactly when kvsync wrote what was asked; never
    over a foreign value where the store compares; nothing that the journal lacks; and the next run converges."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(live(Path(folder) / "state", capabilities, first, then, script))
