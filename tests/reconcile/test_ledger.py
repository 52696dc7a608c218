"""Ledgers that live in the store: lost, damaged, someone else's, renewed, and left there when they say something new."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvsync.errors import PermanentError, TransientError
from kvsync.ledger.document import LedgerDamaged, LedgerRow, decode
from kvsync.ledger.examination import examine
from kvsync.model.pass_options import PassOptions
from kvsync.model.place import Place
from kvsync.planning.marks import MarkSigner
from kvsync.testing.conformance.ledgers import lease_store_of
from tests.support.machines import (
    SHARED_KINDS,
    WEB,
    LedgerEvents,
    Machine,
    calls,
    document,
    keys_there,
    leave,
    ledger_of,
)
from tests.support.memory_repository import MemoryRepository, is_clean, only, outcomes, refused, rows
from tests.support.places import subject_of
from tests.support.stores import KINDS

NINETY_DAYS = 7_776_000


@pytest.fixture(params=SHARED_KINDS)
def repo(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MemoryRepository:
    return MemoryRepository(tmp_path, monkeypatch, request.param)


def test_all_kinds_of_stores_that_keep_a_ledger_are_tried() -> None:
    """The kinds named here are all that keep the ledger."""
    assert {kind for kind, store in KINDS.items() if store.keeps_ledger} == set(SHARED_KINDS)


async def test_the_ledger_is_left_first_and_last(repo: MemoryRepository) -> None:
    """A pass that writes entries says so in the ledger before its first write, and leaves it after its last; one that deletes
    some leaves it once; one with nothing to do writes nothing at all."""
    repo.want({"a": 1, "b": "{value: x, sensitive: true}", "c": "{value: y, ttl: 7d}"})
    assert is_clean(await repo.apply())
    writes = [call.method for call in repo.server.calls if call.method in ("change", "put_ledger")]
    assert (writes[0], writes[-1], writes.count("put_ledger")) == ("put_ledger", "put_ledger", 2)
    assert keys_there(repo) == {"a", "b", "c"}
    repo.want({"a": 2, "b": "{value: x, sensitive: true}", "c": "{value: y, ttl: 7d}"})
    repo.server.calls.clear()
    assert is_clean(await repo.apply())
    assert calls(repo)["put_ledger"] == 2
    repo.want({"a": 2, "b": "{value: x, sensitive: true}"})
    repo.server.calls.clear()
    assert is_clean(await repo.apply())
    assert calls(repo)["put_ledger"] == 1
    repo.server.calls.clear()
    await repo.apply()
    assert calls(repo) == {"listing": 1}


async def test_a_lost_state_directory_loses_nothing(repo: MemoryRepository, here: Machine) -> None:
    """On a fresh machine the store's ledger says what is ours: drift is drift, what the files dropped is deleted."""
    repo.want({"a": 1, "b": 1, "c": 1})
    await here.apply()
    here.forget()
    repo.edit("a", "by hand")
    repo.server.write("web", "theirs", b"x")
    repo.want({"a": 1, "b": 2})
    plan = await here.plan()
    assert rows(plan) == [("update", "drifted", "a"), ("update", "changed", "b"), ("delete", "removed", "c")]
    assert is_clean(await here.apply())
    assert repo.values() == {"a": "1", "b": "2", "theirs": "x"}
    assert keys_there(repo) == {"a", "b"}


async def test_a_lost_ledger_in_the_store_is_written_again(
    repo: MemoryRepository, here: Machine, ledger_events: LedgerEvents
) -> None:
    """With the state directory at hand nothing is lost: the ledger is left again, although no entry changes."""
    repo.want({"a": 1, "b": 1})
    await here.apply()
    before = document(repo)
    repo.server.ledgers.clear()
    repo.server.calls.clear()
    assert rows(await here.plan()) == []
    assert ledger_events.reasons() == ["it no longer exists"]
    assert outcomes(await here.apply()) == {}
    assert calls(repo)["put_ledger"] == 1
    assert "change" not in calls(repo)
    after = document(repo)
    assert before is not None
    assert after is not None
    assert (after.rows, after.revision) == (before.rows, before.revision + 1)


async def test_an_older_ledger_with_the_same_rows_is_replaced_once(
    repo: MemoryRepository, here: Machine, ledger_events: LedgerEvents
) -> None:
    """An older document that came back counts as lost, even when it names the same entries: it is written again, and the next
    pass has no more to do."""
    repo.want({"a": 1})
    await here.apply()
    older = repo.server.ledgers["web"]
    repo.server.ledgers.clear()
    await here.apply()
    repo.server.ledgers["web"] = older
    repo.server.calls.clear()
    await here.apply()
    assert calls(repo)["put_ledger"] == 1
    assert ledger_events.reasons()[-1].startswith("it is an older one")
    ledger_events.events.clear()
    repo.server.calls.clear()
    await here.apply()
    assert calls(repo) == {"listing": 1}
    assert ledger_events.reasons() == []


async def test_with_both_lost_nothing_is_deleted(repo: MemoryRepository, here: Machine) -> None:
    """Our entries are nobody's then: equal ones are adopted without a write, different ones reported, others left alone."""
    repo.want({"a": 1, "b": 1, "c": 1})
    await here.apply()
    here.forget()
    repo.server.ledgers.clear()
    repo.server.calls.clear()
    repo.want({"a": 1, "b": 2})
    report = await here.apply()
    assert outcomes(report) == {"a": "applied", "b": "refused"}
    assert rows(report.plan.targets[0]) == [("adopt", "unowned", "a")]
    assert refused(report.plan.targets[0]) == [("update", "unowned", "b")]
    assert "change" not in calls(repo)
    assert repo.values() == {"a": "1", "b": "1", "c": "1"}
    assert keys_there(repo) == {"a"}
    repo.server.calls.clear()
    assert rows(await here.plan()) == []
    await here.apply()
    assert "put_ledger" not in calls(repo)


@pytest.mark.parametrize(
    "damage", [lambda text: text[:40], lambda text: b"", lambda text: text.replace(b'"a"', b'"x"')]
)
async def test_a_damaged_ledger_counts_as_lost(
    repo: MemoryRepository, here: Machine, ledger_events: LedgerEvents, damage: object
) -> None:
    """Nothing is deleted because of it, it is reported, and the next apply of a machine that knows leaves a whole one."""
    repo.want({"a": 1, "b": 1})
    await here.apply()
    leave(repo, damage(document_text(repo)))  # type: ignore[operator]
    stranger = Machine(repo, "stranger")
    repo.want({"a": 1})
    assert rows(await stranger.plan()) == [("adopt", "unowned", "a")]
    assert len(ledger_events.reasons()) == 1
    assert is_clean(await here.apply())
    assert repo.values() == {"a": "1"}
    assert keys_there(repo) == {"a"}


def document_text(repo: MemoryRepository) -> bytes:
    return repo.server.ledgers["web"].text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (ledger_of("team-b", z=LedgerRow(b"f" * 16)), "belongs to owner 'team-b'"),
        (b'{"digest": "?", "schema": "kvsync.ledger/3"}', "newer release of kvsync"),
    ],
)
async def test_a_ledger_that_is_not_ours_refuses_the_target(
    repo: MemoryRepository, here: Machine, text: bytes, why: str
) -> None:
    """Neither that ledger nor any entry is touched, and the plan says why, also when there is nothing to change."""
    leave(repo, text)
    for keys in ({"a": 1}, {}):
        repo.want(keys)
        report = await here.apply()
        error = report.plan.targets[0].error
        assert error is not None
        assert "main/web" in error
        assert why in error
    assert repo.values() == {}
    assert document_text(repo) == text
    assert not {"change", "put_ledger"} & calls(repo).keys()


async def test_a_ledger_that_becomes_another_owners_is_not_replaced(repo: MemoryRepository, here: Machine) -> None:
    """Just before it is written the ledger is read again; what came meanwhile is another owner's to keep."""
    theirs = ledger_of("team-b")
    repo.want({"a": 1, "b": 1})
    await here.apply()
    repo.want({"a": 1})
    repo.server.before_change(lambda: leave(repo, theirs))
    report = await here.apply()
    assert "belongs to owner 'team-b'" in (report.targets[0].error or "")
    assert document_text(repo) == theirs


async def test_a_command_that_reads_writes_nothing_anywhere(
    repo: MemoryRepository, here: Machine, there: Machine
) -> None:
    """A plan on a fresh machine goes by the store's ledger, and leaves both ledgers as they are."""
    repo.want({"a": 1, "b": 1})
    await here.apply()
    repo.want({"a": 1})
    repo.server.calls.clear()
    assert rows(await there.plan()) == [("delete", "removed", "b")]
    assert await there.known() == set()
    assert calls(repo) == {"listing": 1} | ({"lookup": 1} if repo.kind == "memory-shared-bucket" else {})


async def test_an_incomplete_listing_says_nothing_of_the_ledger(
    repo: MemoryRepository, here: Machine, ledger_events: LedgerEvents
) -> None:
    """A listing that broke off before the ledger is not a lost ledger."""
    repo.want({"a": 1, "b": 1})
    await here.apply()
    repo.server.list_incompletely(keep=1)
    plan = await here.plan()
    assert not plan.complete
    assert ledger_events.reasons() == []
    assert is_clean(await here.apply())
    assert rows(await here.plan()) == []


async def test_a_ledger_that_cannot_be_left_is_left_by_the_next_pass(
    repo: MemoryRepository, here: Machine, there: Machine
) -> None:
    """The entries are written, the report says what is missing, and nothing is forgotten."""
    repo.want({"a": 1})
    await here.apply()
    repo.want({"a": 2, "b": 1})
    repo.server.fail(PermanentError("no room"), times=2, on=["put_ledger"])
    report = await here.apply()
    assert outcomes(report) == {"a": "applied", "b": "applied"}
    assert "the ledger could not be written to the store: no room" in (report.targets[0].error or "")
    assert keys_there(repo) == {"a"}
    assert rows(await there.plan()) == [("adopt", "unowned", "b")]
    repo.server.calls.clear()
    again = await here.apply()
    assert (outcomes(again), again.targets[0].error) == ({}, None)
    assert keys_there(repo) == {"a", "b"}
    assert calls(repo)["put_ledger"] == 1


async def test_leaving_the_ledger_is_repeated_with_patience(repo: MemoryRepository, here: Machine) -> None:
    """A throttled call and a lost answer are not a reason to leave the ledger unwritten."""
    repo.want({"a": 1})
    repo.server.fail(TransientError("busy"), on=["put_ledger"])
    repo.server.throttle(on=["ledger"])
    report = await here.apply()
    assert report.targets[0].error is None
    assert keys_there(repo) == {"a"}


async def test_the_cost_of_a_plan_counts_the_ledger(repo: MemoryRepository, here: Machine) -> None:
    """A plan that writes one entry costs the ledger's requests and bytes too; one that writes none costs nothing."""
    repo.want({"a": 1})
    first = (await here.plan()).cost
    spent = await requests_of_an_apply(repo, here) - 1  # the listing is the plan's
    assert first.requests == spent
    assert first.bytes > 60
    assert (await here.plan()).cost.requests == 0


async def requests_of_an_apply(repo: MemoryRepository, here: Machine) -> int:
    async with repo.open(state_dir=here.path) as workspace:
        await workspace.apply(await workspace.plan(), command="test")
        return workspace.stores["main"].traffic.requests


async def test_a_run_taken_back_is_in_the_ledger(repo: MemoryRepository) -> None:
    """After undo the store's ledger says what is ours now, so that another machine sees no drift."""
    await repo.settle({"a": 1, "b": 1})
    repo.want({"a": 2, "c": 1})
    report = await repo.apply()
    assert outcomes(await repo.undo(report.run or "")) == {"a": "applied", "b": "applied", "c": "applied"}
    assert keys_there(repo) == {"a", "b"}
    repo.want({"a": 1, "b": 1})
    assert rows(await Machine(repo, "fresh").plan()) == []


async def test_a_paused_target_keeps_its_ledger(repo: MemoryRepository) -> None:
    """While a person has paused a target, nothing is left in its store."""
    await repo.settle({"a": 1})
    repo.server.ledgers.clear()
    async with repo.open() as workspace:
        workspace.state.pauses.pause("main", "web", "hands off", repo.clock.now())
        await workspace.apply(await workspace.plan(), command="test")
    assert repo.server.ledgers == {}


@pytest.mark.parametrize("kind", SHARED_KINDS)
async def test_a_state_directory_leaves_its_knowledge_to_the_store(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ledger that was only kept here is left in the store once that keeps one, with nothing written but that."""
    repo = MemoryRepository(tmp_path, monkeypatch, kind.replace("-shared", ""))
    await repo.settle({"a": 1, "b": 1})
    assert repo.server.ledgers == {}
    repo.kind = kind
    repo.configure()
    await repo.apply()
    assert keys_there(repo) == {"a", "b"}
    assert "change" not in calls(repo)


async def test_ledgers_that_end_are_renewed_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where everything ends, passes at the moments that plans name keep ledger and entries alive over 400 days, and write
    the ledger no more often than its third of life asks."""
    repo = MemoryRepository(tmp_path, monkeypatch, "memory-shared-mortal")
    repo.want({"a": 1, "b": "{value: x, expires_at: 2027-01-16T00:00:00Z}"})
    end = repo.clock.now() + 400 * 86_400
    assert is_clean(await repo.apply())
    while (moment := (await repo.plan()).next_moment) is not None and moment < end:
        assert repo.clock.now() < moment <= repo.clock.now() + NINETY_DAYS
        repo.clock.advance(moment - repo.clock.now() + 1)
        assert repo.held("a") == "1"
        assert repo.server.ledgers["web"].expires_at > repo.clock.now()  # type: ignore[operator]
        await repo.apply()
        assert only((await repo.plan_all()).targets).changes == ()
    assert calls(repo)["put_ledger"] == 2 + 400 // 60


async def test_a_ledger_alone_is_renewed_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ledger that speaks of no living entry is written again before it ends all the same, and then the plan is empty."""
    repo = MemoryRepository(tmp_path, monkeypatch, "memory-shared-mortal")
    repo.want({"a": "{value: x, ttl: 1h, renew_before: 0s}", "b": 1})
    assert is_clean(await repo.apply())
    held = repo.server.ledgers["web"]
    repo.want({"a": "{value: x, ttl: 1h, renew_before: 0s}"})
    repo.configure("{guard: {max_delete_pct: 100}}")
    assert is_clean(await repo.apply())
    repo.clock.advance(NINETY_DAYS * 2 / 3 + 1)
    repo.server.calls.clear()
    assert outcomes(await repo.apply()) == {}
    assert calls(repo)["put_ledger"] == 1
    assert repo.server.ledgers["web"].expires_at == repo.clock.now() + NINETY_DAYS
    assert held.expires_at is not None
    plan = await repo.plan()
    assert (rows(plan), plan.next_moment) == ([], repo.clock.now() + NINETY_DAYS * 2 / 3)


async def test_the_doctor_looks_at_ledgers(repo: MemoryRepository, here: Machine) -> None:
    """A whole ledger is counted; a damaged one and another owner's are reported with their target."""
    repo.want({"a": 1, "b": 1})
    await here.apply()
    async with repo.open(writing=None, state_dir=here.path) as workspace:
        store = workspace.stores["main"]
        ours, theirs = subject_of(store, WEB, "team-a"), subject_of(store, WEB, "team-b")
        found = await examine(lease_store_of(store), [ours])
        assert (found.ok, found.detail) == (True, "2 entries in the ledgers that the store keeps")
        found = await examine(lease_store_of(store), [theirs])
        assert not found.ok
        assert "main/web: it belongs to owner 'team-a'" in found.detail
        leave(repo, b"{")
        found = await examine(lease_store_of(store), [ours])
        assert not found.ok
        assert "main/web: it is truncated" in found.detail


async def test_nothing_sensitive_is_in_the_ledger(repo: MemoryRepository, here: Machine) -> None:
    """The fingerprint of a sensitive value is sealed in the store's ledger: nobody can try values against it."""
    repo.want({"token": "{value: hunter2, sensitive: true}"})
    await here.apply()
    held = only(only(repo.server.held.values()).values())
    async with repo.open(writing=None, state_dir=here.path) as workspace:
        (entry,) = workspace.load().targets[WEB].entries.values()
    found = document(repo)
    assert found is not None
    (row,) = found.rows.values()
    assert held.content.value == b"hunter2"
    assert row.sensitive
    assert row.fingerprint != entry.fingerprint
    assert b"hunter2" not in document_text(repo)


async def test_explain_goes_by_the_stores_ledger(repo: MemoryRepository, here: Machine, there: Machine) -> None:
    """On a machine that never wrote, what was last applied is distinguished from the store's ledger."""
    from kvsync.app.explain import explain

    repo.want({"a": 1})
    await here.apply()
    async with repo.open(writing=None, state_dir=there.path) as workspace:
        (found,) = await explain(workspace, workspace.load(), "a")
    assert found.applied is not None
    assert found.verdict is None


async def test_a_deep_pass_goes_by_the_same_ledger(repo: MemoryRepository, here: Machine, there: Machine) -> None:
    """Reading every value changes nothing of what is ours."""
    repo.want({"a": 1, "b": 1})
    await here.apply()
    repo.want({"a": 1})
    assert rows(await there.plan(PassOptions(deep=True))) == [("delete", "removed", "b")]


def test_what_is_left_can_be_read() -> None:
    """The sample ledgers of these tests are what they say."""
    elsewhere = MarkSigner("team-b", Place("elsewhere", ()))
    assert decode(ledger_of("team-b"), elsewhere).owner == "team-b"
    with pytest.raises(LedgerDamaged):
        decode(b"{", elsewhere)
