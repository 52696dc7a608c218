"""A repository with an SQLite store, and the real command in a process of its own."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.cli.runner import ROOT, Runner, shared_runner

CONFIGURATION = """\
version: 1
owner: tester
stores:
  local: {type: sqlite, path: .kvsync/store.db}
policy:
  prune: owned
authors:
  env: [API_TOKEN, OTHER, TOKEN, CODE]
"""

WEB = """\
store: local
namespace: web
keys:
  greeting: Hello
  timeout: 30
  limits: {json: {rps: 10}}
"""


class Repo:
    """A folder with configuration and state files."""

    def __init__(self, root: Path, runner: Runner) -> None:
        self.root, self._runner = root, runner
        self.write("kvsync.yaml", CONFIGURATION)
        self.write("state/web.yaml", WEB)

    def write(self, name: str, text: str) -> Path:
        """Write a file of the repository."""
        file = self.root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return file

    def configure(self, **replacements: str) -> None:
        """Write the configuration with other words for some of its words."""
        text = CONFIGURATION
        for old, new in replacements.items():
            assert old in text
            text = text.replace(old, new)
        self.write("kvsync.yaml", text)

    def start(self, *arguments: str, env: Mapping[str, str] | None = None, **options: Any) -> subprocess.Popen[str]:
        """Start the real command, as a person does."""
        command = [sys.executable, "-m", "kvsync", *arguments]
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        return subprocess.Popen(command, cwd=self.root, env=environment(env), text=True, **(pipes | options))

    def run(
        self, *arguments: str, env: Mapping[str, str] | None = None, code: int | None = 0
    ) -> subprocess.CompletedProcess[str]:
        """Run the real command to its end, with nobody to ask; checks its exit code unless `code` is None."""
        found, out, err = self._runner.run(arguments, self.root, environment(env))
        assert code is None or found == code, f"exit code {found}\n{out}\n{err}"
        assert "Traceback" not in err, err
        return subprocess.CompletedProcess(arguments, found, out, err)

    def json(self, *arguments: str, env: Mapping[str, str] | None = None, code: int | None = 0) -> Any:
        """The one JSON document that a command answers with."""
        return json.loads(self.run(*arguments, "-o", "json", env=env, code=code).stdout)

    def sql(self, statement: str, *parameters: object) -> list[Any]:
        """Read or change the store the way a person with a database shell does."""
        with closing(sqlite3.connect(self.root / ".kvsync/store.db", timeout=30)) as database, database:
            return database.execute(statement, parameters).fetchall()

    def held(self, namespace: str = "web") -> dict[str, str]:
        """What the store holds, as text."""
        if not (self.root / ".kvsync/store.db").exists():
            return {}
        rows = self.sql("SELECT key, CAST(value AS TEXT) FROM entries WHERE namespace = ?", namespace)
        return dict(rows)

    def drift(self, key: str = "greeting", value: str = "Hacked") -> None:
        """Change an entry by hand."""
        self.sql("UPDATE entries SET value = CAST(? AS BLOB) WHERE key = ?", value, key)

    def insert(self, key: str, value: str) -> None:
        """Add an entry by hand, which nobody owns."""
        self.sql("INSERT INTO entries (namespace, key, value) VALUES ('web', ?, CAST(? AS BLOB))", key, value)


def environment(extra: Mapping[str, str] | None) -> dict[str, str]:
    """The environment of a person who has set nothing of ours but `extra`."""
    left = {key: value for key, value in os.environ.items() if not key.startswith("KVSYNC_")}
    left.pop("FORCE_COLOR", None)
    return left | {"PYTHONPATH": str(ROOT), "COLUMNS": "100"} | dict(extra or {})


@pytest.fixture(scope="session")
def runner() -> Runner:
    """What runs the real command."""
    return shared_runner()


@pytest.fixture
def repo(tmp_path: Path, runner: Runner) -> Repo:
    """A repository nothing was applied of yet."""
    return Repo(tmp_path, runner)


@pytest.fixture
def applied(repo: Repo) -> Repo:
    """A repository whose files were applied."""
    repo.run("apply", "--yes")
    return repo
