"""No sensitive value, and no credential, in anything that any command prints, writes or keeps."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from urllib.parse import quote

import pytest

from kvsync.util.redaction import REDACTOR
from tests.cli.conftest import Repo

SECRETS = {"API_TOKEN": "s3cr3t/tok en+1", "OTHER": 'quote"back\\slash-42'}
WRITTEN = "in-the-file-9f2b"
MARKED = "file-content-77aa"

STATE = f"""\
store: local
namespace: web
keys:
  greeting: Hello
  token: {{env: API_TOKEN}}
  other: {{env: OTHER, ttl: 1h}}
  written: {{value: {WRITTEN}, sensitive: true, labels: {{prod: {WRITTEN}-prod}}}}
  marked: {{file: ../secret.txt, sensitive: true}}
"""

COMMANDS = [
    "validate", "plan", "plan -o json", "plan -o markdown", "plan --full --deep", "plan --out plan.json",
    "plan --json-into a.json --markdown-into a.md", "drift", "drift -o json", "drift -o markdown", "apply --yes",
    "apply --yes -o json", "apply plan.json", "apply --yes -o markdown", "run --once", "--log-format json run --once",
    "--log-level debug run --once --observe", "status", "status -o json", "history", "history -o json", "explain token",
    "explain written -o json", "explain marked", "adopt --yes", "doctor", "doctor -o json", "dump local --to dumped --force",
    "undo RUN --yes", "undo RUN --yes -o json", "history RUN", "history RUN -o json", "plan --target nowhere",
]  # fmt: skip


SHORT = [
    "validate", "plan --full --deep", "plan -o json", "plan -o markdown", "plan --out plan.json", "apply --yes",
    "--log-level debug run --once --observe", "--log-format json run --once", "status -o json", "doctor -o json",
    "history RUN -o json",
]  # fmt: skip
"""What reads, writes and logs in ways of its own; all commands are tried where all of them do something."""


def forms() -> list[str]:
    """Every text under which a secret might show."""
    found = []
    for secret in (*SECRETS.values(), WRITTEN, MARKED):
        encoded = base64.b64encode(secret.encode()).decode().rstrip("=")[:-1]
        found += [secret, json.dumps(secret)[1:-1], quote(secret, safe=""), encoded, secret.encode().hex()]
    return found


def leaks(text: str) -> list[str]:
    return [form for form in forms() if form in text]


def run_all(repo: Repo, commands: list[str]) -> str:
    """What commands print, one after the other."""
    printed = ""
    for command in commands:
        if "RUN" in command:
            runs = repo.json("history", env=SECRETS)["runs"]
            command = command.replace("RUN", runs[-1]["run"] if runs else "none")
        done = repo.run(*command.split(), env=SECRETS, code=None)
        printed += f"$ {command}\n{done.stdout}{done.stderr}"
    return printed


@pytest.mark.parametrize(
    ("situation", "commands"),
    [
        ("new", SHORT),
        ("drifted", COMMANDS),
        ("broken", SHORT),
        pytest.param("new", COMMANDS, marks=pytest.mark.system),
        pytest.param("broken", COMMANDS, marks=pytest.mark.system),
    ],
    ids=["new", "drifted", "broken", "new, all commands", "broken, all commands"],
)
def test_no_command_shows_a_secret(repo: Repo, situation: str, commands: list[str]) -> None:
    """Whatever a command does with sensitive entries, in whatever form it answers, it shows and keeps none of their values."""
    repo.write("secret.txt", MARKED)
    repo.write("state/web.yaml", STATE)
    if situation != "new":
        repo.run("apply", "--yes", env=SECRETS)
        repo.drift("token", SECRETS["OTHER"])
        repo.drift("written", f"{WRITTEN} changed by hand")
    if situation == "broken":
        repo.write("state/web.yaml", STATE + f"  wrong: {{value: {WRITTEN}, ttl: [{WRITTEN}]}}\n")
    assert leaks(run_all(repo, commands)) == []
    kept = [
        file for file in repo.root.rglob("*") if file.is_file() and "state" not in file.parts and not _is_store(file)
    ]
    assert any(file.name == "state.db" for file in kept)
    for file in kept:
        if file.name not in ("secret.txt", "kvsync.yaml"):
            assert leaks(file.read_bytes().decode("latin-1")) == [], file


def _is_store(file: Path) -> bool:
    return file.name.startswith("store.db")


def test_a_secret_does_not_hide_what_programs_need() -> None:
    """Names, hashes and numbers stay as they are, even when a secret happens to be part of them; sentences are cleaned."""
    REDACTOR.register("abcd-1234")
    document = {
        "key": "abcd-1234",
        "digest": "sha256:" + "abcd" * 16,
        "size": 1234,
        "error": "the store said: abcd-1234 is wrong",
        "reasons": ["abcd-1234"],
    }
    assert REDACTOR.clean(document) == document | {"error": "the store said: *** is wrong", "reasons": ["***"]}


WEAK = ("payment_", "local/payment_x", "to create", '"action": "create"', "kvsync plan", "| create |", "state/pay.yaml")


def test_a_sensitive_value_hides_nothing_of_others(repo: Repo) -> None:
    """What an author calls sensitive takes no name of others, and no word of kvsync's, out of any form of a plan, and validate
    warns of it."""
    repo.write("state/pay.yaml", "store: local\nnamespace: payment_x\nkeys: {price: 1}\n")
    forms = ("text", "json", "markdown")
    plain = [repo.run("plan", "--target", "local/payment_x", "-o", form).stdout for form in forms]
    keys = "".join(f"  s{number}: {{value: {json.dumps(one)}, sensitive: true}}\n" for number, one in enumerate(WEAK))
    repo.write("state/web.yaml", f"store: local\nnamespace: web\nkeys:\n{keys}")
    warned = repo.json("validate")["warnings"]
    assert [one["line"] for one in warned] == list(range(4, 4 + len(WEAK)))
    assert all("too weak to be recognised in text" in one["message"] for one in warned)
    for form, before in zip(forms, plain, strict=True):
        after = repo.run("plan", "--target", "local/payment_x", "-o", form).stdout
        assert "***" not in after + repo.run("plan", "-o", form).stdout
        assert form == "json" or after == before
