"""Ledgers in stores, and what they prove: with an owner key nobody else can make one; an older, copied or forged one counts
as lost."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from kvsync.ledger.document import LedgerRow, decode, encode
from kvsync.model.canonical import fingerprint
from kvsync.model.entry import Content
from kvsync.stores.memory.backend import StoredLedger
from tests.support.machines import SHARED_KINDS, LedgerEvents, Machine, document, keys_there, leave, ledger_of, signer
from tests.support.memory_repository import MemoryRepository, is_clean, outcomes, refused, rows

KEY, NEW_KEY = b"k" * 32, b"n" * 32
SECRET = "{value: hunter2, sensitive: true}"
OTHER_SECRET = "{value: hunter3, sensitive: true}"
KEYS = {"a": "1", "b": "1", "secret": SECRET}
FREE_HAND = "{guard: {max_update_pct: 100, max_delete_pct: 100}}"


@pytest.fixture(params=SHARED_KINDS)
def repo(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MemoryRepository:
    return MemoryRepository(tmp_path, monkeypatch, request.param, FREE_HAND)


def row_of(value: str) -> LedgerRow:
    """The row of an entry that holds this value."""
    return LedgerRow(fingerprint(Content(value.encode())))


def foreign(repo: MemoryRepository, **values: str) -> None:
    for key, value in values.items():
        repo.server.write("web", key, value.encode(), expires_at=repo.clock.now() + 7_776_000)


# -- forged, copied, unsigned -----------------------------------------------------------------------------------------


async def test_a_forged_ledger_deletes_nothing(
    repo: MemoryRepository, there: Machine, ledger_events: LedgerEvents
) -> None:
    """With an owner key, a ledger that is not signed with it counts as lost, whatever it names: entries equal to the files are
    adopted, others are refused, and what the files do not want is foreign."""
    foreign(repo, a="1", b="2", theirs="x")
    forged = ledger_of(repo=repo, a=row_of("1"), b=row_of("2"), theirs=row_of("x"))
    repo.owner_keys = (KEY,)
    leave(repo, forged)
    repo.want({"a": 1, "b": 1})
    report = await there.apply()
    plan = report.plan.targets[0]
    assert (rows(plan), refused(plan)) == ([("adopt", "unowned", "a")], [("update", "unowned", "b")])
    assert plan.foreign == 1
    assert set(ledger_events.reasons()) == {"it is not signed with the owner key"}
    assert repo.values() == {"a": "1", "b": "2", "theirs": "x"}
    assert keys_there(repo) == {"a"}


async def test_without_an_owner_key_a_ledger_is_believed(repo: MemoryRepository, there: Machine) -> None:
    """What `doctor` warns of: without an owner key anybody who may write to the store can name entries as ours."""
    foreign(repo, theirs="x")
    leave(repo, ledger_of(repo=repo, theirs=row_of("x")))
    repo.want({"a": 1})
    assert ("delete", "removed", "theirs") in rows(await there.plan())


@pytest.mark.parametrize("keys", [(), (KEY,)])
async def test_a_ledger_from_another_place_is_not_believed(
    repo: MemoryRepository, there: Machine, ledger_events: LedgerEvents, keys: tuple[bytes, ...]
) -> None:
    """A ledger that was copied from another store, signed or not, makes nothing ours here."""
    repo.owner_keys = keys
    foreign(repo, theirs="x")
    copied = ledger_of(repo=repo, theirs=row_of("x"))
    elsewhere = replace(signer(repo), place=replace(signer(repo).place, parts=(("memory", "another"),)))
    leave(repo, encode(decode(copied, signer(repo)), elsewhere))
    repo.want({"a": 1})
    assert rows(await there.plan()) == [("create", "new", "a")]
    assert ledger_events.reasons() == ["it was written for another place and copied here"]


async def test_a_ledger_signed_with_an_older_key_is_signed_again(repo: MemoryRepository, here: Machine) -> None:
    """While an older owner key is listed, its ledgers are believed, and signed with the new one by the next apply."""
    repo.owner_keys = (KEY,)
    repo.want(KEYS)
    await here.apply()
    repo.owner_keys = (NEW_KEY, KEY)
    assert rows(await here.plan()) == []
    await here.apply()
    repo.owner_keys = (NEW_KEY,)
    found = document(repo)
    assert found is not None
    assert found.is_current
    fresh = Machine(repo, "fresh")
    repo.want({"a": 1})
    assert is_clean(await fresh.apply())
    assert repo.values() == {"a": "1"}


async def test_an_owner_key_that_comes_later_signs_what_is_known(
    repo: MemoryRepository, here: Machine, ledger_events: LedgerEvents
) -> None:
    """Where an owner key is introduced, the unsigned ledger counts as lost, and the machine that knows better signs its own."""
    repo.want(KEYS)
    await here.apply()
    repo.owner_keys = (KEY,)
    assert rows((await here.apply()).plan.targets[0]) == []
    assert ledger_events.reasons() == ["it is not signed with the owner key"]
    fresh = Machine(repo, "fresh")
    repo.want({"a": 1})
    assert is_clean(await fresh.apply())
    assert repo.values() == {"a": "1"}


async def test_a_ledger_of_an_earlier_version_is_taken_over(repo: MemoryRepository, there: Machine) -> None:
    """A ledger without a place, as earlier versions left it, says what is ours, and is written again for this place."""
    foreign(repo, a="1", b="1")
    text = json.loads(ledger_of(repo=repo, a=row_of("1"), b=row_of("1")))
    old = {"entries": text["entries"], "owner": text["owner"], "schema": "kvsync.ledger/1", "seals": text["seals"]}
    leave(repo, json.dumps(old | {"digest": digest_of(old)}).encode())
    repo.want({"a": 1})
    assert is_clean(await there.apply())
    assert repo.values() == {"a": "1"}
    assert b"kvsync.ledger/2" in repo.server.ledgers["web"].text
    assert keys_there(repo) == {"a"}


def digest_of(body: dict[str, object]) -> str:
    from hashlib import sha256

    from kvsync.model.canonical import canonical_json

    return sha256(canonical_json(body).encode()).hexdigest()


# -- older ------------------------------------------------------------------------------------------------------------


async def test_an_older_ledger_takes_nothing_away_and_brings_nothing_back(
    repo: MemoryRepository, here: Machine, ledger_events: LedgerEvents
) -> None:
    """An older ledger that comes back into the store, from a copy or a late read, neither makes foreign what was written since
    nor ours what was deleted since: the state directory knows better, and writes it again."""
    repo.want({"a": 1, "gone": 1})
    await here.apply()
    older = repo.server.ledgers["web"]
    repo.want({"a": 2, "new": 1})
    assert is_clean(await here.apply())
    newer = document(repo)
    foreign(repo, gone="1")
    repo.server.ledgers["web"] = StoredLedger(older.text, repo.clock.now() + 7_776_000)
    repo.want({"b": 1})
    plan = await here.plan()
    assert sorted(rows(plan)) == [("create", "new", "b"), ("delete", "removed", "a"), ("delete", "removed", "new")]
    assert ledger_events.reasons() == ["it is an older one (revision 2; this machine has seen 4)"]
    assert is_clean(await here.apply())
    assert repo.values() == {"b": "1", "gone": "1"}
    found = document(repo)
    assert found is not None
    assert newer is not None
    assert found.revision > newer.revision


async def test_a_ledger_that_begins_again_is_counted_on(
    repo: MemoryRepository, here: Machine, there: Machine, ledger_events: LedgerEvents
) -> None:
    """Where another machine lost its state directory together with the ledger in the store, its new ledger is older than
    the known one: it is written again, also if it says the same, and from then on both go by it."""
    repo.want({"a": 1})
    for value in (1, 2, 3):
        repo.want({"a": value})
        await here.apply()
    repo.server.ledgers.clear()
    await there.apply()
    await here.apply()
    assert ledger_events.reasons()[-1].startswith("it is an older one")
    ledger_events.events.clear()
    for machine in (here, there, here):
        repo.server.calls.clear()
        assert outcomes(await machine.apply()) == {}
        assert not {"ledger", "put_ledger"} & {call.method for call in repo.server.calls}
    assert ledger_events.reasons() == []


async def test_a_machine_from_an_older_backup_learns_from_the_store(
    repo: MemoryRepository, here: Machine, there: Machine
) -> None:
    """A state directory that was restored goes by the newer ledger of the store: what was made since is ours, what was deleted
    since is not."""
    repo.want({"a": 1, "gone": 1})
    await here.apply()
    shutil.copytree(here.path, there.path)
    repo.want({"a": 2, "new": 1})
    assert is_clean(await here.apply())
    foreign(repo, gone="1")
    repo.want({"b": 1})
    assert is_clean(await there.apply())
    assert repo.values() == {"b": "1", "gone": "1"}


async def test_what_another_machine_deleted_is_gone_here(repo: MemoryRepository, here: Machine, there: Machine) -> None:
    """An entry that this machine wrote and another one deleted is nobody's from then on, whoever makes it again."""
    repo.want({"a": 1})
    await there.apply()
    repo.want({"a": 1, "b": 1})
    await here.apply()
    repo.want({"a": 1})
    assert is_clean(await there.apply())
    foreign(repo, b="1")
    for machine in (here, there, here):
        report = await machine.apply()
        assert (outcomes(report), report.plan.targets[0].foreign) == ({}, 1)
    assert keys_there(repo) == {"a"}


# -- kills ------------------------------------------------------------------------------------------------------------


async def test_what_a_lost_machine_was_making_is_known_to_the_next(
    repo: MemoryRepository, here: Machine, there: Machine
) -> None:
    """A machine that is lost for good between its writes and the ledger has said before what it was about to make: the next one
    changes and deletes that as ours; what others made under such a key meanwhile stays."""
    repo.configure("{adopt: never, guard: {max_update_pct: 100, max_delete_pct: 100}}")
    repo.want({"a": 1})
    await here.apply()
    repo.want({"a": 1, "b": 1, "c": 1, "d": 1})
    left = repo.server.put_ledger

    def killed(namespace: str, ledger: StoredLedger) -> None:
        if repo.server.count("change") > 1:
            raise KeyboardInterrupt
        left(namespace, ledger)

    repo.server.put_ledger = killed  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        await here.apply()
    repo.server.put_ledger = left  # type: ignore[method-assign]
    repo.server.write("web", "d", b"theirs", expires_at=repo.clock.now() + 7_776_000)
    repo.want({"a": 1, "b": 2, "d": 2})
    plan = (await there.apply()).plan.targets[0]
    assert sorted(rows(plan)) == [("delete", "removed", "c"), ("update", "changed", "b")]
    assert refused(plan) == [("update", "unowned", "d")]
    assert repo.values() == {"a": "1", "b": "2", "d": "theirs"}


async def test_a_ledger_that_becomes_another_owners_stops_all_writes(repo: MemoryRepository, here: Machine) -> None:
    """When the store turns out to be another owner's right before entries are made there, none is."""
    async with repo.open(state_dir=here.path) as workspace:
        repo.want({"a": 1})
        plan = await workspace.plan()
        leave(repo, ledger_of("team-b"))
        report = await workspace.apply(plan, command="test")
    assert outcomes(report) == {"a": "not-attempted"}
    assert "belongs to owner 'team-b'" in (report.targets[0].error or "")
    assert repo.values() == {}


# -- sensitive entries and several machines ---------------------------------------------------------------------------


async def test_with_an_owner_key_machines_compare_secrets(
    repo: MemoryRepository, here: Machine, there: Machine
) -> None:
    """Machines with one owner key know each other's secrets without reading them, see a change for what it is, and delete what
    the files drop; on a machine that was never here, too."""
    repo.owner_keys = (KEY,)
    repo.want(KEYS)
    await here.apply()
    repo.server.calls.clear()
    assert rows(await there.plan()) == []
    assert repo.server.count("lookup") == 0
    for machine, secret in ((there, OTHER_SECRET), (here, SECRET)):
        repo.want(KEYS | {"secret": secret})
        assert rows(await machine.plan()) == [("update", "changed", "secret")]
        assert is_clean(await machine.apply())
    repo.want({"a": 1, "b": 1})
    assert rows(await there.plan()) == [("delete", "removed", "secret")]
    fresh = Machine(repo, "fresh")
    assert rows(await fresh.plan()) == [("delete", "removed", "secret")]
    assert is_clean(await fresh.apply())
    assert repo.held("secret") is None


async def test_a_secret_that_others_changed_is_not_deleted(
    repo: MemoryRepository, here: Machine, there: Machine
) -> None:
    """With an owner key, too, a sensitive entry is deleted only while it is what kvsync wrote."""
    repo.owner_keys = (KEY,)
    repo.want(KEYS)
    await here.apply()
    repo.edit("secret", "hunter4")
    repo.want({"a": 1, "b": 1})
    plan = await there.plan()
    assert (rows(plan), refused(plan)) == ([], [("delete", "unowned", "secret")])
    assert "not what kvsync wrote" in plan.refused[0].reason


async def test_without_an_owner_key_only_the_writer_deletes_secrets(
    repo: MemoryRepository, here: Machine, there: Machine
) -> None:
    """Without an owner key another machine cannot tell whether a secret is what kvsync wrote: it says so, and leaves the
    delete to the machine that wrote it."""
    repo.want(KEYS)
    await here.apply()
    repo.want({"a": 1, "b": 1})
    report = await there.apply()
    (refusal,) = report.plan.targets[0].refused
    assert "set owner_key on all machines" in refusal.reason
    assert repo.held("secret") == "hunter2"
    assert is_clean(await here.apply())
    assert repo.held("secret") is None


async def test_secrets_are_sealed_again_for_all_machines(repo: MemoryRepository, here: Machine, there: Machine) -> None:
    """Where an owner key comes later, or a new one takes its place, secrets that were sealed with another key are sealed
    again, without reading them; then nothing is written by turns."""
    repo.want(KEYS)
    await here.apply()
    for keys in ((KEY,), (NEW_KEY, KEY), (NEW_KEY,)):
        repo.owner_keys = keys
        repo.server.calls.clear()
        await here.apply()
        assert repo.server.count("lookup") == 0
        text = repo.server.ledgers["web"].text
        for machine in (there, here, there):
            assert outcomes(await machine.apply()) == {}
        assert repo.server.ledgers["web"].text == text
    there.forget()
    repo.want({"a": 1, "b": 1})
    assert is_clean(await there.apply())
    assert repo.held("secret") is None


async def test_a_ledger_tells_no_secret_with_an_owner_key(repo: MemoryRepository, here: Machine) -> None:
    """The ledger in the store holds no fingerprint that values could be tried against, nor the key."""
    repo.owner_keys = (KEY,)
    repo.want(KEYS)
    await here.apply()
    text = repo.server.ledgers["web"].text
    for plain in (b"hunter2", row_of("hunter2").fingerprint, row_of("hunter2").fingerprint.hex().encode(), KEY):
        assert plain not in text
