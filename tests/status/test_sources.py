"""Where the snapshot's facts come from: the state directory, the stores, the configuration, the people."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kvsync.app.configuration import read_config
from kvsync.app.reconciler import WorkspaceReconciler
from kvsync.config.model import Config
from kvsync.errors import InvalidInput
from kvsync.http.quota import Quota
from kvsync.model.entry import Applied, Identity, Mark, Target
from kvsync.model.health import Traffic, total
from kvsync.state import StateDir
from kvsync.state.passes import PassRecord
from kvsync.status.document import status_document
from kvsync.testing import FakeClock
from tests.status.support import ENVIRON, RUN, repository
from tests.support.command import Repository
from tests.support.memory_repository import MemoryRepository
from tests.support.places import key_of, located

WEB, API = Target("main", "web"), Target("main", "api")


def test_the_nearest_end_is_the_ledgers(tmp_path: Path) -> None:
    """Of the lifetimes in a target's ledger the one that ends first from now on is reported, those that ended are not."""
    ends = {"soon": 50.0, "past": 5.0, "late": 90.0, "never": None}
    applied = {Identity(key, "x"): Applied(Mark("me", b"1"), None, end) for key, end in ends.items()}
    with StateDir.open(tmp_path / "state", writable=True) as state:
        state.ledger.record(key_of(WEB), applied)
        assert state.ledger.nearest_end(key_of(WEB), 10) == (Identity("soon", "x"), 50.0)
        assert state.ledger.nearest_end(key_of(WEB), 90) is None
        assert state.ledger.nearest_end(key_of(API), 10) is None


def test_what_waits_is_counted_by_target(tmp_path: Path) -> None:
    """Refused writes and contended entries are counted by target, as long as they wait."""
    with StateDir.open(tmp_path / "state", writable=True) as state:
        for target in (WEB, API):
            state.places.enter(located(target), 0)
        for key in ("a", "b"):
            state.quarantine.put(key_of(WEB), Identity(key), b"1", "too large", 100)
        for _ in range(3):
            state.contended.record_heals(key_of(API), {Identity("c"): b"1"}, 100)
        assert state.quarantine.counts(101) == {WEB: 2}
        assert state.contended.counts(101) == {API: 1}
        assert state.quarantine.counts(1000) == state.contended.counts(1000) == {}


def test_the_passes_are_read_once_for_the_whole_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There are thousands, and what is shown of a target and what is overdue must be of the same moment."""
    with StateDir.open(tmp_path / "state", writable=True) as state:
        state.passes.record(WEB, 10.0, next_at=20.0)
        reads, read = [], state.passes.all

        def counted() -> list[PassRecord]:
            reads.append(1)
            return read()

        monkeypatch.setattr(state.passes, "all", counted)
        with state.lock("run"):
            document = status_document(state, 1000.0)
        assert [one["namespace"] for one in document["targets"]] == ["web"]
        assert [one["namespace"] for one in document["overdue"]] == ["web"]
        assert len(reads) == 1


async def test_what_is_left_of_a_quota() -> None:
    """Our own count tells what is left, and the server's word where it is less and still holds."""
    clock = FakeClock()
    quota = Quota(1200, 300, clock)
    await quota.take()
    assert quota.known_left == 1199
    quota.observe({"ratelimit": '"default";r=500;t=50'})
    assert quota.known_left == 500
    clock.advance(50)
    assert quota.known_left == 1199


def test_traffic_adds_up() -> None:
    """Requests, bytes and statuses of several connections are those of all together."""
    one, other = Traffic(1, 10, 100, {"200": 1}), Traffic(2, 20, 200, {"200": 1, "429": 1})
    assert total([one, None, other]) == Traffic(3, 30, 300, {"200": 2, "429": 1})


async def test_requests_go_on_counting_after_a_reload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a store cost under an earlier configuration is still counted, as long as a store of that name is configured."""
    repo = MemoryRepository(tmp_path, monkeypatch)
    repo.want({"a": 1})
    async with repo.open("run") as workspace:
        reconciler = WorkspaceReconciler(workspace, workspace.pass_context, {})
        workspace.stores["main"].traffic.by_status["200"] = 5
        workspace.stores["main"].traffic.requests = 7
        await reconciler.reload_config()
        [store] = reconciler.stores
        assert dict(store.requests) == {"200": 5, "none": 2}
        assert (store.name, store.type, store.quota_left) == ("main", "memory", None)


def configured(folder: Path, run: str) -> Config:
    return read_config(repository(folder, run) / "kvsync.yaml", environ={})


def test_the_fields_of_the_server(tmp_path: Path) -> None:
    """Address, token, secret and branches are read as references and globs."""
    text = "run: {listen: '[::1]:9464', token: {file: t}, hook: {secret: {env: S}, branches: [main, 'release/*']}}\n"
    run = configured(tmp_path, text).run
    assert (run.listen, run.token and run.token.name) == ("[::1]:9464", "t")
    assert run.hook is not None
    assert (run.hook.secret.name, run.hook.branches) == ("S", ("main", "release/*"))


@pytest.mark.parametrize("listen", ["0.0.0.0:1", "10.0.0.1:1", "'[::]:1'", "example.com:1", "localhost.example.com:1"])
def test_what_others_can_reach_needs_a_token(tmp_path: Path, listen: str) -> None:
    """An address that is not loopback without a token is an error with its place and the way out; with one it is none."""
    with pytest.raises(InvalidInput) as found:
        configured(tmp_path, f"run:\n  listen: {listen}\n")
    [problem] = found.value.problems
    assert str(problem.origin) == "kvsync.yaml:7:11"
    assert "token is required" in problem.message
    assert "token: {file: PATH}" in (problem.hint or "")
    assert configured(tmp_path, f"run:\n  listen: {listen}\n  token: {{env: T}}\n").run.listen is not None


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "127.3.2.1:80", "localhost:9464", "'[::1]:9464'"])
def test_loopback_needs_none(tmp_path: Path, listen: str) -> None:
    """What only this machine can reach needs no token."""
    assert configured(tmp_path, f"run: {{listen: {listen}}}\n").run.token is None


def test_a_secret_in_the_file_is_refused(tmp_path: Path) -> None:
    """Token and secret are references; what stands there instead is in no message, and every problem is said at once."""
    with pytest.raises(InvalidInput) as found:
        configured(tmp_path, "run: {token: hunter2secret, hook: {secret: hunter3secret, branch: main}}\n")
    assert len(found.value.problems) == 3
    assert "hunter" not in str(found.value)
    assert 'did you mean "branches"' in str(found.value)


def test_doctor_says_who_can_reach_it(tmp_path: Path) -> None:
    """`doctor` names the address and who can reach it, and finds a token that cannot be read or is too short."""
    repository(tmp_path, RUN.replace("127.0.0.1:0", "0.0.0.0:9464"))
    command = Repository(tmp_path, (tmp_path / "kvsync.yaml").read_text())
    sound = command.run("doctor", env=ENVIRON, code=0).stdout
    assert "http: listen: 0.0.0.0:9464 accepts requests from other machines" in sound
    broken = json.loads(command.run("doctor", "-o", "json", env={"TOKEN": "short"}, code=1).stdout)
    wrong = {one["check"]: one["detail"] for one in broken["findings"] if one["subject"] == "http" and not one["ok"]}
    assert "fewer than 8 characters" in wrong["run.token"]
    assert "run.token" not in wrong["run.token"], "the check's name is said once"
    assert "is not set" in wrong["run.hook.secret"]


def test_doctor_finds_a_hook_without_a_door(tmp_path: Path) -> None:
    """A hook that is configured while nothing listens is found, with what to do."""
    repository(tmp_path, "run: {hook: {secret: {env: HOOK}}}\n")
    command = Repository(tmp_path, (tmp_path / "kvsync.yaml").read_text())
    said = command.run("doctor", env=ENVIRON, code=1).stdout
    assert (
        "FAIL  http: run.hook: run.listen is not set, so the daemon cannot receive webhooks (set run.listen: 127.0.0.1:9464)"
        in said
    )


def test_the_log_says_that_it_was_a_command(tmp_path: Path) -> None:
    """Pause and resume by command are in the log, with who did it."""
    command = Repository(repository(tmp_path, ""), (tmp_path / "kvsync.yaml").read_text())
    logging = {"KVSYNC_LOG_LEVEL": "info", "KVSYNC_LOG_FORMAT": "json"}
    paused = command.run("pause", "main/web", "--reason", "noon", env=logging, code=0)
    resumed = command.run("resume", "main/web", env=logging, code=0)
    [begun, ended] = [json.loads(one.stderr.splitlines()[-1]) for one in (paused, resumed)]
    assert (begun["event"], begun["by"], begun["reason"]) == ("pause.begun", "command", "noon")
    assert (ended["event"], ended["by"]) == ("pause.ended", "command")
