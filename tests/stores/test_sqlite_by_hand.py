"""People edit the database by hand, in every way that SQL allows, and kvsync must notice each time."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvsync.config.model import StoreConfig
from kvsync.model.canonical import fingerprint
from kvsync.model.entry import Actual, Content, Identity, Mark, Target
from kvsync.model.snapshot import Snapshot
from kvsync.stores.base import Precondition, Store, StoreContext, Write, WriteStatus
from kvsync.stores.sqlite.store import SqliteStore
from kvsync.testing import FakeClock
from tests.support.examples import examples
from tests.support.places import signer_of

from .conftest import Open, Shell

SIGNER = signer_of(Target("main", "web"), "me")
GREETING = Identity("greeting")
HELLO = Content(b"Hello", "text/plain", (("team", "web"),), '{"a":1}')


async def create(store: Store, identity: Identity = GREETING, content: Content = HELLO, namespace: str = "web") -> str:
    write = Write(identity, Precondition.ABSENT, content, SIGNER.signed(identity, Mark("me", fingerprint(content))))
    (result,) = await store.write(namespace, [write])
    assert result.status is WriteStatus.DONE
    assert result.etag is not None
    return result.etag


async def see(store: Store, namespace: str = "web") -> Snapshot:
    snapshot = await store.observe(namespace, SIGNER)
    assert snapshot is not None
    return snapshot


async def read(store: Store, identity: Identity = GREETING) -> Actual:
    return (await store.read("web", [identity]))[identity]


@pytest.mark.parametrize(
    ("value", "kept"),
    [("'Hi'", b"Hi"), ("x'00ff'", b"\x00\xff"), ("5", b"5"), ("1.5", b"1.5"), ("''", b""), ("'é'", "é".encode())],
)
async def test_three_columns_are_enough(opened: Open, shell: Shell, value: str, kept: bytes) -> None:
    """A row with namespace, key and value alone is an entry, whatever the type of its value: nobody's, with a version."""
    store = opened()
    await store.namespaces()
    shell(f"INSERT INTO entries(namespace, key, value) VALUES ('web', 'greeting', {value})")
    listed, present = (await see(store)).entries[GREETING], await read(store)
    assert present.content == Content(kept)
    assert listed.fingerprint == present.fingerprint == fingerprint(Content(kept))
    assert listed.size == len(kept)
    assert listed.etag == present.etag != "0"
    assert present.mark is None


async def test_an_update_by_hand_is_drift(opened: Open, shell: Shell) -> None:
    """A value changed by hand has another fingerprint and version, still bears our mark, and is no longer settled."""
    store = opened()
    etag = await create(store)
    shell("UPDATE entries SET value = 'Hi' WHERE key = 'greeting'")
    snapshot = await see(store)
    entry = snapshot.entries[GREETING]
    assert entry.fingerprint == fingerprint(HELLO._replace(value=b"Hi"))
    assert entry.etag != etag
    assert entry.mark == SIGNER.signed(GREETING, Mark("me", fingerprint(HELLO)))
    assert not snapshot.settled


@pytest.mark.parametrize("column", ["content_type", "tags", "metadata"])
async def test_every_part_of_the_content_counts(opened: Open, shell: Shell, column: str) -> None:
    """A content type, tags or metadata taken away by hand are noticed like a changed value."""
    store = opened()
    await create(store)
    shell(f"UPDATE entries SET {column} = NULL")
    assert (await see(store)).entries[GREETING].fingerprint != fingerprint(HELLO)


async def test_replacing_a_row_makes_it_nobodys(opened: Open, shell: Shell) -> None:
    """INSERT OR REPLACE over an entry of ours leaves an entry without a mark, under another version."""
    store = opened()
    etag = await create(store)
    shell("INSERT OR REPLACE INTO entries(namespace, key, value) VALUES ('web', 'greeting', 'Hello')")
    entry = (await see(store)).entries[GREETING]
    assert entry.mark is None
    assert entry.etag != etag


STATEMENTS = [
    "INSERT INTO entries(namespace, key, value) VALUES ('web', 'new', 'x')",
    "INSERT OR IGNORE INTO entries(namespace, key, value) VALUES ('web', 'new', 'x')",
    "INSERT OR REPLACE INTO entries(namespace, key, value) VALUES ('web', 'greeting', 'x')",
    "INSERT INTO entries(namespace, key, value) VALUES ('web', 'greeting', 'x')"
    " ON CONFLICT DO UPDATE SET value = excluded.value",
    "INSERT INTO entries(namespace, key, value, version) VALUES ('web', 'new', 'x', 1)",
    "UPDATE entries SET value = 'x'",
    "UPDATE OR IGNORE entries SET value = 'x'",
    "UPDATE OR REPLACE entries SET value = 'x', version = version",
    "UPDATE entries SET version = 1, fingerprint = x'00'",
    "UPDATE entries SET owner = NULL",
    "UPDATE entries SET expires_at = 1",
    "UPDATE entries SET namespace = 'mail'",
    "UPDATE entries SET key = 'other'",
    "DELETE FROM entries",
    "DELETE FROM entries WHERE key = 'greeting'",
    "WITH old AS (SELECT 1) DELETE FROM entries WHERE namespace = 'web'",
]


@pytest.mark.parametrize("setting", ["PRAGMA recursive_triggers = ON", "PRAGMA recursive_triggers = OFF"])
@pytest.mark.parametrize("statement", STATEMENTS)
async def test_no_statement_goes_unnoticed(opened: Open, shell: Shell, statement: str, setting: str) -> None:
    """Every statement that changes a row makes the token of its namespace and the etag that was seen void."""
    store = opened()
    etag = await create(store)
    token = (await see(store)).token
    shell(statement, setting=setting)
    assert await store.observe("web", SIGNER, token) is not None
    stale = Write(GREETING, Precondition.UNCHANGED, Content(b"ours"), None, etag=etag)
    (result,) = await store.write("web", [stale])
    assert (result.status is WriteStatus.CONFLICT) == ("new" not in statement)


async def test_moving_a_row_concerns_both_namespaces(opened: Open, shell: Shell) -> None:
    """A row that is moved by hand is seen to leave one namespace and to enter the other."""
    store = opened()
    await create(store)
    tokens = {name: (await see(store, name)).token for name in ("web", "mail", "other")}
    shell("UPDATE entries SET namespace = 'mail'")
    stands = {name: await store.observe(name, SIGNER, token) is None for name, token in tokens.items()}
    assert stands == {"web": False, "mail": False, "other": True}


async def test_an_older_copy_of_the_file_repeats_no_version(opened: Open, shell: Shell, tmp_path: Path) -> None:
    """After a backup is put back, new versions are not those that were given out since it was made."""
    store = opened()
    await create(store)
    shell("PRAGMA wal_checkpoint(TRUNCATE)")
    backup = (tmp_path / "store.db").read_bytes()
    etag = await create(store, Identity("later"))
    token = (await see(store)).token
    await store.aclose()
    (tmp_path / "store.db").unlink()
    (tmp_path / "store.db").write_bytes(backup)
    assert await store.observe("web", SIGNER, token) is not None
    assert await create(store, Identity("later")) != etag


async def test_odd_cells_do_not_hide_the_others(opened: Open, shell: Shell) -> None:
    """Tags that are not a JSON object count as none, metadata that is not JSON as a string, and all entries are listed."""
    store = opened()
    await create(store)
    shell("INSERT INTO entries(namespace, key, value, tags, metadata) VALUES ('web', 'odd', 'x', 'no json', '{')")
    shell(
        "INSERT INTO entries(namespace, key, value, tags, metadata) VALUES ('web', 'odd2', 'x', '[1]', ' {\"b\" : 1}')"
    )
    shell("INSERT INTO entries(namespace, key, value, tags) VALUES ('web', 'odd3', 'x', '{\"n\": 1, \"a\": \"b\"}')")
    shell("INSERT INTO entries(namespace, key, value, owner, flags) VALUES ('web', 'odd4', 'x', 'me', 'all')")
    assert len((await see(store)).entries) == 5
    assert (await read(store, Identity("odd"))).content == Content(b"x", metadata='"{"')
    assert (await read(store, Identity("odd2"))).content == Content(b"x", metadata='{"b":1}')
    assert (await read(store, Identity("odd3"))).content == Content(b"x", tags=(("a", "b"), ("n", "1")))
    assert (await read(store, Identity("odd4"))).mark == Mark("me", b"")


@pytest.mark.parametrize("column", ["namespace", "key", "label", "expires_at", "mark_ttl"])
async def test_a_cell_that_could_not_be_read_is_refused(opened: Open, shell: Shell, column: str) -> None:
    """The table itself refuses names that are not text and moments that are not numbers, with the name of the column."""
    store = opened()
    await create(store)
    with pytest.raises(sqlite3.IntegrityError, match=column):
        shell(f"UPDATE entries SET {column} = x'ff'")


async def test_a_killed_writer_leaves_the_guard_up(opened: Open, shell: Shell, tmp_path: Path) -> None:
    """When kvsync dies inside its transaction, edits by hand are noticed as ever."""
    store = opened()
    await create(store)
    with closing(sqlite3.connect(tmp_path / "store.db", isolation_level=None)) as dying:
        dying.execute("BEGIN IMMEDIATE")
        dying.execute("UPDATE entries_state SET writing = 1")
    token = (await see(store)).token
    shell("UPDATE entries SET value = 'x'")
    assert await store.observe("web", SIGNER, token) is not None


KEYS = st.sampled_from(["a", "b"])
EDITS = st.one_of(
    st.tuples(st.just("INSERT OR IGNORE INTO entries(value, key, namespace) VALUES (?, ?, 'web')"), KEYS),
    st.tuples(st.just("INSERT OR REPLACE INTO entries(value, key, namespace) VALUES (?, ?, 'web')"), KEYS),
    st.tuples(st.just("UPDATE entries SET value = ? WHERE key = ?"), KEYS),
    st.tuples(st.just("DELETE FROM entries WHERE ? <> '' AND key = ?"), KEYS),
    st.tuples(st.just("ours"), KEYS),
)


@settings(max_examples=examples(25), deadline=None)
@given(st.lists(EDITS, min_size=1, max_size=12))
def test_an_etag_never_represents_two_contents(edits: list[tuple[str, str]]) -> None:
    """Over any sequence of edits, ours and by hand, an etag means one content, and an unchanged token an unchanged state."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_replay(Path(folder), edits))


async def _replay(folder: Path, edits: list[tuple[str, str]]) -> None:
    config = StoreConfig("local", "sqlite", {"path": "store.db"})
    store = SqliteStore(config, StoreContext(folder, None, str, FakeClock()))
    meanings: dict[tuple[str, str | None], bytes | None] = {}
    token, state = None, dict(await store.read("web", []))
    for number, (edit, key) in enumerate(edits):
        value = b"%d" % (number % 3)
        if edit == "ours":
            await _overwrite(store, Identity(key), value)
        else:
            with closing(sqlite3.connect(folder / "store.db", isolation_level=None)) as shell:
                shell.execute(edit, (value.decode(), key))
        seen = dict(await store.read("web", [Identity("a"), Identity("b")]))
        snapshot = await store.observe("web", SIGNER, token)
        assert snapshot is not None or seen == state
        token, state = (snapshot.token if snapshot is not None else token), seen
        for identity, entry in seen.items():
            assert entry.content is not None
            assert meanings.setdefault((identity.key, entry.etag), entry.content.value) == entry.content.value
    await store.aclose()


async def _overwrite(store: Store, identity: Identity, value: bytes) -> None:
    content = Content(value)
    present = (await store.read("web", [identity])).get(identity)
    precondition = Precondition.ABSENT if present is None else Precondition.UNCHANGED
    etag = present.etag if present is not None else None
    write = Write(identity, precondition, content, SIGNER.signed(identity, Mark("me", fingerprint(content))), etag=etag)
    assert [result.status for result in await store.write("web", [write])] == [WriteStatus.DONE]
