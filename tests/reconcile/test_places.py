"""What is ours is proven, not believed: by place, by mark, and by what the ledger of that place says."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.command import CONFIG, Repository

RECORDED = Path(__file__).parents[1] / "recorded"
COLUMNS = (
    "label, content_type, tags, metadata, expires_at, owner, mark_fingerprint, mark_ttl, flags, fingerprint, value"
)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path)


def changes_of(repository: Repository) -> list[tuple[str, str, str]]:
    (target,) = json.loads(repository.run("plan", "-o", "json").stdout)["targets"]
    return [(one["action"], one["class"], one["key"]) for one in target["changes"]]


def refusals_of(repository: Repository) -> list[tuple[str, str]]:
    (target,) = json.loads(repository.run("plan", "-o", "json").stdout)["targets"]
    return [(one["action"], one["key"]) for one in target["refused"]]


def copy_of(key: str, new_key: str, namespace: str = "web") -> str:
    """SQL that copies an entry with everything in it, as a clone in a portal or an import does."""
    return (
        f"INSERT INTO entries(namespace, key, {COLUMNS}) SELECT '{namespace}', '{new_key}', {COLUMNS}"
        f" FROM entries WHERE namespace = 'web' AND key = '{key}'"
    )


class TestAnotherPlaceBehindTheName:
    """Knowledge is bound to the place it was learned at."""

    def test_another_file_starts_with_nothing_known(self, repository: Repository) -> None:
        """What the ledger knows of one database says nothing of the entries of another under the same store name."""
        repository.want("  a: one\n  b: two\n")
        repository.run("apply", "--yes", code=0)
        (repository.root / "kvsync.yaml").write_text(CONFIG.replace("store.db", "other.db"))
        with closing(sqlite3.connect(repository.root / "store.db")) as old:
            schema = [sql for (sql,) in old.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")]
        with closing(sqlite3.connect(repository.root / "other.db")) as other, other:
            for sql in schema:
                other.execute(sql)
            other.execute("INSERT INTO entries_state VALUES (1, 0, 0)")
            other.execute("INSERT INTO entries(namespace, key, value) VALUES ('web', 'a', x'00'), ('web', 'b', x'01')")
        repository.want("  a: one\n")
        repository.run("apply", "--yes", code=3)
        with closing(sqlite3.connect(repository.root / "other.db")) as other:
            assert dict(other.execute("SELECT key, value FROM entries")) == {"a": b"\x00", "b": b"\x01"}

    def test_the_plan_the_log_and_status_say_so(self, repository: Repository) -> None:
        """A person sees that a name leads somewhere else now, from where to where."""
        repository.want("  a: one\n")
        repository.run("apply", "--yes", code=0)
        (repository.root / "kvsync.yaml").write_text(CONFIG.replace("store.db", "other.db"))
        plan = repository.run("plan").stdout
        assert "main/web is now another store: was sqlite file" in plan
        assert "other.db" in plan
        done = repository.run("--log-format", "json", "run", "--once")
        assert '"place.changed"' in done.stderr
        assert "moved: main/web has been sqlite file" in repository.run("status").stdout

    def test_knowledge_is_kept_for_when_the_name_points_back(self, repository: Repository) -> None:
        """Back at the first place, what is missing there is missing, and what is ours is ours."""
        repository.want("  a: one\n  b: two\n")
        repository.run("apply", "--yes", code=0)
        (repository.root / "kvsync.yaml").write_text(CONFIG.replace("store.db", "other.db"))
        repository.run("apply", "--yes", code=0)
        (repository.root / "kvsync.yaml").write_text(CONFIG)
        repository.by_hand("DELETE FROM entries WHERE key = 'a'")
        assert changes_of(repository) == [("create", "missing", "a")]

    def test_a_file_that_moved_is_the_same_place(self, repository: Repository) -> None:
        """A database that was moved, and is reached by another path or a link, is not another place."""
        repository.want("  a: one\n")
        repository.run("apply", "--yes", code=0)
        for name in ("store.db", "store.db-wal", "store.db-shm"):
            if (repository.root / name).exists():
                (repository.root / name).rename(repository.root / f"moved-{name}")
        (repository.root / "link.db").symlink_to("moved-store.db")
        (repository.root / "kvsync.yaml").write_text(CONFIG.replace("store.db", "./link.db"))
        plan = repository.run("plan", "--exit-code", code=0).stdout
        assert "another store" not in plan

    def test_undo_writes_only_where_the_run_wrote(self, repository: Repository) -> None:
        """A run that wrote to one place is not taken back in another."""
        repository.want("  a: one\n")
        repository.run("apply", "--yes", code=0)
        run = json.loads(repository.run("history", "-o", "json").stdout)["runs"][0]["run"]
        (repository.root / "kvsync.yaml").write_text(CONFIG.replace("store.db", "other.db"))
        repository.run("apply", "--yes", code=0)
        done = repository.run("undo", run, "--yes")
        assert done.returncode != 0
        assert "is no longer the store that the run wrote to" in done.stdout + done.stderr

    @pytest.mark.parametrize("is_there", [True, False])
    def test_a_saved_plan_is_applied_only_where_it_was_made(self, repository: Repository, is_there: bool) -> None:
        """A reviewed plan says what is done to one place: behind the same name, another one is left as it is."""
        repository.want("  a: one\n")
        if is_there:
            repository.run("apply", "--yes", code=0)
            (repository.root / "kvsync.yaml").write_text(CONFIG.replace("store.db", "other.db"))
            repository.run("apply", "--yes", code=0)
            (repository.root / "kvsync.yaml").write_text(CONFIG)
        repository.want("  a: one\n  b: two\n")
        repository.run("plan", "--out", "plan.json", code=0)
        (repository.root / "kvsync.yaml").write_text(CONFIG.replace("store.db", "other.db"))
        repository.run("apply", "plan.json", "--exact", "--yes", code=4)
        done = repository.run("apply", "plan.json", "--yes", code=3)
        assert "the plan was saved for another place: it was sqlite" in done.stdout
        assert "other.db" in done.stdout
        (repository.root / "kvsync.yaml").write_text(CONFIG)
        repository.run("apply", "plan.json", "--yes", code=0)
        assert "b" in repository.values()


class TestOneManagerPerPlace:
    """Two targets never manage one place."""

    @pytest.mark.parametrize("path", ["store.db", "./store.db", "sub/../store.db", "link.db"])
    def test_two_stores_on_one_file(self, repository: Repository, path: str) -> None:
        """However the path is spelled, both targets are named, each with the line of its store, and nothing is written."""
        (repository.root / "sub").mkdir()
        (repository.root / "link.db").symlink_to("store.db")
        two = f"stores:\n  main: {{type: sqlite, path: store.db}}\n  twin: {{type: sqlite, path: {path}}}\n"
        (repository.root / "kvsync.yaml").write_text(CONFIG.partition("stores:")[0] + two)
        repository.want("  a: one\n")
        (repository.root / "state/twin.yaml").write_text("store: twin\nnamespace: web\nkeys: {b: two}\n")
        done = repository.run("validate", code=78)
        assert "main/web (kvsync.yaml:6:9) and twin/web (kvsync.yaml:7:9) resolve to the same place" in done.stderr
        repository.run("apply", "--yes", code=78)
        assert not (repository.root / "store.db").exists()

    def test_a_hard_link_is_found_online(self, repository: Repository) -> None:
        """Where only the file itself tells that it is the same one, the plan parks both targets; no approval releases them."""
        repository.want("  a: one\n")
        repository.run("apply", "--yes", code=0)
        (repository.root / "hard.db").hardlink_to(repository.root / "store.db")
        two = "stores:\n  main: {type: sqlite, path: store.db}\n  twin: {type: sqlite, path: hard.db}\n"
        (repository.root / "kvsync.yaml").write_text(CONFIG.partition("stores:")[0] + two)
        (repository.root / "state/twin.yaml").write_text("store: twin\nnamespace: web\nkeys: {b: two}\n")
        repository.run("validate", code=0)
        done = repository.run("apply", "--yes", code=4)
        assert done.stdout.count("resolve to the same place") >= 2
        assert "kvsync approve" not in done.stdout
        assert repository.values() == {"a": "one"}

    def test_key_formats_that_meet(self, repository: Repository) -> None:
        """Prefixes keep targets apart; formats whose keys could be the same do not."""
        base = CONFIG.partition("stores:")[0]
        store = "  {}: {{type: sqlite, path: store.db, key_format: '{}'}}\n"
        repository.want("  a: one\n")
        (repository.root / "state/twin.yaml").write_text("store: twin\nnamespace: web\nkeys: {b: two}\n")
        for one, other, code in (("x/{key}", "y/{key}", 0), ("x/{key}", "{key}", 78), ("x/{key}", "x/y/{key}", 78)):
            (repository.root / "kvsync.yaml").write_text(
                base + "stores:\n" + store.format("main", one) + store.format("twin", other)
            )
            repository.run("validate", code=code)


class TestMarks:
    """A mark counts for the place, key and label that it was written for."""

    def test_a_copy_is_foreign(self, repository: Repository) -> None:
        """A copy under another key or in another namespace, mark and all, is not deleted, and not counted as ours."""
        repository.want("".join(f"  k{number}: v\n" for number in range(20)))
        repository.run("apply", "--yes", code=0)
        repository.by_hand(copy_of("k1", "backup"), copy_of("k1", "k1", "mail"))
        (repository.root / "state/mail.yaml").write_text("store: main\nnamespace: mail\nkeys: {other: x}\n")
        plan = json.loads(repository.run("plan", "-o", "json").stdout)
        assert [target["foreign"] for target in plan["targets"]] == [1, 1]
        assert plan["summary"]["delete"] == 0

    def test_a_copy_on_a_desired_key_is_adopted_only_when_it_is_equal(self, repository: Repository) -> None:
        """A copy that lies where the files want an entry is as an entry without an owner."""
        repository.want("  a: one\n")
        repository.run("apply", "--yes", code=0)
        repository.by_hand(copy_of("a", "b"), copy_of("a", "c"))
        repository.want("  a: one\n  b: one\n  c: other\n")
        assert changes_of(repository) == [("adopt", "unowned", "b")]
        assert refusals_of(repository) == [("update", "c")]

    def test_a_dropped_mark_is_drift(self, repository: Repository) -> None:
        """Who replaces an entry and its mark has changed what is ours: `drift` says so, and the policy decides."""
        repository.want("  a: one\n  b: two\n")
        repository.run("apply", "--yes", code=0)
        repository.by_hand(
            "DELETE FROM entries",
            "INSERT INTO entries(namespace, key, value) VALUES ('web', 'a', 'x'), ('web', 'b', 'two')",
        )
        assert repository.run("drift", code=2).stdout.count("  drifted  ") == 2
        repository.run("apply", "--yes", code=0)
        assert repository.values() == {"a": "one", "b": "two"}
        repository.run("plan", "--exit-code", code=0)

    def test_a_dropped_mark_deletes_nothing(self, repository: Repository) -> None:
        """Without its mark, an entry that no file asks for any more is refused, with the reason and what to do."""
        repository.want("  a: one\n  b: two\n")
        repository.run("apply", "--yes", code=0)
        repository.by_hand("UPDATE entries SET owner = NULL, mark_fingerprint = NULL WHERE key = 'b'")
        repository.want("  a: one\n")
        done = repository.run("apply", "--yes", code=3)
        assert "its ownership mark was removed" in done.stdout
        assert "policy.ignore" in done.stdout
        assert repository.values() == {"a": "one", "b": "two"}

    def test_a_restored_revision_is_drift(self, repository: Repository) -> None:
        """An older state of an entry, brought back with its mark, is someone's change, not a change of the files."""
        repository.want("  a: old\n  b: x\n")
        repository.run("apply", "--yes", code=0)
        repository.by_hand(f"CREATE TABLE kept AS SELECT {COLUMNS} FROM entries WHERE key = 'a'")
        repository.want("  a: new\n  b: x\n")
        repository.run("apply", "--yes", code=0)
        repository.by_hand(
            "DELETE FROM entries WHERE key = 'a'",
            f"INSERT INTO entries(namespace, key, {COLUMNS}) SELECT 'web', 'a', {COLUMNS} FROM kept",
        )
        assert changes_of(repository) == [("update", "drifted", "a")]
        repository.run("drift", code=2)

    def test_an_old_backup_of_the_state_deletes_nothing_of_others(self, repository: Repository) -> None:
        """A ledger older than a removal does not make ours what was made under that key meanwhile."""
        repository.want("  a: one\n  b: two\n")
        repository.run("apply", "--yes", code=0)
        shutil.copytree(repository.root / ".kvsync", repository.root / "backup")
        repository.want("  a: one\n")
        repository.run("apply", "--yes", code=0)
        repository.by_hand("INSERT INTO entries(namespace, key, value) VALUES ('web', 'b', CAST('theirs' AS BLOB))")
        shutil.rmtree(repository.root / ".kvsync")
        (repository.root / "backup").rename(repository.root / ".kvsync")
        repository.run("apply", "--yes", code=3)
        assert repository.values() == {"a": "one", "b": "theirs"}

    @pytest.mark.parametrize("policy", ["report", "gate", "heal"])
    @pytest.mark.parametrize("end", ["{value: x, expires_at: 2020-01-01T00:00:00Z}", None])
    def test_our_own_deletes_are_not_drift(self, repository: Repository, policy: str, end: str | None) -> None:
        """What its file ended or dropped, and wants again later, is new: made at once, whatever the policy says of drift."""
        (repository.root / "kvsync.yaml").write_text(CONFIG.replace("owned", f"owned, drift: {policy}"))
        repository.want("  a: x\n  b: y\n")
        repository.run("apply", "--yes", code=0)
        repository.want(("" if end is None else f"  a: {end}\n") + "  b: y\n")
        repository.run("apply", "--yes", code=0)
        assert repository.values() == {"b": "y"}
        repository.want("  a: x\n  b: y\n")
        assert changes_of(repository) == [("create", "new", "a")]
        repository.run("apply", "--yes", code=0)


class TestOwnerKeys:
    """With an owner key, only what is signed with it proves anything."""

    KEYED = CONFIG + "owner_key: {env: OWNER_KEY}\n"
    ENV = {"OWNER_KEY": "first"}  # noqa: RUF012 - never changed

    def test_a_forged_mark_proves_nothing(self, repository: Repository) -> None:
        """A mark of our owner that was made without the key does not let an entry be deleted."""
        (repository.root / "kvsync.yaml").write_text(CONFIG)
        repository.want("  a: one\n  forged: x\n")
        repository.run("apply", "--yes", code=0)  # as a stranger without the key would write it
        shutil.rmtree(repository.root / ".kvsync")
        (repository.root / "kvsync.yaml").write_text(self.KEYED)
        repository.want("  a: one\n")
        repository.run("apply", "--yes", env=self.ENV, code=0)
        assert repository.values() == {"a": "one", "forged": "x"}

    def test_keys_are_rotated_without_a_gap(self, repository: Repository) -> None:
        """Under a new key with the old one listed, marks are adopted; then the old key can go."""
        (repository.root / "kvsync.yaml").write_text(self.KEYED)
        repository.want("  a: one\n  b: two\n")
        repository.run("apply", "--yes", env=self.ENV, code=0)
        both = CONFIG + "owner_key: [{env: NEW_KEY}, {env: OWNER_KEY}]\n"
        (repository.root / "kvsync.yaml").write_text(both)
        keys = {**self.ENV, "NEW_KEY": "second"}
        plan = json.loads(repository.run("plan", "-o", "json", env=keys).stdout)
        assert plan["summary"]["adopt"] == 2
        repository.run("apply", "--yes", env=keys, code=0)
        (repository.root / "kvsync.yaml").write_text(self.KEYED)
        shutil.rmtree(repository.root / ".kvsync")
        repository.want("  a: one\n")
        repository.run("apply", "--yes", env={"OWNER_KEY": "second"}, code=0)
        assert repository.values() == {"a": "one"}

    def test_a_key_that_is_not_there_stops_the_target(self, repository: Repository) -> None:
        """Without the key nothing is read as ours and nothing is written; the message names the variable."""
        (repository.root / "kvsync.yaml").write_text(self.KEYED)
        repository.want("  a: one\n")
        done = repository.run("apply", "--yes", code=1)
        assert "OWNER_KEY is not set" in done.stdout + done.stderr
        assert "OWNER_KEY is not set" in repository.run("doctor").stdout


class TestRecordedRepositories:
    """State directories and stores of earlier versions are taken over."""

    @pytest.fixture
    def recorded(self, tmp_path: Path) -> Repository:
        shutil.copytree(RECORDED / "schema-4", tmp_path, dirs_exist_ok=True)
        (tmp_path / ".kvsync").mkdir(mode=0o700)
        (tmp_path / ".kvsync/key").write_bytes(bytes.fromhex((tmp_path / "key.hex").read_text()))
        for name, file, pragmas in (
            ("state", ".kvsync/state.db", "PRAGMA user_version = 4; PRAGMA application_id = 1802924899;"),
            ("store", "store.db", "PRAGMA user_version = 1;"),
        ):
            with closing(sqlite3.connect(tmp_path / file)) as connection:
                connection.executescript((tmp_path / f"{name}.sql").read_text() + pragmas)
        repository = Repository.__new__(Repository)
        repository.root = tmp_path
        return repository

    def test_what_is_equal_is_marked_again_and_nothing_else_happens(self, recorded: Repository) -> None:
        """The first plan adopts all entries; the next one is empty."""
        assert {change[:2] for change in changes_of(recorded)} == {("adopt", "changed")}
        recorded.run("apply", "--yes", code=0)
        recorded.run("plan", "--exit-code", code=0)

    def test_what_the_ledger_knows_is_still_ours_to_delete(self, recorded: Repository) -> None:
        """An entry with an unsealed mark goes when the ledger says that its content is what was applied, and only then."""
        state = recorded.root / "state/web.yaml"
        kept = [line for line in state.read_text().splitlines() if not line.startswith(("  old:", "  greeting:"))]
        state.write_text("\n".join(kept) + "\n")
        recorded.by_hand("UPDATE entries SET value = CAST('edited' AS BLOB) WHERE key = 'greeting'")
        recorded.run("apply", "--yes", code=3)
        assert "old" not in recorded.values()
        assert recorded.values()["greeting"] == "edited"

    def test_a_fresh_state_directory_deletes_nothing_with_unsealed_marks(self, recorded: Repository) -> None:
        """Where no ledger knows it, an entry with a mark of an earlier version may be a copy."""
        shutil.rmtree(recorded.root / ".kvsync")
        state = recorded.root / "state/web.yaml"
        state.write_text("\n".join(line for line in state.read_text().splitlines() if "old:" not in line) + "\n")
        done = recorded.run("apply", "--yes", code=3)
        assert "its mark was made by an earlier version of kvsync" in done.stdout
        assert "old" in recorded.values()

    def test_an_unsealed_mark_is_not_proof_for_an_overwrite(self, recorded: Repository) -> None:
        """A copy that carries a mark of an earlier version, under a key that kvsync never wrote, is not overwritten."""
        recorded.by_hand(copy_of("greeting", "copied"))
        with (recorded.root / "state/web.yaml").open("a") as state:
            state.write("  copied: ours\n")
        done = recorded.run("apply", "--yes", code=3)
        assert "a mark of an earlier version of kvsync, and it is not in the ledger" in done.stdout
        assert recorded.values()["copied"] == recorded.values()["greeting"]

    def test_the_journal_can_still_be_taken_back(self, recorded: Repository) -> None:
        """A run that an earlier version recorded is undone where its names lead."""
        run = json.loads(recorded.run("history", "-o", "json").stdout)["runs"][0]["run"]
        recorded.run("undo", run, "--yes", code=0)
        assert recorded.values() == {}
