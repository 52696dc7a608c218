"""The promises, one class each, over the embedded store and every kind of remote."""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from kvsync.cli.main import run
from kvsync.errors import PermanentError
from kvsync.model.entry import Mark
from kvsync.model.health import Traffic
from kvsync.model.pass_options import PassOptions
from kvsync.state import Run
from tests.support.command import CONFIG, Repository
from tests.support.memory_repository import MemoryRepository, is_clean, outcomes, rows
from tests.support.stores import KINDS

SECRET = 'pa"ss wörd\\/&+%41=;hunter2-and-more'
NUMBERS = {f"k{number:02}": number for number in range(12)}


@pytest.fixture(params=sorted(KINDS))
def repo(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MemoryRepository:
    return MemoryRepository(tmp_path, monkeypatch, request.param)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path, f"{CONFIG}authors: {{env: [KVSYNC_TEST_SECRET]}}\n")


class TestASecondPassDoesNothing:
    """Promise 1: a second pass right after a successful one makes no write and plans no change."""

    KEYS = """\
  plain: Hello
  number: 1.10
  data: {json: {b: [1, 2.50, null], a: "ü"}}
  empty: ""
  lines: "one\\ntwo\\r\\n"
  mortal: {value: x, ttl: 7d}
  secret: {value: s3cret-value, sensitive: true}
  guarded: {value: y, protected: true}
  seed: {value: z, mode: create-only}
"""

    async def test_on_every_kind_of_remote(self, repo: MemoryRepository) -> None:
        """Whatever an entry looks like, once it is written it is as desired."""
        repo.want(self.KEYS)
        assert is_clean(await repo.apply())
        repo.server.calls.clear()
        second = await repo.apply()
        assert outcomes(second) == {}
        assert rows(second.plan.targets[0]) == []
        assert repo.writes() == 0
        assert rows(await repo.plan(PassOptions(deep=True))) == []

    def test_on_the_embedded_store(self, repository: Repository) -> None:
        """The same through the command line, with labels, tags, metadata and bytes."""
        labels = "  theme: {value: light, labels: {prod: dark}}\n  bytes: {base64: AAEC/w==}\n"
        full = "  full: {value: v, content_type: text/plain, tags: {a: b}, metadata: {z: 1}}\n"
        repository.want(self.KEYS + labels + full)
        repository.run("apply", "--yes", code=0)
        before = (repository.root / "store.db").read_bytes()
        repository.run("plan", "--exit-code", code=0)
        repository.run("plan", "--exit-code", "--deep", code=0)
        repository.run("apply", "--yes", code=0)
        repository.run("drift", code=0)
        assert (repository.root / "store.db").read_bytes() == before


class TestForeignEntriesAreSafe:
    """Promise 2: an entry without our mark is never deleted or overwritten, except as the policy says."""

    @pytest.mark.parametrize("policy", ["{}", "{adopt: never}", "{prune: off}", "{adopt: if-equal, drift: report}"])
    async def test_whatever_the_files_do(self, repo: MemoryRepository, policy: str) -> None:
        """Desired or not, absent or moved: another's entry keeps its value, and so does one of another owner."""
        repo.configure(policy)
        await repo.settle({"a": 1, "b": 1, "old": 1})
        for key in ("theirs", "wanted", "gone", "source"):
            repo.server.write("web", key, b"theirs")
        if KINDS[repo.kind].capabilities.marks == "store":
            repo.server.write("web", "team-b", b"theirs", mark=Mark("team-b", b"f" * 16))
        theirs = {key: value for key, value in repo.values().items() if value == "theirs"}
        repo.want(
            {"a": 2, "wanted": 1, "team-b": 1, "new": 1},
            "absent: [gone, old]\nmoved: [{from: source, to: new}]\n",
        )
        for _ in range(2):
            await repo.apply()
            repo.clock.advance(61)
        assert {key: repo.held(key) for key in theirs} == theirs

    async def test_adopting_is_the_exception(self, repo: MemoryRepository) -> None:
        """adopt: always overwrites desired entries without an owner, and nothing next to them."""
        repo.configure("{adopt: always}")
        repo.server.write("web", "wanted", b"theirs")
        repo.server.write("web", "other", b"theirs")
        repo.want({"wanted": 1})
        await repo.apply()
        assert repo.values() == {"wanted": "1", "other": "theirs"}


class TestNoSecretIsShown:
    """Promise 3: no sensitive value and no credential appears in any output, log, journal, plan file or exception text."""

    COMMANDS = (
        ("validate",),
        ("plan", "-o", "text", "--full"),
        ("plan", "-o", "json", "--out", "saved.json", "--markdown-into", "comment.md"),
        ("plan", "-o", "markdown"),
        ("apply", "--yes", "-o", "text"),
        ("apply", "--yes", "-o", "json"),
        ("drift", "-o", "json"),
        ("run", "--once"),
        ("history", "-o", "json"),
        ("status", "-o", "json"),
    )

    def write(self, repository: Repository, version: int) -> None:
        value = json.dumps(f"{SECRET}{version}")
        wrapped = json.dumps(json.dumps({"password": f"{SECRET}{version}"}))
        repository.want(
            f"  token: {{value: {value}, sensitive: true}}\n"
            f"  wrapped: {{value: {wrapped}, sensitive: true, labels: {{prod: {value}}}}}\n"
            "  variable: {env: KVSYNC_TEST_SECRET}\n  plain: x\n"
        )

    def test_in_any_output_of_any_command(
        self, repository: Repository, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """Created, changed, drifted, healed: stdout, stderr and every file but the store stay silent."""
        monkeypatch.chdir(repository.root)
        shown: list[str] = []
        for version in (1, 2):
            self.write(repository, version)
            monkeypatch.setenv("KVSYNC_TEST_SECRET", f"{SECRET}{version}")
            if version == 2:
                repository.by_hand(f"UPDATE entries SET value = CAST('{SECRET}0' AS BLOB) WHERE key = 'wrapped'")
            for command in self.COMMANDS:
                run(["--log-format", "json", "--log-level", "debug", *command])
                shown += capfd.readouterr()
        assert repository.values()["token"] == f"{SECRET}2"
        assert any("wrapped" in text for text in shown)
        for text in shown:
            assert not leaks(text), text
        for file in repository.root.rglob("*"):
            if file.is_file() and file.parent.name != "state" and not file.name.startswith("store.db"):
                assert not leaks(file.read_bytes().decode(errors="replace")), file

    def test_in_what_a_store_says(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A store that repeats the value in its error message gives nothing away either."""
        repo = MemoryRepository(tmp_path, monkeypatch)
        repo.want({"token": f"{{value: {json.dumps(SECRET)}, sensitive: true}}", "a": 1})
        repo.server.fail_entry("token", error=f"will not take {SECRET}")
        texts: list[str] = []
        config = ("-c", str(tmp_path / "kvsync.yaml"))
        for command in (["apply", "--yes"], ["plan", "-o", "json"], ["history", "-o", "json"], ["run", "--once"]):
            run([*config, *command])
            texts += capsys.readouterr()
        repo.server.fail(PermanentError(f"GET https://x/?token={SECRET} failed"), times=9)
        for command in (["plan"], ["apply", "--yes"], ["run", "--once"]):
            run([*config, *command])
            texts += capsys.readouterr()
        assert any("will not take" in text for text in texts)
        for text in texts:
            assert not leaks(text), text
        database = (tmp_path / ".kvsync/state.db").read_bytes()
        assert not leaks(database.decode(errors="replace"))

    async def test_in_the_repr_of_anything_that_travels(self, repo: MemoryRepository) -> None:
        """Plans, changes, reports and exceptions can be printed by a debugger without showing a value."""
        repo.want({"token": f"{{value: {json.dumps(SECRET)}, sensitive: true}}", "a": 1})
        async with repo.open() as workspace:
            loaded = workspace.load()
            plan = await workspace.plan(loaded=loaded)
            report = await workspace.apply(plan, command="test")
            texts = [repr(one) for one in (plan, report, loaded, loaded.targets, workspace.config)]
        for text in texts:
            assert not leaks(text), text


def leaks(text: str) -> bool:
    """True when a text holds the secret, as it is or as it is commonly written."""
    return any(part in text for part in ("hunter2", "ss wörd", "ss w\\u00f6rd"))


class TestConcurrentChangesStand:
    """Promise 4: a write never silently undoes a concurrent change on a store with compare-and-set."""

    @pytest.mark.parametrize("kind", sorted(kind for kind, one in KINDS.items() if one.capabilities.compare_and_set))
    @pytest.mark.parametrize("seed", range(4))
    async def test_however_writers_meet(
        self, kind: str, seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Another writer changes random entries between plan and write, and finds every change of theirs again."""
        free_hand = "{guard: {max_update_pct: 100, max_delete_pct: 100}}"
        repo, chance = MemoryRepository(tmp_path, monkeypatch, kind, free_hand), random.Random(seed)
        await repo.settle(NUMBERS)
        changed = {key: chance.randrange(100) + 100 for key in NUMBERS if chance.random() < 0.7}
        repo.want({key: value for key, value in (NUMBERS | changed).items() if chance.random() < 0.9})
        touched: set[str] = set()

        def interfere() -> None:
            key = chance.choice(sorted(NUMBERS))
            touched.add(key)
            repo.server.write("web", key, b"theirs")

        repo.server.before_change(interfere, times=6)
        await repo.apply()
        assert touched
        assert {repo.held(key) for key in touched} == {"theirs"}

    def test_on_the_embedded_store(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """An edit between plan and apply makes that entry stale, and it is spared."""
        repository = Repository(tmp_path)
        repository.want("  a: 1\n  b: 1\n")
        repository.run("apply", "--yes", code=0)
        repository.want("  a: 2\n  b: 2\n")
        repository.run("plan", "--out", "plan.json", code=0)
        repository.by_hand("UPDATE entries SET value = CAST('theirs' AS BLOB) WHERE key = 'a'")
        repository.run("apply", "plan.json", code=3)
        assert repository.values() == {"a": "theirs", "b": "2"}


class TestNothingIsDeletedByMistake:
    """Promise 5: an incomplete listing, an unreadable file or an empty checkout never causes a delete."""

    async def test_by_a_listing_that_broke_off(self, repo: MemoryRepository) -> None:
        """However little of it was listed, a target loses no entry that is still wanted."""
        await repo.settle(NUMBERS)
        for keep in (0, 1, 6, 11):
            repo.server.list_incompletely(keep=keep)
            await repo.apply()
            assert repo.values().keys() >= NUMBERS.keys()

    @pytest.mark.parametrize(
        "damage",
        [
            lambda state: state.unlink(),
            lambda state: (state.unlink(), state.mkdir()),
            lambda state: (state.unlink(), state.symlink_to("/nonexistent")),
            lambda state: state.write_bytes(b""),
            lambda state: state.write_bytes(b"\xff\xfe\x00"),
            lambda state: state.write_text("store: main\nnamespace: web\nkeys: {}\n"),
            lambda state: state.write_text("store: main\nnamespace: web\n"),
            lambda state: state.write_text("store: main\nnamespace: web\nkeys: {a: {file: ./missing}}\n"),
            lambda state: state.write_text("store: main\nnamespace: web\nkeys: {a: {env: NOT_SET_ANYWHERE}}\n"),
            lambda state: (state.unlink(), state.parent.rmdir()),
        ],
    )
    async def test_by_files_that_cannot_be_used(self, repo: MemoryRepository, damage: Callable[[Path], Any]) -> None:
        """Whatever became of the file, every entry stays."""
        await repo.settle(NUMBERS)
        damage(repo.root / "state/web.yaml")
        await repo.apply()
        assert repo.values() == {key: str(value) for key, value in NUMBERS.items()}

    def test_through_the_command_line(self, repository: Repository) -> None:
        """A checkout without any state file deletes nothing, and is not a success."""
        repository.want("  a: 1\n  b: 1\n")
        repository.run("apply", "--yes", code=0)
        (repository.root / "state/web.yaml").unlink()
        repository.run("apply", "--yes")
        assert repository.values() == {"a": "1", "b": "1"}


class KilledError(BaseException):
    """Represents the end of the process."""


class TestKilledAtAnyMoment:
    """Promise 6: killed at any moment, then run again: the store equals the desired state. (See also test_crash.)"""

    @pytest.mark.parametrize("is_written", [True, False])
    async def test_before_and_after_each_call(
        self, repo: MemoryRepository, is_written: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Cut off at the first, second, … write, before or after the store did it, the next run finishes the work."""
        await repo.settle({"a": 1, "b": 1, "c": 1, "greet": 1})
        repo.server.write("web", "theirs", b"x")
        repo.want({"a": 2, "b": 1, "d": 1, "greeting": 1}, "moved: [{from: greet, to: greeting}]\n")
        for _ in range(9):
            with pytest.MonkeyPatch.context() as patch:
                was_killed = await self.cut_off(repo, patch, is_written=is_written)
            repo.clock.advance(61)
            if not was_killed:
                break
        assert is_clean(await repo.apply())
        repo.clock.advance(61)
        assert rows(await repo.plan()) == []
        assert repo.values() == {"a": "2", "b": "1", "d": "1", "greeting": "1", "theirs": "x"}

    async def cut_off(self, repo: MemoryRepository, patch: pytest.MonkeyPatch, *, is_written: bool) -> bool:
        """Apply until the first call that writes; the journal learns nothing from then on."""
        change = repo.server.change

        def dying(*arguments: Any, **more: Any) -> Any:
            patch.setattr(Run, "settle", lambda *_arguments: None)
            patch.setattr(Run, "finish", lambda *_arguments: None)
            if is_written:
                change(*arguments, **more)
            raise KilledError

        patch.setattr(repo.server, "change", dying)
        try:
            await repo.apply()
        except KilledError:
            return is_written
        return False


class TestNoRequestTooMany:
    """Promise 7: reads and writes cost no more requests than the store's API needs."""

    MANY = {f"k{number:04}": number for number in range(2500)}  # noqa: RUF012 - never changed

    async def test_to_write_new_entries_to_look_at_them_and_to_change_one(self, repo: MemoryRepository) -> None:
        """New entries cost one call for each batch that the store takes; only stores that cannot compare are asked more.
        Unchanged entries cost the pages of one listing; no value is read where the listing tells enough. One change among
        many is one write."""
        repo.want(self.MANY)
        spent = await self.spent(repo, apply=True)
        limits = KINDS[repo.kind].capabilities
        calls = -(-2500 // limits.batch)
        looks = 0 if limits.compare_and_set else calls * (1 if limits.settle else 2)
        assert repo.writes() == calls
        ledger = 4 if KINDS[repo.kind].keeps_ledger else 0  # read and written, before the first entry and after all
        assert spent.requests <= 1 + calls + looks + ledger

        repo.clock.advance(61)
        spent = await self.spent(repo, apply=False)
        pages = -(-2500 // limits.page)
        tells_enough = limits.values_in_listing or limits.marks == "store" or KINDS[repo.kind].lists_sizes
        assert spent.requests == pages + (0 if tells_enough else -(-2500 // limits.read_batch))

        repo.server.calls.clear()
        repo.want(self.MANY | {"k0007": "changed"})
        assert is_clean(await repo.apply())
        assert repo.writes() == 1

    @staticmethod
    async def spent(repo: MemoryRepository, *, apply: bool) -> Traffic:
        async with repo.open() as workspace:
            plan = await workspace.plan()
            if apply:
                assert is_clean(await workspace.apply(plan, command="test"))
            return workspace.stores["main"].traffic


def test_the_embedded_store_is_asked_once_when_nothing_changed(tmp_path: Path) -> None:
    """A pass over an unchanged SQLite store reads no row."""
    repository = Repository(tmp_path)
    repository.want("".join(f"  k{number}: {number}\n" for number in range(300)))
    repository.run("apply", "--yes", code=0)
    repository.run("plan", code=0)
    stats = json.loads(repository.run("plan", "-o", "json", code=0).stdout)["stats"]
    assert stats["bytes_received"] == 0
    with closing(sqlite3.connect(tmp_path / "store.db")) as connection:
        assert connection.execute("SELECT count(*) FROM entries").fetchone() == (300,)
