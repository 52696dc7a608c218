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
from tests.support.machines import SHARED_KINDS, Machine, Told, document, keys_there, leave, ledger_of, signer
from tests.support.world import World, is_clean, outcomes, refused, rows

KEY, NEW_KEY = b"k" * 32, b"n" * 32
SECRET = "{value: hunter2, sensitive: true}"
OTHER_SECRET = "{value: hunter3, sensitive: true}"
KEYS = {"a": "1", "b": "1", "secret": SECRET}
FREE_HAND = "{guard: {max_update_pct: 100, max_delete_pct: 100}}"


@pytest.fixture(params=SHARED_KINDS)
def world(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch, request.param, FREE_HAND)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    return Told(monkeypatch)


@pytest.fixture
def here(world: World) -> Machine:
    return Machine(world, "here")


@pytest.fixture
def there(world: World) -> Machine:
    return Machine(world, "there")


def row_of(value: str) -> LedgerRow:
    """The row of an entry that holds this value."""
    return LedgerRow(fingerprint(Content(value.encode())))


def foreign(world: World, **values: str) -> None:
    for key, value in values.items():
        world.server.write("web", key, value.encode(), expires_at=world.clock.now() + 7_776_000)


# -- forged, copied, unsigned -----------------------------------------------------------------------------------------


async def test_a_forged_ledger_deletes_nothing(world: World, there: Machine, told: Told) -> None:
    """With an owner key, a ledger that is not signed with it counts as lost, whatever it names: entries equal to the files are
    adopted, others are refused, and what the files do not want is foreign."""
    foreign(world, a="1", b="2", theirs="x")
    forged = ledger_of(world=world, a=row_of("1"), b=row_of("2"), theirs=row_of("x"))
    world.owner_keys = (KEY,)
    leave(world, forged)
    world.want({"a": 1, "b": 1})
    report = await there.apply()
    plan = report.plan.targets[0]
    assert (rows(plan), refused(plan)) == ([("adopt", "unowned", "a")], [("update", "unowned", "b")])
    assert plan.foreign == 1
    assert set(told.reasons()) == {"it is not signed with the owner key"}
    assert world.values() == {"a": "1", "b": "2", "theirs": "x"}
    assert keys_there(world) == {"a"}


async def test_without_an_owner_key_a_ledger_is_believed(world: World, there: Machine) -> None:
    """What `doctor` warns of: without an owner key anybody who may write to the store can name entries as ours."""
    foreign(world, theirs="x")
    leave(world, ledger_of(world=world, theirs=row_of("x")))
    world.want({"a": 1})
    assert ("delete", "removed", "theirs") in rows(await there.plan())


@pytest.mark.parametrize("keys", [(), (KEY,)])
async def test_a_ledger_from_another_place_is_not_believed(
    world: World, there: Machine, told: Told, keys: tuple[bytes, ...]
) -> None:
    """A ledger that was copied from another store, signed or not, makes nothing ours here."""
    world.owner_keys = keys
    foreign(world, theirs="x")
    copied = ledger_of(world=world, theirs=row_of("x"))
    elsewhere = replace(signer(world), place=replace(signer(world).place, parts=(("memory", "another"),)))
    leave(world, encode(decode(copied, signer(world)), elsewhere))
    world.want({"a": 1})
    assert rows(await there.plan()) == [("create", "new", "a")]
    assert told.reasons() == ["it was written for another place and copied here"]


async def test_a_ledger_signed_with_an_older_key_is_signed_again(world: World, here: Machine) -> None:
    """While an older owner key is listed, its ledgers are believed, and signed with the new one by the next apply."""
    world.owner_keys = (KEY,)
    world.want(KEYS)
    await here.apply()
    world.owner_keys = (NEW_KEY, KEY)
    assert rows(await here.plan()) == []
    await here.apply()
    world.owner_keys = (NEW_KEY,)
    found = document(world)
    assert found is not None
    assert found.is_current
    fresh = Machine(world, "fresh")
    world.want({"a": 1})
    assert is_clean(await fresh.apply())
    assert world.values() == {"a": "1"}


async def test_an_owner_key_that_comes_later_signs_what_is_known(world: World, here: Machine, told: Told) -> None:
    """Where an owner key is introduced, the unsigned ledger counts as lost, and the machine that knows better signs its own."""
    world.want(KEYS)
    await here.apply()
    world.owner_keys = (KEY,)
    assert rows((await here.apply()).plan.targets[0]) == []
    assert told.reasons() == ["it is not signed with the owner key"]
    fresh = Machine(world, "fresh")
    world.want({"a": 1})
    assert is_clean(await fresh.apply())
    assert world.values() == {"a": "1"}


async def test_a_ledger_of_an_earlier_version_is_taken_over(world: World, there: Machine) -> None:
    """A ledger without a place, as earlier versions left it, says what is ours, and is written again for this place."""
    foreign(world, a="1", b="1")
    text = json.loads(ledger_of(world=world, a=row_of("1"), b=row_of("1")))
    old = {"entries": text["entries"], "owner": text["owner"], "schema": "kvsync.ledger/1", "seals": text["seals"]}
    leave(world, json.dumps(old | {"digest": digest_of(old)}).encode())
    world.want({"a": 1})
    assert is_clean(await there.apply())
    assert world.values() == {"a": "1"}
    assert b"kvsync.ledger/2" in world.server.ledgers["web"].text
    assert keys_there(world) == {"a"}


def digest_of(body: dict[str, object]) -> str:
    from hashlib import sha256

    from kvsync.model.canonical import canonical_json

    return sha256(canonical_json(body).encode()).hexdigest()


# -- older ------------------------------------------------------------------------------------------------------------


async def test_an_older_ledger_takes_nothing_away_and_brings_nothing_back(
    world: World, here: Machine, told: Told
) -> None:
    """An older ledger that comes back into the store, from a copy or a late read, neither makes foreign what was written since
    nor ours what was deleted since: the state directory knows better, and writes it again."""
    world.want({"a": 1, "gone": 1})
    await here.apply()
    older = world.server.ledgers["web"]
    world.want({"a": 2, "new": 1})
    assert is_clean(await here.apply())
    newer = document(world)
    foreign(world, gone="1")
    world.server.ledgers["web"] = StoredLedger(older.text, world.clock.now() + 7_776_000)
    world.want({"b": 1})
    plan = await here.plan()
    assert sorted(rows(plan)) == [("create", "new", "b"), ("delete", "removed", "a"), ("delete", "removed", "new")]
    assert told.reasons() == ["it is an older one (revision 2; this machine has seen 4)"]
    assert is_clean(await here.apply())
    assert world.values() == {"b": "1", "gone": "1"}
    found = document(world)
    assert found is not None
    assert newer is not None
    assert found.revision > newer.revision


async def test_a_ledger_that_begins_again_is_counted_on(
    world: World, here: Machine, there: Machine, told: Told
) -> None:
    """Where another machine lost its state directory together with the ledger in the store, its new ledger is older than
    the known one: it is written again, also if it says the same, and from then on both go by it."""
    world.want({"a": 1})
    for value in (1, 2, 3):
        world.want({"a": value})
        await here.apply()
    world.server.ledgers.clear()
    await there.apply()
    await here.apply()
    assert told.reasons()[-1].startswith("it is an older one")
    told.events.clear()
    for machine in (here, there, here):
        world.server.calls.clear()
        assert outcomes(await machine.apply()) == {}
        assert not {"ledger", "leave"} & {call.method for call in world.server.calls}
    assert told.reasons() == []


async def test_a_machine_from_an_older_backup_learns_from_the_store(
    world: World, here: Machine, there: Machine
) -> None:
    """A state directory that was restored goes by the newer ledger of the store: what was made since is ours, what was deleted
    since is not."""
    world.want({"a": 1, "gone": 1})
    await here.apply()
    shutil.copytree(here.path, there.path)
    world.want({"a": 2, "new": 1})
    assert is_clean(await here.apply())
    foreign(world, gone="1")
    world.want({"b": 1})
    assert is_clean(await there.apply())
    assert world.values() == {"b": "1", "gone": "1"}


async def test_what_another_machine_deleted_is_gone_here(world: World, here: Machine, there: Machine) -> None:
    """An entry that this machine wrote and another one deleted is nobody's from then on, whoever makes it again."""
    world.want({"a": 1})
    await there.apply()
    world.want({"a": 1, "b": 1})
    await here.apply()
    world.want({"a": 1})
    assert is_clean(await there.apply())
    foreign(world, b="1")
    for machine in (here, there, here):
        report = await machine.apply()
        assert (outcomes(report), report.plan.targets[0].foreign) == ({}, 1)
    assert keys_there(world) == {"a"}


# -- kills ------------------------------------------------------------------------------------------------------------


async def test_what_a_lost_machine_was_making_is_known_to_the_next(world: World, here: Machine, there: Machine) -> None:
    """A machine that is lost for good between its writes and the ledger has said before what it was about to make: the next one
    changes and deletes that as ours; what others made under such a key meanwhile stays."""
    world.configure("{adopt: never, guard: {max_update_pct: 100, max_delete_pct: 100}}")
    world.want({"a": 1})
    await here.apply()
    world.want({"a": 1, "b": 1, "c": 1, "d": 1})
    left = world.server.leave

    def killed(namespace: str, ledger: StoredLedger) -> None:
        if world.server.count("change") > 1:
            raise KeyboardInterrupt
        left(namespace, ledger)

    world.server.leave = killed  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        await here.apply()
    world.server.leave = left  # type: ignore[method-assign]
    world.server.write("web", "d", b"theirs", expires_at=world.clock.now() + 7_776_000)
    world.want({"a": 1, "b": 2, "d": 2})
    plan = (await there.apply()).plan.targets[0]
    assert sorted(rows(plan)) == [("delete", "removed", "c"), ("update", "changed", "b")]
    assert refused(plan) == [("update", "unowned", "d")]
    assert world.values() == {"a": "1", "b": "2", "d": "theirs"}


async def test_a_ledger_that_becomes_another_owners_stops_all_writes(world: World, here: Machine) -> None:
    """When the store turns out to be another owner's right before entries are made there, none is."""
    async with world.open(state_dir=here.path) as workspace:
        world.want({"a": 1})
        plan = await workspace.plan()
        leave(world, ledger_of("team-b"))
        report = await workspace.apply(plan, command="test")
    assert outcomes(report) == {"a": "not-attempted"}
    assert "belongs to owner 'team-b'" in (report.targets[0].error or "")
    assert world.values() == {}


# -- sensitive entries and several machines ---------------------------------------------------------------------------


async def test_with_an_owner_key_machines_compare_secrets(world: World, here: Machine, there: Machine) -> None:
    """Machines with one owner key know each other's secrets without reading them, see a change for what it is, and delete what
    the files drop; on a machine that was never here, too."""
    world.owner_keys = (KEY,)
    world.want(KEYS)
    await here.apply()
    world.server.calls.clear()
    assert rows(await there.plan()) == []
    assert world.server.count("lookup") == 0
    for machine, secret in ((there, OTHER_SECRET), (here, SECRET)):
        world.want(KEYS | {"secret": secret})
        assert rows(await machine.plan()) == [("update", "changed", "secret")]
        assert is_clean(await machine.apply())
    world.want({"a": 1, "b": 1})
    assert rows(await there.plan()) == [("delete", "removed", "secret")]
    fresh = Machine(world, "fresh")
    assert rows(await fresh.plan()) == [("delete", "removed", "secret")]
    assert is_clean(await fresh.apply())
    assert world.held("secret") is None


async def test_a_secret_that_others_changed_is_not_deleted(world: World, here: Machine, there: Machine) -> None:
    """With an owner key, too, a sensitive entry is deleted only while it is what kvsync wrote."""
    world.owner_keys = (KEY,)
    world.want(KEYS)
    await here.apply()
    world.edit("secret", "hunter4")
    world.want({"a": 1, "b": 1})
    plan = await there.plan()
    assert (rows(plan), refused(plan)) == ([], [("delete", "unowned", "secret")])
    assert "not what kvsync wrote" in plan.refused[0].reason


async def test_without_an_owner_key_only_the_writer_deletes_secrets(
    world: World, here: Machine, there: Machine
) -> None:
    """Without an owner key another machine cannot tell whether a secret is what kvsync wrote: it says so, and leaves the
    delete to the machine that wrote it."""
    world.want(KEYS)
    await here.apply()
    world.want({"a": 1, "b": 1})
    report = await there.apply()
    (refusal,) = report.plan.targets[0].refused
    assert "set owner_key on all machines" in refusal.reason
    assert world.held("secret") == "hunter2"
    assert is_clean(await here.apply())
    assert world.held("secret") is None


async def test_secrets_are_sealed_again_for_all_machines(world: World, here: Machine, there: Machine) -> None:
    """Where an owner key comes later, or a new one takes its place, secrets that were sealed with another key are sealed
    again, without reading them; then nothing is written by turns."""
    world.want(KEYS)
    await here.apply()
    for keys in ((KEY,), (NEW_KEY, KEY), (NEW_KEY,)):
        world.owner_keys = keys
        world.server.calls.clear()
        await here.apply()
        assert world.server.count("lookup") == 0
        text = world.server.ledgers["web"].text
        for machine in (there, here, there):
            assert outcomes(await machine.apply()) == {}
        assert world.server.ledgers["web"].text == text
    there.forget()
    world.want({"a": 1, "b": 1})
    assert is_clean(await there.apply())
    assert world.held("secret") is None


async def test_a_ledger_tells_no_secret_with_an_owner_key(world: World, here: Machine) -> None:
    """The ledger in the store holds no fingerprint that values could be tried against, nor the key."""
    world.owner_keys = (KEY,)
    world.want(KEYS)
    await here.apply()
    text = world.server.ledgers["web"].text
    for plain in (b"hunter2", row_of("hunter2").fingerprint, row_of("hunter2").fingerprint.hex().encode(), KEY):
        assert plain not in text
