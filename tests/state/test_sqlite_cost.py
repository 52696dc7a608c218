"""What a state directory costs a pass and a command: counted, because time depends on the machine."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from typing import Any

import pytest

from kvsync.model.entry import Identity
from kvsync.planning.sealing import SealingKeys, sealing_keys
from kvsync.state import StateDir
from tests.cli.conftest import Repo, environment, repo, runner
from tests.state.examples import WEB, WEB_AT, update

__all__ = ["repo", "runner"]

_LOOKS = 4
"""Looks at the database and its log for each transaction: before it, that nothing was lost, and after it."""


class Counted:
    """Counts the statements of a state directory and the looks at its files."""

    def __init__(self, state: StateDir, monkeypatch: pytest.MonkeyPatch) -> None:
        self.statements: list[str] = []
        self.looks = self.opened = 0
        look, connect = os.stat, sqlite3.connect

        def counted(path: object, *arguments: object, **options: object) -> os.stat_result:
            self.looks += "state.db" in str(path)
            return look(path, *arguments, **options)  # type: ignore[arg-type]

        def connected(*arguments: object, **options: object) -> sqlite3.Connection:
            self.opened += 1
            return connect(*arguments, **options)  # type: ignore[call-overload,no-any-return]

        state.database._connection.set_trace_callback(self.statements.append)  # type: ignore[attr-defined]
        monkeypatch.setattr(os, "stat", counted)
        monkeypatch.setattr(sqlite3, "connect", connected)

    def begun(self) -> int:
        return sum(statement.startswith("BEGIN") for statement in self.statements)


def test_a_pass_with_nothing_to_do_costs_one_transaction(directory: StateDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its result is counted and recorded; no file is opened, and only the database and its log are looked at."""
    directory.passes.record(WEB, 1.0)
    counted = Counted(directory, monkeypatch)
    directory.passes.record(WEB, 2.0)
    assert (counted.begun(), counted.looks, counted.opened) == (1, _LOOKS, 0)
    assert len(counted.statements) == 6, counted.statements


def test_a_hundred_changes_cost_as_many_looks_as_one(directory: StateDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loss is looked for by transaction, not by entry."""
    directory.passes.record(WEB, 1.0)
    run = directory.journal.begin("run")
    counted = Counted(directory, monkeypatch)
    run.intend(WEB_AT, [update(Identity(f"key-{number}"), "before", "after") for number in range(100)])
    assert (counted.begun(), counted.looks, counted.opened) == (1, _LOOKS, 0)


def test_a_hundred_changes_derive_keys_once(directory: StateDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """The keys that seal at a place are derived for the batch, not for each change."""
    directory.use_owner_keys((b"k" * 32,))
    run, derived = directory.journal.begin("run"), []

    def counted(*given: Any) -> SealingKeys:
        derived.append(given)
        return sealing_keys(*given)

    monkeypatch.setattr("kvsync.state.directory.sealing_keys", counted)
    run.intend(WEB_AT, [update(Identity(f"key-{number}"), "before", "after") for number in range(100)])
    assert len(derived) == 1


def test_reading_costs_no_look(directory: StateDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read was there a moment ago; what is written is looked for."""
    counted = Counted(directory, monkeypatch)
    directory.pauses.all()
    directory.passes.all()
    assert (counted.looks, len(counted.statements)) == (0, 2)


def test_a_command_on_a_directory_imports_nothing_of_a_shared_state(repo: Repo) -> None:
    """Claims, the schema of PostgreSQL, and what copies from one engine to the other."""
    command = [sys.executable, "-X", "importtime", "-m", "kvsync", "plan"]
    done = subprocess.run(command, cwd=repo.root, env=environment({}), capture_output=True, text=True, check=True)
    loaded = [line.rpartition("|")[2].strip() for line in done.stderr.splitlines()]
    assert "kvsync.state.sqlite_database" in loaded
    shared = ("kvsync.state.postgres", "kvsync.state.claim", "kvsync.state.budgets", "kvsync.state.copying", "psycopg")
    assert [name for name in loaded if name.startswith(shared)] == []
