"""Deletes that wait for `run.max_deletes_per_hour` are seen: in the plan, the answer, the exit code, the log and the status."""

from __future__ import annotations

import json

import pytest

from tests.cli.conftest import CONFIGURATION, Repo

LIMIT = "run: {max_deletes_per_hour: 2}\n"


@pytest.fixture
def waiting(repo: Repo) -> Repo:
    """A repository of which two entries were deleted just now, and a third waits."""
    repo.write("kvsync.yaml", CONFIGURATION + LIMIT)
    repo.write("state/web.yaml", "store: local\nnamespace: web\nkeys: {a: 1, b: 1, c: 1, d: 1}\n")
    repo.run("apply", "--yes")
    repo.write("state/web.yaml", "store: local\nnamespace: web\nkeys: {d: 2}\n")
    plan = repo.run("plan").stdout
    assert "waiting: 1 of 3 deletes waits: run.max_deletes_per_hour is 2" in plan
    done = repo.run("apply", "--yes", code=4)
    assert "not attempted  waits: run.max_deletes_per_hour is 2; the next one is allowed at 20" in done.stdout
    assert repo.held() == {"c": "1", "d": "2"}
    return repo


def test_one_shot_commands_share_the_hour(waiting: Repo) -> None:
    """Another run deletes no more: the plan says until when, apply and `run --once` end with 4, and the log says so."""
    assert (
        "waiting: 1 delete waits: run.max_deletes_per_hour is 2; the next one is allowed at 20"
        in waiting.run("plan").stdout
    )
    (target,) = waiting.json("plan")["targets"]
    assert len(target["waiting"]) == 1
    assert "**waiting:**" in waiting.run("plan", "-o", "markdown").stdout
    waiting.run("apply", "--yes", code=4)
    done = waiting.run("--log-format", "json", "--log-level", "info", "run", "--once", code=4)
    events = [json.loads(line) for line in done.stderr.splitlines()]
    (event,) = [one for one in events if one["event"] == "deletes.waiting"]
    assert (event["store"], event["namespace"], event["count"]) == ("local", "web", 1)
    assert event["until"] > 0
    assert waiting.held() == {"c": "1", "d": "2"}


def test_the_status_says_how_many_were_deleted(waiting: Repo) -> None:
    """`status` has the deletes of the last hour, the limit, and when more may follow; with room left the text says nothing."""
    deletes = waiting.json("status")["deletes"]
    assert (deletes["last_hour"], deletes["limit"]) == (2, 2)
    text = waiting.run("status").stdout
    assert (
        f"deletes: 2 in the last hour, the limit of run.max_deletes_per_hour; the next one is allowed at {deletes['free_at']}"
        in text
    )
    waiting.write("kvsync.yaml", CONFIGURATION)
    assert "deletes:" not in waiting.run("status").stdout
    waiting.run("apply", "--yes")
    assert waiting.held() == {"d": "2"}
