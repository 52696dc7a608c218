"""What was compiled once is not compiled again, is the same, and holds no secret."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from kvsync.desired import DesiredState
from kvsync.desired.cache import Cache
from kvsync.desired.model import Stores
from kvsync.desired.reading import Reader
from kvsync.model.desired import Desired
from kvsync.model.entry import Identity, Target
from kvsync.stores.memory.store import MemoryStore
from tests.desired.conftest import CONFIG, WEB, Repo

FULL = """
defaults: {ttl: 7d, tags: {team: web}}
policy: {drift: {missing: report}, guard: {grace: 5s}, ignore: [tmp/*]}
keys:
  greeting: Hello
  data: {json: {rps: 10}, ttl: none}
  logo: {file: logo.bin, metadata: {a: [1]}}
  theme: {value: light, labels: {prod: dark, dev: {value: neon, expires_at: 2030-01-01T00:00:00Z}}}
  once: {value: "1", mode: create-only, protected: true, renew_before: 1h}
files: [{path: pages, prefix: page/}]
absent: [gone]
moved: [{from: old, to: greeting}]
"""


@pytest.fixture
def full(repo: Repo) -> Repo:
    """A repository with everything that a unit can hold, and a cache."""
    repo.write("state/logo.bin", b"\0\1")
    repo.write("state/pages/a.html", "<a>")
    repo.web(FULL)
    repo.write("state/other.yaml", "stores: [edge, core]\nnamespace: other\nkeys: {a: 1}\n")
    repo.cache = repo.root / "cache.db"
    return repo


def plain(loaded: DesiredState) -> Any:
    """Everything of what was loaded, to compare."""

    def target(desired: Desired) -> Any:
        return dict(desired.entries), dict(desired.settled), replace(desired, entries={}, settled={})

    return {name: target(desired) for name, desired in loaded.targets.items()}, replace(loaded, targets={})


def compiled(repo: Repo) -> set[str]:
    """The files that a new process would have to compile."""
    config, stores = repo.parts()
    cache = Cache(repo.cache, repo.secret)
    reading = Reader(config, Stores(stores, config.stores, config.authority), cache, repo.environ).read(None)
    cache.close()
    return set(reading.fresh)


def test_cached_is_fresh(full: Repo) -> None:
    """What a second process gets from the cache equals what the first one compiled, field by field."""
    fresh = plain(full.load())
    assert compiled(full) == set()
    assert plain(full.load()) == fresh


def test_all_units_are_read_by_one_statement(full: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many files there are. Later, a file that changed is looked up alone."""
    for number in range(10):
        full.write(f"state/more{number}.yaml", f"store: edge\nnamespace: more{number}\nkeys: {{a: 1}}\n")
    full.load()
    statements: list[str] = []
    query = Cache._all

    def counted(cache: Cache, sql: str, *values: str) -> list[Any]:
        statements.append(sql)
        return query(cache, sql, *values)

    monkeypatch.setattr(Cache, "_all", counted)
    source = full.source()
    source.load()
    assert len([sql for sql in statements if "units" in sql]) == 1
    full.web(FULL.replace("Hello", "Good day"))
    source.load()
    assert len([sql for sql in statements if "units" in sql]) == 2


def test_one_change_costs_one_file(full: Repo) -> None:
    """Only the file that changed is compiled, and its target is the only one that is new."""
    source = full.source()
    before = source.load()
    full.web(FULL.replace("Hello", "Good day"))
    after = source.load()
    assert after.targets[WEB].entries[Identity("greeting")].content.value == b"Good day"
    assert after.targets[WEB].digest != before.targets[WEB].digest
    other = Target("core", "other")
    assert after.targets[other] is before.targets[other]
    full.web(FULL.replace("Hello", "Good evening"))
    assert compiled(full) == {"state/web.yaml"}


@pytest.mark.parametrize(
    ("path", "data"),
    [("state/logo.bin", b"\0\2"), ("state/pages/a.html", b"<b>"), ("state/pages/new/b.html", b"<c>")],
)
def test_what_a_file_refers_to_is_part_of_it(full: Repo, path: str, data: bytes) -> None:
    """A file that is referred to, changed or added, is seen though the state file is the same."""
    source = full.source()
    source.load()
    full.write(path, data)
    assert compiled(full) == {"state/web.yaml"}
    values = {entry.content.value for entry in full.load().targets[WEB].entries.values()}
    assert data in values
    (full.root / path).unlink()
    if "new" not in path:
        assert full.load().held.keys() == {WEB}


def test_variables_are_read_each_time(full: Repo) -> None:
    """A variable that changed is seen within one process and the next, and one that is taken away is a problem."""
    full.environ["TOKEN"] = "first-token"
    full.web("keys: {t: {env: TOKEN}}\n", "state/secret.yaml")
    full.web("keys: {}\n")
    source = full.source()
    assert source.load().targets[WEB].entries[Identity("t")].content.value == b"first-token"
    full.environ["TOKEN"] = "second-token"
    again = source.load()
    assert again.targets[WEB].entries[Identity("t")].content.value == b"second-token"
    assert again.secrets == ("second-token",)
    del full.environ["TOKEN"]
    assert list(source.load().held) == [WEB]


def test_no_secret_is_ever_cached(full: Repo) -> None:
    """Neither a variable nor a value that is called sensitive comes near the file."""
    full.environ["TOKEN"] = "hush-hush-variable"
    full.write("state/key.pem", "hush-hush-file")
    full.web(
        """
        keys:
          a: {env: TOKEN}
          b: {value: hush-hush-literal, sensitive: true}
          c: {file: key.pem, sensitive: true}
          d: {labels: {l: {base64: aHVzaC1odXNo, sensitive: true}}}
          e: {json: [hush-hush-json], sensitive: true}
        """,
        "state/secret.yaml",
    )
    full.web("defaults: {sensitive: true}\nkeys: {f: hush-hush-default}\n", "state/default.yaml")
    loaded = full.load()
    assert loaded.problems == ()
    assert set(loaded.secrets) == {
        "hush-hush-variable", "hush-hush-literal", "hush-hush-file", "hush-hush", '["hush-hush-json"]', "hush-hush-default",
    }  # fmt: skip
    assert full.opened is not None
    full.opened.close()
    kept = b"".join(path.read_bytes() for path in full.root.glob("cache.db*"))
    assert b"Hello" in kept
    assert b"hush" not in kept
    assert compiled(full) == {"state/secret.yaml", "state/default.yaml"}


@pytest.mark.parametrize("damage", ["garbage", "empty", "table", "bytes", "folder"])
def test_a_damaged_cache_causes_no_trouble(full: Repo, damage: str) -> None:
    """Loading gives the same without, and the next run has a cache again."""
    fresh = plain(full.load())
    assert full.cache is not None
    assert full.opened is not None
    full.opened.close()
    if damage in ("garbage", "empty"):
        full.cache.write_bytes(b"no database" * 999 if damage == "garbage" else b"")
    elif damage == "folder":
        full.cache.unlink()
        full.cache.mkdir()
    else:
        with sqlite3.connect(full.cache) as database:
            broken = (
                "DROP TABLE units" if damage == "table" else "UPDATE units SET body = substr(body, 1, length(body) - 3)"
            )
            database.execute(broken)
        database.close()
    assert plain(full.load()) == fresh
    assert compiled(full) == ({"state/web.yaml", "state/other.yaml"} if damage == "folder" else set())


EVIL = FULL.replace("Hello", "Owned")


@pytest.mark.parametrize("forgery", ["other key", "no seal", "other slot", "old content", "other body", "checked"])
def test_a_record_that_another_made_counts_as_none(full: Repo, forgery: str) -> None:
    """Whoever can write the file, but has not the key of the state directory, cannot decide what YAML means."""
    fresh = plain(full.load())
    assert full.cache is not None
    if forgery == "other key":
        full.secret = b"m" * 32
    full.web(EVIL)
    full.load()
    full.secret = b"k" * 32
    assert full.opened is not None
    full.opened.close()
    with sqlite3.connect(full.cache) as database:
        evil = database.execute("SELECT * FROM units WHERE slot = 'state/web.yaml'").fetchone()
    database.close()
    full.cache.unlink()
    full.web(FULL)
    full.load()
    full.opened.close()
    with sqlite3.connect(full.cache) as database:
        (key,) = database.execute("SELECT key FROM units WHERE slot = 'state/web.yaml'").fetchone()
        put = "UPDATE units SET key = ?, head = ?, body = ?, seal = ? WHERE slot = 'state/web.yaml'"
        if forgery == "other slot":
            database.execute(
                "UPDATE units SET (head, body, seal) = (SELECT head, body, seal FROM units WHERE slot LIKE '%o%')"
            )
        elif forgery == "other body":
            database.execute("UPDATE units SET body = ? WHERE slot = 'state/web.yaml'", (evil[3],))
        elif forgery == "checked":
            database.execute("UPDATE checked SET digest = zeroblob(16)")
        else:
            database.execute(put, (key, *evil[2:4], None if forgery == "no seal" else evil[4]))
    database.close()
    assert plain(full.load()) == fresh


def test_a_record_is_good_for_its_place_alone(full: Repo) -> None:
    """A whole record under the name of another file counts as none, although its own key goes with it."""
    full.load()
    assert full.cache is not None
    with sqlite3.connect(full.cache) as database:
        (key,) = database.execute("SELECT key FROM units WHERE slot = 'state/web.yaml'").fetchone()
        database.execute(
            "INSERT INTO units SELECT 'state/copy.yaml', key, head, body, seal FROM units WHERE slot = 'state/web.yaml'"
        )
        database.execute("INSERT OR REPLACE INTO checked SELECT 'core/copy', digest, seal FROM checked")
    database.close()
    cache = Cache(full.cache, full.secret)
    assert cache.unit("state/web.yaml", key) is not None
    assert cache.unit("state/copy.yaml", key) is None
    assert cache.checked(WEB) is not None
    assert cache.checked(Target("core", "copy")) is None
    cache.close()


def test_a_target_is_not_called_free_of_clashes_by_another(full: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was found to be right is sealed, too: a duplicate is found although the file says that there is none."""
    full.web("keys: {greeting: again}\n", "state/again.yaml")
    digest = b"d" * 16
    monkeypatch.setattr("kvsync.desired.assembler.target_digest", lambda *_: digest)
    assert full.load().held.keys() == {WEB}
    assert full.cache is not None
    with sqlite3.connect(full.cache) as database:
        database.execute("INSERT OR REPLACE INTO checked VALUES (?, ?, ?)", (str(WEB), digest, digest * 2))
    database.close()
    assert full.load().held.keys() == {WEB}


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TRIGGER t AFTER INSERT ON units BEGIN DELETE FROM units; END",
        "CREATE VIEW v AS SELECT 1",
        "CREATE TABLE more (x)",
        "ALTER TABLE units ADD COLUMN x",
    ],
)
def test_a_file_with_anything_else_in_it_is_replaced(full: Repo, statement: str) -> None:
    """Triggers and views run when the tables are used, so there are none."""
    fresh = plain(full.load())
    assert full.cache is not None
    with sqlite3.connect(full.cache) as database:
        database.execute(statement)
    database.close()
    assert plain(full.load()) == fresh
    with sqlite3.connect(full.cache) as database:
        assert [name for (name,) in database.execute("SELECT name FROM sqlite_master ORDER BY name")] == [
            "checked",
            "units",
        ]
        assert len(database.execute("SELECT * FROM units").fetchall()) == 2
    database.close()


def test_the_file_is_for_its_owner_alone(full: Repo) -> None:
    """Whatever the umask."""
    before = os.umask(0)
    try:
        full.load()
    finally:
        os.umask(before)
    assert full.cache is not None
    assert stat.S_IMODE(full.cache.stat().st_mode) == 0o600


def test_a_file_of_an_older_kvsync_is_replaced(full: Repo) -> None:
    """Records that were not sealed are forgotten."""
    fresh = plain(full.load())
    assert full.cache is not None
    full.cache.unlink()
    with sqlite3.connect(full.cache) as database:
        database.execute(
            "CREATE TABLE units (slot TEXT PRIMARY KEY, key BLOB, head BLOB, body BLOB, sum INTEGER) WITHOUT ROWID"
        )
        database.execute("CREATE TABLE checked (target TEXT PRIMARY KEY, digest BLOB) WITHOUT ROWID")
    database.close()
    assert plain(full.load()) == fresh
    assert compiled(full) == set()


def test_a_cache_in_use_causes_no_trouble(full: Repo) -> None:
    """While another process writes to it for long, loading goes on without."""
    fresh = plain(full.load())
    assert full.cache is not None
    other = sqlite3.connect(full.cache, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    assert plain(full.load()) == fresh
    other.execute("ROLLBACK")
    other.close()
    assert full.cache.exists()


def test_a_cache_that_is_closed_while_it_is_written_writes_to_the_end(full: Repo) -> None:
    """A daemon that is told to stop closes the cache while a thread still loads: the connection is never closed under it."""
    full.load()
    config, stores = full.parts()
    reading = Reader(config, Stores(stores, config.stores, config.authority), Cache(None, None), full.environ).read(
        None
    )
    assert full.cache is not None
    full.cache.unlink()
    cache = Cache(full.cache, full.secret)

    class Paths(list[str]):
        """Closes the cache from another thread in the middle of the transaction."""

        def __contains__(self, path: object) -> bool:
            closer = Thread(target=cache.close, daemon=True)
            closer.start()
            closer.join(0.2)
            return super().__contains__(path)

    cache.keep(reading.fresh, {}, Paths(reading.paths))
    assert compiled(full) == set()


def test_no_cache_at_all(full: Repo) -> None:
    """Without a path, and with one that cannot be, everything works."""
    fresh = plain(full.load())
    for path in (None, Path("/dev/null/cache.db")):
        full.cache = path
        assert plain(full.load()) == fresh


def test_files_that_are_gone_leave_the_cache(full: Repo) -> None:
    """It does not grow with the history of the repository."""
    full.load()
    (full.root / "state" / "other.yaml").unlink()
    full.web(FULL.replace("Hello", "Bye"))
    full.load()
    assert full.cache is not None
    database = sqlite3.connect(full.cache)
    assert database.execute("SELECT slot FROM units").fetchall() == [("state/web.yaml",)]
    database.close()


def test_the_configuration_is_part_of_the_key(full: Repo) -> None:
    """What compilation depends on besides the files, stores and their policies, is seen when it changes."""
    full.load()
    full.write("kvsync.yaml", CONFIG.replace("edge: {type: memory}", "edge: {type: memory, policy: {adopt: never}}"))
    assert compiled(full) == {"state/web.yaml", "state/other.yaml"}
    full.load()
    full.capabilities = replace(MemoryStore.capabilities, max_value=3)
    assert any("at most 3" in problem for problem in full.problems())


def test_overlays_have_places_of_their_own(full: Repo) -> None:
    """Going back and forth between environments compiles each once."""
    full.write("state/web.prod.yaml", "keys: {greeting: prod}\n")
    full.load()
    full.load("prod")
    assert compiled(full) == set()
    assert full.values(environment="prod")["greeting"] == "prod"


def test_conflicts_are_reported_by_every_run(full: Repo) -> None:
    """A duplicate between two files is not forgotten because both are cached."""
    full.web("keys: {greeting: again}\n", "state/again.yaml")
    first = full.problems()
    assert "greeting is defined twice" in "".join(first)
    assert full.problems() == first
    source = full.source()
    assert source.load().problems == source.load().problems
    (full.root / "state" / "again.yaml").unlink()
    assert source.load().problems == ()


def test_another_process_gets_the_same(full: Repo) -> None:
    """The digest, which represents everything, does not depend on the process."""
    code = (
        "import json, sys; sys.path[:0] = sys.argv[2:]\n"
        "from pathlib import Path\n"
        "from tests.desired.conftest import Repo\n"
        "root = Path(sys.argv[1])\n"
        "print(json.dumps([Repo(root, cache=root / name).load().digest for name in ('cache.db', 'new.db')]))\n"
    )
    here = full.load().digest
    command = [sys.executable, "-c", code, str(full.root), *sys.path]
    found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert json.loads(found) == [here, here]
