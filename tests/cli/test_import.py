"""Moving in: from a store that holds entries to files that equal it, with its entries owned."""

from __future__ import annotations

import re
from io import StringIO
from pathlib import Path

import pytest

from kvsync.app.importing import NewStore
from kvsync.app.survey import FormatCandidate, Survey
from kvsync.cli.import_questions import ImportRequest, choose
from kvsync.cli.import_result import ImportResult
from tests.cli.conftest import Repo
from tests.cli.runner import Runner

NEW = ("import", "local", "--type", "sqlite", "--set", "path=.kvsync/store.db")


@pytest.fixture
def inhabited(tmp_path: Path, runner: Runner) -> Repo:
    """A folder with a store that someone else has filled, and with no configuration."""
    repo = Repo(tmp_path, runner)
    repo.run("apply", "--yes", "--key", "none")  # makes the file of the store
    for namespace, key, value in (
        ("web", "a", "one"),
        ("web", "b/c", '{"x": 1}'),
        ("shop", "d", ""),
        ("shop", "e", "x\r\ny"),
    ):
        repo.sql("INSERT INTO entries (namespace, key, value) VALUES (?, ?, CAST(? AS BLOB))", namespace, key, value)
    repo.sql("INSERT INTO entries (namespace, key, value, owner) VALUES ('web', 'theirs', x'00', 'others')")
    for name in ("kvsync.yaml", "state/web.yaml"):
        (repo.root / name).unlink()
    return repo


def contents(repo: Repo) -> list[tuple[object, ...]]:
    """What the store holds, without marks."""
    return repo.sql("SELECT namespace, key, label, value, content_type, tags, expires_at FROM entries ORDER BY 1, 2")


def test_a_store_moves_in_without_a_configuration(inhabited: Repo) -> None:
    """One command writes configuration and files and takes ownership; no value changes, and the plan is empty."""
    before = contents(inhabited)
    preview = inhabited.json(*NEW, "--owner", "team", "--dry-run")
    assert (preview["namespaces"], preview["entries"], preview["dry_run"]) == (["shop", "web"], 4, True)
    assert list(inhabited.root.rglob("*.yaml")) == []
    assert inhabited.run(*NEW, code=4).stdout == ""
    done = inhabited.json(*NEW, "--owner", "team", "--yes")
    assert (done["entries"], done["adopted"], done["pending"], done["left_out"]) == (4, 4, {}, [])
    assert done["files"] == ["state/shop.yaml", "state/web.yaml"]
    assert contents(inhabited) == before
    assert dict(inhabited.sql("SELECT key, owner FROM entries")) == dict.fromkeys(("a", "b/c", "d", "e"), "team") | {
        "theirs": "others"
    }
    assert "Nothing to do: 4 unchanged" in inhabited.run("plan").stdout
    assert ".kvsync/" in (inhabited.root / ".gitignore").read_text().split()


def test_a_store_joins_a_configuration(repo: Repo) -> None:
    """The lines of a new store are added, and everything else of the file stays as it was written."""
    repo.run("apply", "--yes")
    before = (repo.root / "kvsync.yaml").read_text()
    done = repo.json("import", "second", "--type", "sqlite", "--set", "path=other.db", "--yes")
    assert (done["entries"], done["configuration"]) == (0, "kvsync.yaml")
    lines = "  second:\n    type: sqlite\n    path: other.db\n"
    assert (repo.root / "kvsync.yaml").read_text() == before.replace("stores:\n", f"stores:\n{lines}")


@pytest.mark.parametrize("written", ["token=env:TOKEN", "token={env: TOKEN}"])
def test_a_secret_is_referred_to_as_in_the_file(written: str) -> None:
    """Both spellings of a reference are taken: the short one, and the one that messages about secrets name."""
    assert "    token: {env: TOKEN}\n" in NewStore("edge", "apify", (written,)).lines()


def test_an_import_that_was_stopped_goes_on(inhabited: Repo) -> None:
    """What is in the files already is not written again, and taken all the same; an entry that is gone is not created."""
    before = contents(inhabited)
    inhabited.run(*NEW, "--namespace", "web", "--yes")
    inhabited.sql("UPDATE entries SET owner = NULL, mark_fingerprint = NULL WHERE key = 'a'")
    inhabited.run("dump", "local/shop", "--to", "state")  # as if it had been killed after the files were written
    done = inhabited.run("import", "local", "--yes")
    assert "local/shop: the files name it already" in done.stderr
    assert done.stdout.splitlines()[-1] == "the plan is empty: files and store are equal"
    inhabited.sql("DELETE FROM entries WHERE key = 'd'")
    left = inhabited.json("import", "local", "--yes", code=2)
    assert (left["adopted"], left["pending"], contents(inhabited)) == (
        0,
        {"create": 1},
        [one for one in before if one[1] != "d"],
    )


def test_what_cannot_be_taken_is_listed(inhabited: Repo) -> None:
    """An entry that no file can hold is named with the reason, and the exit code says so."""
    inhabited.sql("INSERT INTO entries (namespace, key, value) VALUES ('web', '', x'00')")
    done = inhabited.json(*NEW, "--yes", code=3)
    assert [(one["namespace"], one["key"]) for one in done["left_out"]] == [("web", "")]
    assert done["adopted"] == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("import", "local", "--yes"), "there is no configuration yet; use --type"),
        (("import", "local", "--type", "sqlite", "--set", "path", "--yes"), "--set path: expected NAME=VALUE"),
        (("import", "local", "--type", "sqlit", "--yes"), "sqlit"),
    ],
)
def test_wrong_arguments_are_errors(inhabited: Repo, arguments: tuple[str, ...], message: str) -> None:
    """Each says what to give instead, and nothing is left behind."""
    done = inhabited.run(*arguments, code=None)
    assert done.returncode in (64, 78)
    assert message in done.stderr
    assert not list(inhabited.root.glob("*.yaml")) + list(inhabited.root.glob(".*.yaml"))


def test_errors_of_a_new_store_name_the_configuration_that_would_be_written(repo: Repo) -> None:
    """They name lines of `kvsync.yaml` with the store in it, and the options to correct, never a value of `--set`; errors of
    the present configuration name its own lines."""
    wrong = repo.run("import", "more", "--type", "cloudflare-kv", "--set", "tokn=canary", "--yes", code=78).stderr
    assert re.search(r'^kvsync\.yaml:\d+:\d+: stores\.more: unknown field "tokn"', wrong, re.MULTILINE)
    assert "kvsync.yaml as import would write it is invalid; correct --type, --set or --key-format" in wrong
    assert "canary" not in wrong
    (repo.root / "kvsync.yaml").write_text((repo.root / "kvsync.yaml").read_text() + "ownr: me\n")
    last = len((repo.root / "kvsync.yaml").read_text().splitlines())
    own = repo.run("import", "more", "--type", "sqlite", "--set", "path=x.db", "--yes", code=78).stderr
    assert f"kvsync.yaml:{last}:1: " in own
    assert "as import would write it" not in own
    assert sorted(one.name for one in repo.root.glob(".kvsync-*")) == []


def test_a_new_store_is_read_in_the_environment_in_force(inhabited: Repo) -> None:
    """Options of a new store may use variables that the overlay of the environment sets."""
    inhabited.write(
        "kvsync.yaml",
        "version: 1\nowner: team\nenvironments: [prod]\nstate: [state/*.yaml]\npolicy: {prune: owned}\n"
        "stores:\n  other: {type: sqlite, path: other.db}\n",
    )
    inhabited.write("kvsync.prod.yaml", "vars: {file: .kvsync/store.db}\n")
    arguments = ("--env", "prod", "import", "local", "--type", "sqlite", "--set", "path=${file}", "--dry-run")
    assert inhabited.json(*arguments)["entries"] == 4


def test_files_are_never_overwritten(inhabited: Repo) -> None:
    """A file of that name that says something else stays, and nothing is written."""
    inhabited.write("state/web.yaml", "# mine\n")
    done = inhabited.run(*NEW, "--yes", code=None)
    assert done.returncode != 0
    assert (inhabited.root / "state/web.yaml").read_text() == "# mine\n"
    assert not (inhabited.root / "kvsync.yaml").exists()


def test_a_key_format_that_cannot_be_used_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason is shown at once; the answer after it counts, and nothing typed means the proposal."""
    typed = iter(("{namespace\n", "\n", "b\n"))
    monkeypatch.setattr("kvsync.cli.import_questions.answer_to", lambda _question: next(typed))
    monkeypatch.setattr("sys.stdin", Keyboard())
    candidate = FormatCandidate("{namespace}:{key}", 3, {"a": 1, "b": 2})
    request = ImportRequest("s", "etcd", (), None, None, (), "state", yes=False, dry_run=False, output="text")
    found = choose(Survey(keys=3, candidates=(candidate,)), request, ImportResult("s", dry_run=False))
    assert found == ("{namespace}:{key}", ["b"])


class Keyboard(StringIO):
    """What a person types, as a terminal would give it."""

    def isatty(self) -> bool:
        """True, so that questions are asked."""
        return True
