"""Hostile keys, values, labels, file names, entries of others and arguments, through every command, end to end."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from kvsync.app.dump.yaml_text import flow
from kvsync.util.escaping import escape_text, quote_text
from tests.cli.conftest import CONFIGURATION, Repo
from tests.support.hostile_text import HOSTILE, MARK, is_harmless

UNICODE = [text for text in HOSTILE if len(text) < 200 and not re.search("^[.]{0,2}$|[\0\ud800-\udfff]", text)]
"""What a state file may say."""

NAMES = [text for text in UNICODE if len(text) < 60 and "/" not in text]
"""What a file may be called."""

ARGUMENTS = [f"a\n\x1b[31m{MARK}", f"::error::\u202e{MARK}", f"{MARK}\udcff ##[error]"]
FIRST_OF_ARGUMENTS = [ARGUMENTS[0], *(pytest.param(one, marks=pytest.mark.system) for one in ARGUMENTS[1:])]
"""`tests/util/test_escaping.py` tries all of them without a command."""

COMMANDS = [
    "validate", "validate -o json", "validate -o sarif", "validate -o github", "validate -o gitlab", "plan", "plan --full",
    "plan -o json", "plan -o markdown", "plan --out saved.json", "--color always plan", "drift", "drift -o json",
    "drift -o markdown", "apply --yes", "apply --yes -o json", "--log-level debug apply --yes", "apply saved.json",
    "apply saved.json --exact", "adopt --yes", "run --once", "--log-format json run --once", "status", "status -o json",
    "history", "history -o json", "history RUN", "history RUN -o json", "explain KEY", "explain KEY -o json", "doctor",
    "doctor -o json", "dump local --to dumped --force", "undo RUN --yes", "undo RUN --yes -o json",
    "undo RUN -o markdown --yes",
    "stores", "pause local --reason KEY", "status", "plan", "resume local", "pause KEY", "resume KEY", "approve KEY",
    "explain KEY --label KEY", "plan --target KEY", "plan --key KEY", "apply KEY", "history KEY", "undo KEY --yes",
    "dump KEY --to KEY", "init KEY", "schema KEY", "KEY", "-c KEY plan", "--env KEY plan", "emulate KEY",
]  # fmt: skip


@pytest.fixture
def hostile(repo: Repo) -> Repo:
    """A repository in which everything that authors and other programs name is hostile."""
    guard = "guard: {max_deletes: 3, min_existing: 1, max_delete_pct: 100}"
    repo.write(
        "kvsync.yaml", CONFIGURATION.replace("  prune: owned\n", f"  prune: owned\n  adopt: if-equal\n  {guard}\n")
    )
    keys = {
        key: {"value": key, "labels": {key: key}, "tags": {key: key}, "content_type": key, "metadata": {key: key}}
        for key in UNICODE
    }
    documents = [{"store": "local", "namespace": "web", "keys": keys}]
    documents += [{"store": "local", "namespace": name, "keys": {"a": name}} for name in UNICODE]
    repo.write("state/web.yaml", "\n---\n".join(map(flow, documents)))
    repo.write("state/files.yaml", "store: local\nnamespace: files\nfiles: [{path: ../assets, glob: '**/*'}]\n")
    for name in NAMES:
        _file(repo.root / "assets", name)
    return repo


def _file(folder: Path, name: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("")


def shown(repo: Repo, commands: list[str], evil: str) -> list[tuple[str, str, str]]:
    """What commands answer and log, with something hostile in the place of KEY."""
    found = []
    for command in commands:
        words = command.split()
        if "RUN" in words:
            runs = json.loads(repo.run("history", "-o", "json").stdout)["runs"]
            words = [runs[0]["run"] if runs and word == "RUN" else word for word in words]
        words = [evil if word == "KEY" else word for word in words]
        done = repo.run(*words, code=None)
        found.append((command, done.stdout, done.stderr))
    return found


def wrongs(command: str, out: str, log: str, given: str = "") -> list[str]:
    """Lines that are not what kvsync writes. A message may begin with what was `given`, as its place."""
    lines = re.sub(r"\x1b\[[0-9;]*m", "", out).split("\n") if "--color" in command else out.split("\n")
    if "-o github" in command:
        lines = [line.removeprefix("::") for line in lines]
    if "-o json" in command or "sarif" in command or "gitlab" in command:
        assert out == "" or json.dumps(json.loads(out), ensure_ascii=False).encode()
        assert out.count("\n") <= 1
    logged = log.split("\n")
    if "--log-format json" in command:
        assert all(json.loads(line) for line in logged if line)
    forged = [
        line for line in (*lines, *logged) if line.lstrip("'\" ").startswith(MARK) and not line.startswith("      ")
    ]
    place = f"{escape_text(given)}: "
    forged = [line for line in forged if not (given and line.startswith(place))]
    return forged + [line for line in (*lines, *logged) if not is_harmless(line)]


@pytest.mark.timeout(600)
def test_nothing_that_authors_write_gets_out(hostile: Repo) -> None:
    """Whatever authors name and write, every command answers in its own lines, and in its own documents."""
    for command, out, log in shown(hostile, COMMANDS[:36], f"a\n{MARK} line"):
        assert wrongs(command, out, log) == [], command


@pytest.mark.timeout(600)
def test_nothing_that_others_store_gets_out(repo: Repo) -> None:
    """What other programs leave in a store, under hostile keys and owners, is shown as harmlessly as what is ours."""
    repo.run("apply", "--yes")
    rows = [(key, key.encode(), owner) for key in UNICODE for owner in (None, key)]
    with closing(sqlite3.connect(repo.root / ".kvsync/store.db")) as database, database:
        columns = "namespace, key, value, owner, fingerprint"
        database.executemany(
            f"INSERT INTO entries ({columns}) VALUES ('web', ?1 || coalesce(?3, '!'), ?2, ?3, x'00')", rows
        )
    asked = "".join(f"  {quote_text(key + more)}: x\n" for key in UNICODE for more in ("!", key))
    repo.write("state/web.yaml", f"store: local\nnamespace: web\nkeys:\n{asked}")
    for command, out, log in shown(repo, COMMANDS[5:36], f"a\r::error::{MARK}"):
        assert wrongs(command, out, log) == [], command


@pytest.mark.timeout(600)
@pytest.mark.parametrize("evil", FIRST_OF_ARGUMENTS)
def test_no_argument_gets_out(repo: Repo, evil: str) -> None:
    """What a script passes on as an argument is quoted in answers and errors."""
    repo.run("apply", "--yes")
    for command, out, log in shown(repo, COMMANDS[36:], evil):
        assert wrongs(command, out, log, evil) == [], command


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", FIRST_OF_ARGUMENTS)
def test_no_broken_file_gets_out(repo: Repo, name: str) -> None:
    """The name of a state file, and what is wrong in it, forge nothing, in any form of the answer."""
    _file(repo.root / "state", f"{name}.yaml")
    for number, key in enumerate(map(quote_text, UNICODE)):
        broken = f"store: {key}\nnamespace: {key}\nkeys: {{{key}: null}}\n{key}: 1\n"
        repo.write(f"state/broken{number}.yaml", broken)
    for command, out, log in shown(repo, COMMANDS[:20], "x"):
        assert wrongs(command, out, log, f"state/{name}.yaml") == [], command
