"""What a run costs the databases: transactions by batch, never by entry."""

from __future__ import annotations

import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from kvsync.app import open_workspace

CONFIG = """\
version: 1
owner: us
state: [state/*.yaml]
stores: {main: {type: sqlite, path: .kvsync/store.db}}
policy: {prune: owned}
"""


async def transactions_of(folder: Path, creates: int, monkeypatch: pytest.MonkeyPatch) -> int:
    """The transactions that an apply of so many creates takes, in all databases."""
    (folder / "state").mkdir(parents=True)
    (folder / "kvsync.yaml").write_text(CONFIG)
    keys = "".join(f"  key-{number:04}: x\n" for number in range(creates))
    (folder / "state/web.yaml").write_text(f"store: main\nnamespace: web\nkeys:\n{keys}")
    statements: Counter[str] = Counter()
    connect = sqlite3.connect

    def traced(*args: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*args, **options)
        connection.set_trace_callback(lambda sql: statements.update([sql.partition(" ")[0]]))
        return connection

    with monkeypatch.context() as patched:
        patched.setattr(sqlite3, "connect", traced)
        async with open_workspace(folder / "kvsync.yaml", writing="test", environ={}) as workspace:
            report = await workspace.apply(await workspace.plan(), command="test")
    assert report.counts()["applied"] == creates
    return statements["BEGIN"]


async def test_creates_are_recorded_and_written_in_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four times as many creates in a batch take as many transactions: one for the intents, one for the writes, one for the
    outcomes, and those of the run."""
    few = await transactions_of(tmp_path / "few", 50, monkeypatch)
    many = await transactions_of(tmp_path / "many", 200, monkeypatch)
    assert 3 <= few == many
