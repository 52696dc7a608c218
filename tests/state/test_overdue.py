"""`kvsync status` says which of its figures may be stale."""

from __future__ import annotations

import os
import time

from kvsync.model.entry import Target
from kvsync.state import DaemonRecord, StateDir
from tests.cli.conftest import Repo, repo, runner

__all__ = ["repo", "runner"]


def test_a_target_without_a_recorded_pass_is_overdue(repo: Repo) -> None:
    """A daemon whose disk is full goes on with its passes, and records none."""
    now, late, due = time.time(), Target("local", "late"), Target("local", "due")
    with StateDir.open(repo.root / ".kvsync", writable=True) as state:
        state.passes.record(late, now - 1000, next_at=now - 700)
        state.passes.record(due, now - 400, next_at=now - 100)
        assert repo.json("status")["overdue"] == []  # without a daemon, the status says that none is running
        with state.lock("run"):
            state.passes.set_daemon(DaemonRecord(os.getpid(), 1.0, 1.0, "apply", "1", ready=True))
            [overdue] = repo.json("status")["overdue"]
            lines = " ".join(repo.run("status").stdout.split())
    assert (overdue["store"], overdue["namespace"]) == ("local", "late")
    since = f"no recorded pass since it was due (local/late at {overdue['due_at']})"
    assert f"overdue: 1 target has {since}, so the figures may be stale: " in lines
