"""The database as a file: shared by processes, locked, read-only, replaced, damaged, missing, on a full disk."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kvsync.errors import PermanentError, StoreError, TransientError
from kvsync.model.canonical import canonical_json, fingerprint
from kvsync.model.entry import Content, Identity, Mark, Target
from kvsync.stores.base import Precondition, Store, Write, WriteStatus
from kvsync.stores.extensions import locate
from kvsync.stores.sqlite import rows
from kvsync.stores.sqlite.schema import SCHEMA
from kvsync.testing import FakeClock
from tests.support.places import signer_of

from .conftest import Open, Shell

SIGNER = signer_of(Target("main", "web"), "me")
SECRET = b"correct horse battery staple"


def creation(key: str, value: bytes = b"Hello") -> Write:
    content = Content(value)
    return Write(
        Identity(key), Precondition.ABSENT, content, SIGNER.signed(Identity(key), Mark("me", fingerprint(content)))
    )


def changed(key: str, etag: str | None, value: bytes = b"Hi") -> Write:
    return replace(creation(key, value), precondition=Precondition.UNCHANGED, etag=etag)


async def keys(store: Store) -> set[str]:
    snapshot = await store.observe("web", SIGNER)
    assert snapshot is not None
    return {identity.key for identity in snapshot.entries}


def files_in(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def move_away(folder: Path) -> None:
    for file in files_in(folder):
        file.rename(folder / f"old-{file.name}")


PROGRAM = """
import asyncio, sys
from pathlib import Path
from kvsync.util.clock import Clock
from kvsync.config.model import StoreConfig
from kvsync.model.entry import Content, Identity
from kvsync.errors import StoreError
from kvsync.stores.registry import open_store
from kvsync.stores.base import Precondition, StoreContext, Write, WriteStatus

async def main(root, rounds):
    config = StoreConfig("local", "sqlite", {"path": "store.db"})
    store = open_store(config, StoreContext(Path(root), None, str, Clock()))
    counter, done = Identity("counter"), 0
    while done < rounds:
        present = (await store.read("web", [counter])).get(counter)
        number = int(present.content.value) if present else 0
        precondition = Precondition.UNCHANGED if present else Precondition.ABSENT
        content, etag = Content(b"%d" % (number + 1)), present.etag if present else None
        (result,) = await store.write("web", [Write(counter, precondition, content, etag=etag)])
        done += result.status is WriteStatus.DONE
    await store.aclose()

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


def test_processes_lose_no_update(shell: Shell, tmp_path: Path) -> None:
    """Processes that count up one entry at once, from a file that is not there yet, end at the sum of their counts."""
    command = [sys.executable, "-c", PROGRAM, str(tmp_path), "60"]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(3)]
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors.decode()
    assert shell("SELECT key, value FROM entries") == [("counter", b"180")]


async def test_a_long_lock_is_reported(opened: Open, shell: Shell, tmp_path: Path) -> None:
    """While another process holds the write lock, reading goes on, and a write fails with an error that says to wait."""
    store = opened()
    await store.write("web", [creation("first")])
    with closing(sqlite3.connect(tmp_path / "store.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert await keys(store) == {"first"}
        with pytest.raises(TransientError, match=r"store local: .*store\.db is locked by another process"):
            await store.write("web", [creation("second")])
        other.execute("ROLLBACK")
    await store.write("web", [creation("second")])
    assert await keys(store) == {"first", "second"}


async def test_waiting_for_a_lock_keeps_nobody_else_waiting(opened: Open, tmp_path: Path) -> None:
    """While a store waits for a lock, the rest of the program goes on."""
    store = opened(timeout=5)
    await store.write("web", [creation("first")])
    with closing(sqlite3.connect(tmp_path / "store.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        waiting = asyncio.ensure_future(store.write("web", [creation("second")]))
        for _ in range(100):
            await asyncio.sleep(0)
        assert not waiting.done()
        other.execute("COMMIT")
    assert (await waiting)[0].status is WriteStatus.DONE


async def test_reading_only_makes_nothing(opened: Open, tmp_path: Path) -> None:
    """Opened for reading only, a file that is not there is an empty store, and stays away, with its folder."""
    store = opened("deep/store.db", read_only=True)
    assert await keys(store) == set()
    assert await store.read("web", [Identity("first")]) == {}
    assert await store.namespaces() == []
    assert [finding.ok for finding in await store.check()] == [True]
    assert files_in(tmp_path) == []


async def test_reading_only_sees_a_running_writer(opened: Open) -> None:
    """Opened for reading only, what another connection writes is seen at the next look, also when it made the file."""
    reader, writer = opened(read_only=True), opened()
    assert await keys(reader) == set()
    await writer.write("web", [creation("first")])
    assert await keys(reader) == {"first"}
    await writer.write("web", [creation("second")])
    assert await keys(reader) == {"first", "second"}


async def test_reading_only_refuses_to_write(opened: Open) -> None:
    """Opened for reading only, a write is refused and nothing is written."""
    await opened().write("web", [creation("first")])
    with pytest.raises(PermanentError, match="read-only"):
        await opened(read_only=True).write("web", [creation("second")])
    assert await keys(opened()) == {"first"}


async def test_a_read_only_connection_cannot_write(opened: Open, shell: Shell) -> None:
    """Beneath the wrapper SQLite itself has the file open for reading only."""
    await opened().write("web", [creation("first")])
    store = opened(read_only=True)
    await keys(store)
    inner = store._inner  # type: ignore[attr-defined]
    with pytest.raises(PermanentError, match="is not writable"):
        await inner.write("web", [creation("second")])


async def test_a_replaced_file_is_noticed(opened: Open, tmp_path: Path) -> None:
    """When the file is moved away while it is open, the next call works on what is at the path then."""
    store = opened()
    await store.write("web", [creation("first")])
    move_away(tmp_path)
    assert await keys(store) == set()
    await store.write("web", [creation("second")])
    assert await keys(opened()) == {"second"}


async def test_a_closed_store_opens_again(opened: Open) -> None:
    """Closing releases the file, may be done twice, and the next call opens it again."""
    store = opened()
    await store.write("web", [creation("first")])
    await store.aclose()
    await store.aclose()
    assert await keys(store) == {"first"}


async def test_folders_are_made_inside_the_configuration_only(opened: Open, tmp_path: Path) -> None:
    """A missing folder is made inside the configuration's; elsewhere it is taken for a mistake in the path, also to read."""
    await opened(".kvsync/deep/store.db").write("web", [creation("first")])
    assert (tmp_path / ".kvsync/deep/store.db").exists()
    for read_only in (True, False):
        with pytest.raises(PermanentError, match=r"the folder .* does not exist; create it, or correct path"):
            await keys(opened("../missing/store.db", read_only=read_only))
    assert not (tmp_path.parent / "missing").exists()


def not_a_database(path: Path) -> None:
    path.write_bytes(b"key: value\n" * 100)


def damaged(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.executescript(SCHEMA)
    path.write_bytes(path.read_bytes()[:4096] + b"\xaa" * 4096 * 8)


def of_another_program(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE entries(a)")
        database.execute("PRAGMA user_version = 1")


def of_the_future(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 99")


@pytest.mark.parametrize("read_only", [True, False])
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (not_a_database, "is damaged or not a SQLite database"),
        (damaged, "is damaged or not a SQLite database"),
        (of_another_program, "a table named entries that kvsync did not create"),
        (of_the_future, "written by a newer release of kvsync"),
        (Path.mkdir, "is a folder; set path to a file"),
    ],
)
async def test_a_file_that_is_not_a_store_is_reported(
    opened: Open, tmp_path: Path, spoil: Callable[[Path], None], message: str, read_only: bool
) -> None:
    """What cannot be used is named with its path and what to do, is never changed, and `doctor` says the same."""
    spoil(tmp_path / "store.db")
    before = (tmp_path / "store.db").stat().st_size
    store = opened(read_only=read_only)
    with pytest.raises(PermanentError, match=rf"store local: .*store\.db .*{message}"):
        await keys(store)
    (finding,) = await store.check()
    assert not finding.ok
    assert message in finding.detail
    assert (tmp_path / "store.db").stat().st_size == before


async def test_a_path_through_a_file_is_reported(opened: Open, tmp_path: Path) -> None:
    """A folder that cannot be made is named with the reason."""
    (tmp_path / "file").write_text("")
    with pytest.raises(PermanentError, match=r"cannot create the folder .*file"):
        await keys(opened("file/store.db"))


async def test_text_that_is_none_is_reported_without_showing_it(opened: Open, shell: Shell) -> None:
    """A row with a broken text is reported, and neither it nor its value is in the message or its causes."""
    store = opened()
    await store.namespaces()
    shell("INSERT INTO entries(namespace, key, value) VALUES ('web', CAST(x'ff41' AS TEXT), ?)", SECRET)
    with pytest.raises(PermanentError, match="not UTF-8") as caught:
        await keys(store)
    assert SECRET.decode() not in repr(caught.value) + repr(caught.value.__cause__)


FULL_DISK = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
"""
FILL = """
import asyncio
from pathlib import Path
from kvsync.util.clock import Clock
from kvsync.config.model import StoreConfig
from kvsync.model.entry import Content, Identity
from kvsync.errors import TransientError
from kvsync.stores.registry import open_store
from kvsync.stores.base import Precondition, StoreContext, Write
from kvsync.planning.marks import MarkSigner

async def main():
    config = StoreConfig("local", "sqlite", {"path": "store.db"})
    store = open_store(config, StoreContext(Path(sys.argv[1]), None, str, Clock()))
    await store.write("web", [Write(Identity("small"), Precondition.ABSENT, Content(b"x"))])
    try:
        await store.write("web", [Write(Identity("large"), Precondition.ABSENT, Content(b"x" * 1_000_000))])
    except TransientError as error:
        print(error)
    print(*(await store.observe("web", MarkSigner("me", store.place("web")))).entries)

asyncio.run(main())
"""


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    """When the file cannot grow, the write fails with an error that says so, and what was there is still there."""
    command = [sys.executable, "-c", FULL_DISK + FILL, str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stderr
    error, entries = run.stdout.splitlines()
    assert "check its space" in error or "disk is full" in error
    assert entries == "small"


async def test_entries_that_ended_are_swept(opened: Open, shell: Shell, clock: FakeClock) -> None:
    """Rows whose moment has passed leave the file with the next write, in whatever namespace."""
    store = opened()
    ending = creation("promo")
    await store.write("web", [replace(ending, expires_at=clock.now() + 60), creation("stays")])
    clock.advance(60)
    assert await keys(store) == {"stays"}
    await store.write("mail", [creation("other")])
    assert shell("SELECT key FROM entries ORDER BY key") == [("other",), ("stays",)]


async def test_many_writes_are_one_transaction(opened: Open, shell: Shell) -> None:
    """A call is done as a whole or not at all: a failure in its middle leaves nothing of it."""
    store = opened()
    await store.write("web", [creation("first")])
    shell("CREATE TRIGGER stop BEFORE INSERT ON entries WHEN NEW.key = 'bad' BEGIN SELECT RAISE(ABORT, 'stop'); END")
    with pytest.raises(StoreError):
        await store.write("web", [creation("second"), creation("bad"), creation("third")])
    assert await keys(store) == {"first"}
    shell("DROP TRIGGER stop")
    assert {result.status for result in await store.write("web", [creation("second")])} == {WriteStatus.DONE}


async def test_conflicts_of_every_kind_affect_one_entry_each(opened: Open) -> None:
    """Creates, changes, renewals and deletes in one call: those whose entry was changed meanwhile are conflicts, all others are
    done, in the order of the call."""
    store = opened()
    names = [f"{kind}-{who}" for kind in ("change", "renew", "delete") for who in ("mine", "theirs")]
    seen = dict(zip(names, await store.write("web", [creation(name) for name in names]), strict=True))
    theirs = [name for name in names if name.endswith("theirs")]
    others = [changed(name, seen[name].etag, b"theirs") for name in theirs]
    await store.write("web", [creation("create-theirs", b"theirs"), *others])
    results = await store.write(
        "web",
        [
            creation("create-mine"),
            creation("create-theirs"),
            *(changed(f"change-{who}", seen[f"change-{who}"].etag) for who in ("theirs", "mine")),
            *(replace(changed(f"renew-{who}", seen[f"renew-{who}"].etag), touch=True) for who in ("theirs", "mine")),
            *(
                Write(Identity(f"delete-{who}"), Precondition.UNCHANGED, etag=seen[f"delete-{who}"].etag)
                for who in ("theirs", "mine")
            ),
        ],
    )
    assert [result.status for result in results] == ["done", "conflict"] + ["conflict", "done"] * 3
    assert await keys(store) == {"create-mine", "create-theirs", "change-mine", "renew-mine", *theirs}


async def test_a_large_call_makes_no_temporary_file(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite would copy every page to it before it changes the page."""
    open_files: list[str] = []
    connect = sqlite3.connect

    def connected(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*arguments, **options)
        connection.set_trace_callback(lambda sql: open_files.extend(files_open()) if sql == "COMMIT" else None)
        return connection

    monkeypatch.setattr(sqlite3, "connect", connected)
    store = opened()
    for number in range(3):
        await store.write("web", [creation(f"{number}-{index}", b"x" * 200) for index in range(1000)])
    assert any(name.endswith(".db") for name in open_files)
    assert [name for name in open_files if "etilqs" in name] == []


def files_open() -> list[str]:
    """The paths of the files that this process has open."""
    links = Path("/proc/self/fd").iterdir()
    return [str(link.readlink()) for link in links if link.is_symlink()]


async def test_equal_tags_are_written_down_once(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of entries have the same tags, and writing them as canonical JSON takes as long as the rest of the row."""
    written: list[object] = []

    def counted(data: object) -> str:
        written.append(data)
        return canonical_json(data)

    monkeypatch.setattr(rows, "canonical_json", counted)
    tags = (("team", "shop-of-this-test"),)
    writes = [replace(creation(f"key-{number}"), content=Content(b"x", tags=tags)) for number in range(100)]
    await opened().write("web", writes)
    assert written == [dict(tags)]


async def test_a_file_has_one_place_however_many_ask_while_it_is_opened(opened: Open) -> None:
    """A caller gets the id of the file even if another one opens the file at this moment."""
    await locate(opened(), "web")
    found = set()
    for _ in range(100):
        store = opened()
        asked = [asyncio.create_task(locate(store, "web"))]
        while not asked[0].done():
            asked.append(asyncio.create_task(locate(store, "web")))
            await asyncio.sleep(0)
        found |= set(await asyncio.gather(*asked))
        await store.aclose()
    assert [place.is_resolved for place in found] == [True]
