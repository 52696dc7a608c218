"""Replicas with files of different revisions: none of them goes back to what another one has replaced."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from kvsync.app import Report
from kvsync.app.revisions import RevisionCheck
from kvsync.errors import AuthError, StoreError, TransientError
from kvsync.logs import configure
from kvsync.model.revision import AppliedRevision
from tests.support.memory_repository import MemoryRepository


class Log:
    """What replicas have applied."""

    def __init__(self) -> None:
        self.rows: list[AppliedRevision] = []
        self.error: StoreError | None = None

    async def revisions(self) -> list[AppliedRevision]:
        if self.error is not None:
            raise self.error
        return list(self.rows)

    async def add_revision(self, applied: AppliedRevision) -> None:
        self.rows.append(applied)


class Replicas:
    """Replicas of one repository, one at a time: each has its own files, and remembers which it had."""

    def __init__(self, repo: MemoryRepository, root: Path) -> None:
        self.repo, self._root, self.log = repo, root, Log()
        self._running: dict[str, RevisionCheck] = {}

    def start(self, name: str) -> None:
        (self._root / name).mkdir(exist_ok=True)
        self._running[name] = RevisionCheck(self.log, name, self._root / name, self.repo.clock, records=True)

    def commit(self, number: int) -> None:
        """Let the files be those of this commit."""
        git = self.repo.root / ".git"
        git.mkdir(exist_ok=True)
        (git / "HEAD").write_text(f"{number}" * 40)

    async def leads(self, name: str, value: str | None, *approvals: str) -> Report:
        """Let a replica lead whose files ask for this value; None: the files as they are."""
        if name not in self._running:
            self.start(name)
        if value is not None:
            self.repo.want({"a": value})
        self.repo.clock.advance(10)
        async with self.repo.open() as workspace:
            workspace.revisions = self._running[name]
            return await workspace.apply(await workspace.plan(), command="test", approvals=approvals)


@pytest.fixture
def replicas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Replicas:
    policy = "{guard: {max_update_pct: 100}}"
    return Replicas(MemoryRepository(tmp_path / "repo", monkeypatch, policy=policy), tmp_path)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> None:
    (tmp_path / "repo").mkdir()


async def test_a_replica_with_older_files_waits_for_an_approval(replicas: Replicas) -> None:
    """Who takes over with an earlier revision than the one last applied changes nothing, says why, and goes back only when
    told to; later files need nobody."""
    await replicas.leads("a", "1")
    await replicas.leads("a", "2")
    stopped = await replicas.leads("b", "1")
    assert replicas.repo.values() == {"a": "2"}
    (reason,) = stopped.targets[0].plan.parked
    assert reason.startswith("the files here are older than those that a applied at ")
    assert "approve this plan to go back" in reason
    await replicas.leads("b", "1", stopped.targets[0].plan.digest)
    assert replicas.repo.values() == {"a": "1"}
    await replicas.leads("b", "3")
    assert replicas.repo.values() == {"a": "3"}


async def test_files_that_were_put_back_on_purpose_are_applied(replicas: Replicas) -> None:
    """Where the newest files were known, earlier ones are a decision, also when they changed while the replica was down; a
    replica that still has the ones in between does not bring them back."""
    await replicas.leads("a", "1")
    await replicas.leads("b", "1")
    await replicas.leads("b", "2")
    await replicas.leads("a", "2")
    await replicas.leads("a", "1")
    assert replicas.repo.values() == {"a": "1"}
    await replicas.leads("b", "2")
    assert replicas.repo.values() == {"a": "1"}
    replicas.start("a")
    await replicas.leads("a", "2")
    assert replicas.repo.values() == {"a": "2"}


def remove(file: Path) -> None:
    shutil.rmtree(file.parent)


def make_a_link_that_leads_nowhere(file: Path) -> None:
    file.unlink()
    file.symlink_to("nowhere.yaml")


def cut_off(file: Path) -> None:
    file.write_text("store: main\nnamespace: web\nkeys: {a: [")


@pytest.mark.parametrize("break_files", [remove, make_a_link_that_leads_nowhere, cut_off])
async def test_broken_files_do_not_count_as_newer(replicas: Replicas, break_files: Callable[[Path], None]) -> None:
    """A replica whose files cannot be used leads for a while, and applies nothing. The next one still has the newest files."""
    await replicas.leads("a", "1")
    await replicas.leads("a", "2")
    broken = replicas.repo.root / "state"
    break_files(broken / "web.yaml")
    await replicas.leads("b", None)
    shutil.rmtree(broken, ignore_errors=True)
    broken.mkdir()
    replicas.repo.edit("a", "changed by hand")
    await replicas.leads("a", "2")
    assert replicas.repo.values() == {"a": "2"}


async def test_a_commit_that_changes_no_state_file_holds_nobody_back(replicas: Replicas) -> None:
    """A replica that lacks only a change of other files applies its own as before. One that lacks a change of the state files
    waits, also when its commit was recorded before later ones with the same files, and a revert is a later revision."""
    replicas.commit(1)
    await replicas.leads("a", "1")
    replicas.commit(2)
    await replicas.leads("a", "1")
    replicas.repo.edit("a", "changed by hand")
    replicas.commit(1)
    await replicas.leads("b", "1")
    assert replicas.repo.values() == {"a": "1"}
    assert [one.commit for one in replicas.log.rows] == ["1" * 40, "2" * 40]
    replicas.commit(3)
    await replicas.leads("a", "2")
    replicas.start("b")
    replicas.commit(2)
    assert (await replicas.leads("b", "1")).targets[0].plan.parked
    replicas.commit(4)
    await replicas.leads("b", "1")
    assert replicas.repo.values() == {"a": "1"}


async def test_vars_of_the_configuration_count_as_files(replicas: Replicas) -> None:
    """They change what templates write, although the state files stay as they are."""
    template, policy = '{template: "${who}"}', "{guard: {max_update_pct: 100}}"
    for number in (1, 2):
        replicas.repo.configure(policy, more=f"vars: {{who: v{number}}}")
        replicas.commit(number)
        await replicas.leads("a", template)
    replicas.repo.configure(policy, more="vars: {who: v1}")
    replicas.commit(1)
    assert (await replicas.leads("b", template)).targets[0].plan.parked
    assert replicas.repo.values() == {"a": "v2"}


async def test_a_log_that_lost_its_end_stops_nobody(replicas: Replicas) -> None:
    """Its keeper failed over, and the newest revision is missing: a replica that has it goes on, and records it again."""
    await replicas.leads("a", "1")
    await replicas.leads("a", "2")
    lost = replicas.log.rows.pop()
    replicas.repo.edit("a", "changed by hand")
    await replicas.leads("a", "2")
    assert replicas.repo.values() == {"a": "2"}
    assert replicas.log.rows[-1].revision == lost.revision
    assert (await replicas.leads("b", "1")).targets[0].plan.parked


async def test_a_log_that_does_not_answer_lets_nothing_through(replicas: Replicas) -> None:
    """Who cannot find out what others applied changes nothing, and says so; afterwards it goes on."""
    await replicas.leads("a", "1")
    replicas.log.error = TransientError("lease kvsync: no response")
    stopped = await replicas.leads("a", "2")
    assert stopped.targets[0].plan.parked == (
        "cannot find out which files were applied last: lease kvsync: no response",
    )
    replicas.log.error = None
    await replicas.leads("a", "2")
    assert replicas.repo.values() == {"a": "2"}


async def test_a_replica_without_the_right_to_the_log_goes_on(replicas: Replicas) -> None:
    """Where the credential allows the lease alone, files are applied as they are, and one warning says what is missing."""
    replicas.log.error = AuthError("lease kvsync: permission denied")
    stream = io.StringIO()
    configure("json", "warning", stream=stream)
    await replicas.leads("a", "0")
    await replicas.leads("a", "1")
    configure("json", "error", stream=io.StringIO())
    assert stream.getvalue().count("revisions.denied") == 1
    assert replicas.repo.values() == {"a": "1"}
