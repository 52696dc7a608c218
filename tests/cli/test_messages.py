"""What people read when something is wrong, word for word."""

from __future__ import annotations

import json
import re
import signal

from tests.cli.conftest import CONFIGURATION, WEB, Repo
from tests.cli.runner import ROOT


def test_every_problem_has_its_line(repo: Repo) -> None:
    """All problems at once, each with file, line, column and what to do, and how many there are."""
    repo.write("state/web.yaml", WEB + "  limits: 2\n  nothing:\n  theme: {valeu: light}\n")
    assert repo.run("plan", code=78).stderr == (
        'state/web.yaml:7:3: duplicate key "limits", first written at 6:3 [KV1106]\n'
        'state/web.yaml:8:11: keys.nothing: a value must not be null (for an empty value, write "") [KV1101]\n'
        'state/web.yaml:9:10: keys.theme: unknown field "valeu" (to store data, write {json: …}; did you mean "value"?)'
        " [KV1104]\n"
        "3 problems\n"
    )


def test_a_wrong_configuration_says_where(repo: Repo) -> None:
    """The configuration's problems have places and suggestions too."""
    repo.write("kvsync.yaml", CONFIGURATION.replace("prune: owned", "prune: own").replace("owner:", "ownr:"))
    text = repo.run("plan", code=78).stderr
    assert "kvsync.yaml:2:1: " in text
    assert 'did you mean "owner"?' in text
    assert "kvsync.yaml:6:10: " in text


def test_short_errors_are_one_line(repo: Repo) -> None:
    """What is wrong, and what to do, without a traceback."""
    assert repo.run("plan", "--target", "lokal", code=64).stderr == (
        "kvsync: unknown target 'lokal'; the files define local/web [KV1001]\n"
    )
    assert repo.run("apply", code=4).stderr == (
        "kvsync: apply needs confirmation, and there is no terminal to ask on; use --yes to skip the question [KV5102]\n"
    )
    assert repo.run("plann", code=64).stderr == (
        "kvsync: unknown command 'plann'; did you mean 'plan'? [KV1001]\nTry 'kvsync --help'.\n"
    )
    assert repo.run("undo", "x", "--yes", code=64).stderr == (
        "kvsync: unknown run 'x'; run `kvsync history` to list the runs [KV1001]\n"
    )
    (repo.root / "kvsync.yaml").unlink()
    assert repo.run("plan", code=78).stderr == (
        "kvsync.yaml: no such configuration file (create one with kvsync init, or pass its path with -c) [KV1102]\n1 problem\n"
    )


def test_a_key_that_nothing_has_is_said(applied: Repo) -> None:
    """A misspelt key is not passed over as "nothing to do"; one that a file names, or that only the store has, is right."""
    said = "--key 'titel' matches no key; check its spelling\n"
    for command in (("plan",), ("drift",), ("apply", "--yes"), ("release", "local/web", "--yes")):
        assert applied.run(*command, "--key", "titel").stderr == said
    assert applied.run("plan", "--key", "titel", "--key", "gree*").stderr == said
    applied.write("state/web.yaml", "store: local\nnamespace: web\nkeys: {}\n")
    assert applied.run("plan", "--key", "greeting", code=4).stderr == ""


def test_a_bug_is_one_line_and_a_traceback_only_for_those_who_ask(repo: Repo) -> None:
    """An unexpected exception says that it is a bug, and shows where with --log-level debug alone."""
    repo.write(
        "sitecustomize.py", "import kvsync.cli.open as o\ndef load(_):\n    raise KeyError('oops')\no.load = load\n"
    )
    path = {"PYTHONPATH": f"{repo.root}:{ROOT}"}
    process = repo.start("plan", "-o", "json", env=path)
    out, err = process.communicate(timeout=60)
    assert (
        err
        == "kvsync: unexpected error: KeyError: 'oops'. This is a bug in kvsync; --log-level debug shows where [KV9001]\n"
    )
    assert (json.loads(out)["error"]["kind"], json.loads(out)["error"]["code"]) == ("unexpected", "KV9001")
    process = repo.start("--log-level", "debug", "plan", env=path)
    assert "Traceback" in process.communicate(timeout=60)[1]
    assert process.returncode == 1


def test_a_guard_says_what_to_do(applied: Repo) -> None:
    """A parked target tells why, and the command that releases it."""
    applied.write("state/web.yaml", "store: local\nnamespace: web\nkeys: {}\n")
    text = applied.run("apply", "--yes", code=4).stdout
    assert "parked: would delete 3 entries because the files ask for none (an empty target)" in text
    assert "approve with: kvsync approve " in text


def test_an_approved_plan_says_that_it_is(applied: Repo) -> None:
    """Once approved, a plan is no longer called parked, and nobody is told to approve it again; in JSON it is marked."""
    applied.write("state/web.yaml", "store: local\nnamespace: web\nkeys: {}\n")
    (target,) = applied.json("plan", code=4)["targets"]
    assert target["approved"] is False
    applied.run("approve", target["digest"])
    for form in ("text", "markdown"):
        shown = applied.run("plan", "-o", form).stdout
        assert "approved:" in shown
        assert "parked" not in shown
        assert "approve with" not in shown
    (target,) = applied.json("plan")["targets"]
    assert target["approved"] is True
    assert target["parked"]
    shown = applied.run("apply", "--yes").stdout
    assert "1 target approved" in shown
    assert "parked" not in shown


def test_nothing_is_claimed_of_what_was_not_compared(applied: Repo) -> None:
    """Where the store or a file is broken, `drift` does not say that there is none, and counts the targets it did not see;
    `status` does not say that there is nothing to do."""
    applied.write("state/shop.yaml", "store: local\nnamespace: shop\nkeys: {a: 1, a: 2}\n")
    shown = applied.run("drift", code=78).stdout
    assert "local/shop (sqlite): not compared" in shown
    assert shown.endswith("\nDrift: none; 1 target not compared.\n")
    (applied.root / "state/shop.yaml").unlink()
    (applied.root / ".kvsync/store.db").write_bytes(b"no database" * 500)
    shown = applied.run("drift", code=1).stdout
    assert "local/web (sqlite): not compared" in shown
    assert shown.endswith("\nDrift: not known; 1 target not compared.\n")
    applied.run("run", "--once", code=1)
    assert re.search(r"^failing +local/web +never +unknown$", applied.run("status").stdout, re.MULTILINE)


def test_the_daemon_logs_and_ends_in_good_order(repo: Repo) -> None:
    """`run` writes its log to stderr and nothing to stdout, picks a change up, and ends with 0 on SIGINT."""
    daemon = repo.start("--log-format", "json", "run")
    assert daemon.stderr is not None
    next(line for line in daemon.stderr if '"daemon.ready"' in line)
    repo.write("state/web.yaml", WEB.replace("Hello", "Hi"))
    line = next(line for line in daemon.stderr if '"change.applied"' in line)
    assert '"key": "greeting"' in line
    daemon.send_signal(signal.SIGINT)
    out, _ = daemon.communicate(timeout=60)
    assert (daemon.returncode, out) == (0, "")
    assert repo.held()["greeting"] == "Hi"
