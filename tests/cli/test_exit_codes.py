"""Every exit code of the contract, in every output mode, from the real command."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest

from kvsync.app.reconciler import WorkspaceReconciler
from kvsync.cli.exit_codes import Exit, of_plan, of_reports, worst
from kvsync.daemon.ports import PassRequest
from kvsync.model.entry import Target
from tests.cli.conftest import WEB, Repo
from tests.support.memory_repository import MemoryRepository

MODES = pytest.mark.parametrize("mode", ["text", "json", "markdown"])


@MODES
def test_done_is_0(repo: Repo, mode: str) -> None:
    """A plan with changes pending and an apply that succeeds both exit with 0."""
    repo.run("plan", "-o", mode, code=0)
    repo.run("apply", "--yes", "-o", mode, code=0)
    assert repo.held() == {"greeting": "Hello", "timeout": "30", "limits": '{"rps":10}'}


@MODES
def test_pending_changes_are_2_when_asked_for(repo: Repo, mode: str) -> None:
    """`plan --exit-code` exits with 2 while something is pending and with 0 once nothing is."""
    repo.run("plan", "--exit-code", "-o", mode, code=2)
    repo.run("apply", "--yes")
    repo.run("plan", "--exit-code", "-o", mode, code=0)


@MODES
def test_drift_is_2(applied: Repo, mode: str) -> None:
    """`drift` exits with 0 without drift and with 2 when there is some."""
    applied.run("drift", "-o", mode, code=0)
    applied.drift()
    applied.run("drift", "-o", mode, code=2)


def test_drift_that_is_only_reported_is_drift_too(applied: Repo) -> None:
    """With `policy.drift: report` the drift command still exits with 2, and apply leaves the entry alone."""
    applied.configure(**{"prune: owned": "prune: owned\n  drift: report"})
    applied.drift()
    (target,) = applied.json("drift", code=2)["targets"]
    assert [change["class"] for change in target["changes"]] == ["drifted"]
    applied.run("apply", "--yes", code=0)
    assert applied.held()["greeting"] == "Hacked"


@MODES
def test_refused_entries_are_pending_in_a_plan_and_partial_in_an_apply(repo: Repo, mode: str) -> None:
    """An entry nobody owns that differs is refused: 2 for `plan --exit-code`, 3 for `apply`, and the others are applied."""
    repo.run("plan")
    repo.write("state/web.yaml", "store: local\nnamespace: web\nkeys: {other: x}\n")
    repo.run("apply", "--yes")
    repo.insert("greeting", "not ours")
    repo.write("state/web.yaml", WEB + "  other: x\n")
    repo.run("plan", "--exit-code", "-o", mode, code=2)
    repo.run("apply", "--yes", "-o", mode, code=3)
    assert repo.held() == {"greeting": "not ours", "timeout": "30", "limits": '{"rps":10}', "other": "x"}
    repo.run("plan", "-o", mode, code=0)


@MODES
def test_nobody_to_ask_is_4(repo: Repo, mode: str) -> None:
    """Without a terminal and without --yes, apply does nothing, exits with 4, and says what to add."""
    done = repo.run("apply", "-o", mode, code=4)
    assert "--yes" in done.stderr
    assert repo.held() == {}


@MODES
def test_a_parked_target_is_4(applied: Repo, mode: str) -> None:
    """A plan that the guard holds back exits with 4, in plan and in apply, and nothing is deleted."""
    applied.write("state/web.yaml", "store: local\nnamespace: web\nkeys: {}\n")
    applied.run("plan", "-o", mode, code=4)
    applied.run("apply", "--yes", "-o", mode, code=4)
    assert len(applied.held()) == 3


def test_a_window_is_4(repo: Repo) -> None:
    """In a window that denies it nothing is applied: apply and `run --once` exit with 4 and say why, plan does not mind."""
    repo.write(
        "kvsync.yaml", (repo.root / "kvsync.yaml").read_text() + "run: {windows: [{deny: '* * * * *', for: 2h}]}\n"
    )
    repo.run("plan", code=0)
    assert "run.windows" in repo.run("apply", "--yes", code=4).stderr
    assert "window.closed" in repo.run("run", "--once", code=4).stderr
    assert repo.json("status")["daemon"] is None
    assert repo.held() == {}


def test_a_window_leaves_the_plan_in_the_answer(repo: Repo) -> None:
    """What a window keeps from being applied is reported in every form: the plan, with each change as not attempted, and
    why."""
    repo.write(
        "kvsync.yaml", (repo.root / "kvsync.yaml").read_text() + "run: {windows: [{deny: '* * * * *', for: 2h}]}\n"
    )
    document = repo.json("apply", "--yes", code=4)
    assert document["summary"]["create"] == document["summary"]["not-attempted"] == 3
    (target,) = document["targets"]
    assert len(target["changes"]) == 3
    assert all("run.windows" in outcome["error"] for outcome in target["outcomes"])
    assert document["run"] is None
    assert "3 not attempted" in repo.run("apply", "--yes", code=4).stdout


def test_a_paused_target_is_4(applied: Repo) -> None:
    """A paused target is planned and not applied, by hand as by the daemon, until it is resumed."""
    applied.drift()
    applied.run("pause", "local/web", "--reason", "migration")
    done = applied.run("apply", "--yes", code=4)
    assert "migration" in done.stdout
    applied.run("run", "--once", code=4)
    assert applied.held()["greeting"] == "Hacked"
    applied.run("resume", "local/web")
    applied.run("apply", "--yes", code=0)
    assert applied.held()["greeting"] == "Hello"


def test_a_held_lock_is_5(repo: Repo) -> None:
    """While a daemon runs, apply exits with 5 and names the process; reading commands work next to it."""
    daemon = repo.start("run")
    try:
        assert daemon.stderr is not None
        next(line for line in daemon.stderr if "daemon.ready" in line)
        done = repo.run("apply", "--yes", code=5)
        assert str(daemon.pid) in done.stderr
        assert repo.json("apply", "--yes", code=5)["error"]["kind"] == "lock-held"
        repo.run("run", "--once", code=5)
        repo.run("plan", "--exit-code", code=0)
        assert repo.json("status")["daemon"]["running"] is True
        repo.run("status", "--check", code=0)
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.communicate(timeout=60)
    assert daemon.returncode == 0
    assert "no daemon is running" in repo.run("status").stdout


def test_without_a_daemon_the_check_of_status_is_1(repo: Repo) -> None:
    """`status --check` fails before a daemon was ever there and after a single pass, and answers all the same."""
    assert "no daemon is running" in repo.run("status", "--check", code=1).stdout
    repo.run("run", "--once")
    assert repo.json("status", "--check", code=1)["targets"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["plann"],
        ["plan", "--nonsense"],
        ["plan", "-o", "xml"],
        ["plan", "--target", "nowhere"],
        ["apply", "--yes", "--target", "local/none"],
        ["apply", "plan.json", "--key", "x"],
        ["pause", "nowhere/web"],
        ["undo", "--yes", "1999"],
        ["undo", "1999"],
        ["approve", "xyz"],
        ["run", "--deep"],
        ["init", "."],
        ["--log-level", "loud", "plan"],
        [],
    ],
)
def test_a_command_line_that_makes_no_sense_is_64(repo: Repo, arguments: list[str]) -> None:
    """Usage errors exit with 64 and leave stdout empty."""
    assert repo.run(*arguments, code=64).stdout == ""


@pytest.mark.parametrize(
    "command",
    [
        f"{command} -o {mode}"
        for command in ("validate", "plan", "apply --yes", "drift", "adopt --yes", "explain greeting")
        for mode in ("text", "json", "markdown")
        if mode != "markdown" or command not in ("validate", "explain greeting")
    ],
)
def test_invalid_state_is_78(repo: Repo, command: str) -> None:
    """A state file that cannot be used makes every command that reads it exit with 78."""
    repo.write("state/web.yaml", "store: local\nnamespace: web\nkeys: {a: 1, a: 2}\n")
    assert "state/web.yaml:3:14: " in repo.run(*command.split(), code=78).stderr


def test_invalid_configuration_is_78(repo: Repo) -> None:
    """A configuration that cannot be used makes every command that needs it exit with 78, with every problem in one go."""
    repo.write("kvsync.yaml", "version: 1\nowner: x\nstores: {local: {type: sqlit}}\npolisy: {prune: owned}\n")
    for command in ("validate", "plan", "apply --yes", "run --once", "status", "history", "doctor", "pause local"):
        done = repo.run(*command.split(), code=78)
        assert "sqlite" in done.stderr
        assert "policy" in done.stderr


def test_a_missing_configuration_is_78(repo: Repo) -> None:
    """Without a configuration file the error names the path, init and -c."""
    (repo.root / "kvsync.yaml").unlink()
    done = repo.run("plan", code=78)
    assert "kvsync.yaml" in done.stderr
    assert "kvsync init" in done.stderr


@MODES
def test_usable_targets_go_on_next_to_a_bad_file_and_the_code_is_78(repo: Repo, mode: str) -> None:
    """A bad file holds its own target only: the others are planned and applied, and the command exits with 78."""
    repo.write("state/shop.yaml", "store: local\nnamespace: shop\nkeys:\n  a: 1\n  a: 2\n")
    repo.run("plan", "-o", mode, code=78)
    repo.run("apply", "--yes", "-o", mode, code=78)
    assert len(repo.held()) == 3
    assert repo.held("shop") == {}


@MODES
def test_an_unreachable_store_is_1_and_the_others_go_on(repo: Repo, mode: str) -> None:
    """A store that cannot be opened fails its own targets: the others are applied, and the command exits with 1."""
    repo.write("kvsync.yaml", WITH_BROKEN_STORE)
    repo.write("broken.db", "this is not a database, and long enough to be looked at as one" * 20)
    repo.write("state/more.yaml", "store: broken\nnamespace: web\nkeys: {a: 1}\n")
    repo.run("plan", "-o", mode, code=1)
    repo.run("apply", "--yes", "-o", mode, code=1)
    repo.run("run", "--once", code=1)
    assert repo.held()["greeting"] == "Hello"
    assert "FAIL  store broken" in repo.run("doctor", code=1).stdout


WITH_BROKEN_STORE = """\
version: 1
owner: tester
stores:
  local: {type: sqlite, path: .kvsync/store.db}
  broken: {type: sqlite, path: broken.db}
policy: {prune: owned}
"""


def test_an_answer_that_cannot_be_written_is_1(applied: Repo) -> None:
    """A full disk under stdout or under a file that was asked for is an error, never a success."""
    with Path("/dev/full").open("w") as full:
        process = applied.start("plan", "-o", "json", stdout=full)
        assert "No space left" in process.communicate(timeout=60)[1]
    assert process.returncode == 1
    applied.run("plan", "--json-into", "missing/folder/plan.json", code=1)
    applied.run("plan", "--out", "missing/folder/plan.json", code=1)


def test_a_reader_that_leaves_is_not_an_error(applied: Repo) -> None:
    """A closed pipe under stdout is met with silence, and the command's own code stays."""
    process = applied.start("plan", "-o", "json", stdin=subprocess.DEVNULL)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(60) == 0
    process.stderr.close()


def test_one_pass_of_the_daemon_has_the_codes_of_apply(repo: Repo) -> None:
    """`run --once` exits with 0 when all is well, 3 when entries are refused, 4 when a target is parked, 78 for bad files."""
    repo.run("run", "--once", code=0)
    repo.insert("taken", "by others")
    repo.write("state/web.yaml", WEB + "  taken: by us\n")
    repo.run("run", "--once", code=3)
    repo.write("state/web.yaml", "store: local\nnamespace: web\nkeys: {}\n")
    repo.run("run", "--once", code=4)
    repo.write("state/web.yaml", "store: local\nnamespace: web\nkeys: [\n")
    repo.run("run", "--once", code=78)
    assert len(repo.held()) == 4


def test_observing_writes_nothing(repo: Repo) -> None:
    """`run --once --observe` makes a pass and leaves the store as it is."""
    repo.run("run", "--once", "--observe", code=0)
    assert repo.held() == {}


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ([], Exit.DONE),
        ([Exit.PENDING, Exit.PARTIAL], Exit.PARTIAL),
        ([Exit.PARTIAL, Exit.REFUSED], Exit.REFUSED),
        ([Exit.REFUSED, Exit.ERROR], Exit.ERROR),
        ([Exit.ERROR, Exit.INVALID, Exit.DONE], Exit.INVALID),
    ],
)
def test_the_worst_of_several_codes_wins(codes: list[Exit], expected: Exit) -> None:
    """78 goes before 1, 1 before 4, 4 before 3, 3 before 2, 2 before 0."""
    assert worst(codes) is expected


def test_errors_are_one_json_document_too(repo: Repo) -> None:
    """With -o json an error that ends a command is the one document on stdout, with every problem and its place."""
    repo.write("state/web.yaml", "store: local\nnamespace: web\nkeys: {a: 1, a: 2, b: null}\n")
    document = repo.json("plan", code=78)
    assert document["schema"] == "kvsync.error/1"
    assert document["error"]["kind"] == "invalid-input"
    assert [(each["file"], each["line"]) for each in document["error"]["problems"]] == [("state/web.yaml", 3)] * 2
    assert json.loads(repo.run("plan", "--nonsense", "-o", "json", code=64).stdout)["error"]["kind"] == "usage-error"
    assert repo.json("apply", code=4)["error"]["kind"] == "not-approved"


async def test_an_incomplete_listing_is_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A listing that breaks off and shows nothing to do is not proof that nothing is pending: 1 for `plan` and `apply`, and an
    error of the daemon's pass."""
    repo = MemoryRepository(tmp_path, monkeypatch)
    await repo.settle({"a": 1})
    repo.server.write("web", "foreign", b"x")
    repo.server.list_incompletely(1)
    plan = await repo.plan_all()
    assert not plan.targets[0].complete
    assert of_plan(plan, problems=False) is Exit.ERROR
    repo.server.list_incompletely(1)
    report = await repo.apply()
    assert of_reports(report.targets, problems=False, held=()) is Exit.ERROR
    async with repo.open() as workspace:
        reconciler = WorkspaceReconciler(workspace, workspace.pass_context, {})
        await reconciler.load()
        repo.server.list_incompletely(1)
        result = await reconciler.reconcile(PassRequest(Target("main", "web")), lambda: False)
    assert result.error == "the listing of the store is incomplete"
    assert result.retryable
