"""Files that are still being written: what they hold is used once they have not changed for a while."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kvsync.desired import DesiredState, Source
from kvsync.desired.file_stability import FileStability
from kvsync.model.entry import Target
from kvsync.testing import FakeClock
from tests.desired.conftest import WEB, Repo

APP = Target("edge", "app")
REST = 0.3


@dataclass
class PollingLoader:
    """Looks at the files again and again, with one source."""

    repo: Repo
    clock: FakeClock = field(default_factory=FakeClock)
    source: Source = field(init=False)

    def __post_init__(self) -> None:
        self.source = self.repo.source()
        self.source.use_only_stable_files(FileStability(REST, self.clock))

    def look(self, after: float = 0) -> DesiredState:
        self.clock.advance(after)
        return self.source.load()

    def values(self, target: Target = WEB, after: float = 0) -> dict[str, str]:
        """What is asked of a target, whether it is held or not."""
        loaded = self.look(after)
        desired = loaded.kept.get(target) or loaded.targets[target]
        return {str(identity): entry.content.value.decode() for identity, entry in desired.entries.items()}


@pytest.fixture
def daemon(repo: Repo) -> PollingLoader:
    """A daemon that has seen two targets, one of them with a value from a file."""
    repo.write("assets/big.txt", "old")
    repo.web("keys: {limit: 1000, big: {file: ../assets/big.txt}}\n")
    repo.write("state/app.yaml", "store: edge\nnamespace: app\nkeys: {a: 1}\n")
    found = PollingLoader(repo)
    assert found.look().stable_in is None
    return found


def write_limit(repo: Repo, text: str) -> None:
    repo.web(f"keys: {{big: {{file: ../assets/big.txt}}, limit: {text}}}\n")


@pytest.mark.parametrize(
    ("write", "expected"),
    [
        (lambda repo: write_limit(repo, "20"), {"limit": "20", "big": "old"}),
        (lambda repo: repo.write("assets/big.txt", "half"), {"limit": "1000", "big": "half"}),
    ],
    ids=["state file", "value file"],
)
def test_a_file_is_used_once_it_has_rested(
    daemon: PollingLoader, write: Callable[[Repo], object], expected: dict[str, str]
) -> None:
    """What was just written is not used at the first look, and is used once it stayed as it is for as long as configured."""
    write(daemon.repo)
    assert daemon.values() == {"limit": "1000", "big": "old"}
    assert daemon.look(after=REST / 2).stable_in == pytest.approx(REST / 2)
    assert daemon.values(after=REST / 2) == expected
    assert daemon.look().stable_in is None


def test_a_file_that_goes_on_changing_is_not_used(daemon: PollingLoader) -> None:
    """Each change restarts the wait; other targets continue meanwhile."""
    daemon.repo.write("state/app.yaml", "store: edge\nnamespace: app\nkeys: {a: 2}\n")
    for number in range(5):
        write_limit(daemon.repo, str(number))
        daemon.look(after=REST / 2)
    assert daemon.values()["limit"] == "1000"
    assert daemon.values(APP) == {"a": "2"}
    assert daemon.values(after=REST)["limit"] == "4"


def test_the_same_size_and_time_with_another_content_is_a_change(daemon: PollingLoader) -> None:
    """A program that sets the time of a file back does not make it look rested."""
    write_limit(daemon.repo, "2000")
    file = daemon.repo.root / "state" / "web.yaml"
    before = file.stat()
    daemon.look()
    write_limit(daemon.repo, "3000")
    _set_times(file, before.st_mtime_ns)
    assert daemon.values(after=REST)["limit"] == "1000"
    assert daemon.values(after=REST)["limit"] == "3000"


def _set_times(file: Path, moment: int) -> None:
    os.utime(file, ns=(moment, moment))


@pytest.mark.parametrize("half", ["keys: {limit: [\n", "", "store: edge\nnamespace: web\nkeys:\n  li"])
def test_a_half_written_file_is_not_a_problem(daemon: PollingLoader, half: str) -> None:
    """A file that is cut off is a problem only if it stays so; until then every target is as it was."""
    daemon.repo.write("state/web.yaml", half)
    loaded = daemon.look()
    assert (loaded.problems, loaded.hold_all, dict(loaded.held)) == ((), (), {})
    assert daemon.values() == {"limit": "1000", "big": "old"}
    write_limit(daemon.repo, "2")
    daemon.look()
    assert daemon.values(after=REST)["limit"] == "2"


def test_an_author_who_goes_on_writing_delays_their_own_targets(repo: Repo) -> None:
    """With `authors.targets`, a file that never rests, and is never intelligible, keeps no target of others from changing."""
    grants = "{path: state/web.yaml, namespaces: [web]}, {path: state/app.yaml, namespaces: [app]}"
    text = (repo.root / "kvsync.yaml").read_text().replace('["*"]}', f'["*"], targets: [{grants}]}}')
    repo.write("kvsync.yaml", text)
    repo.web("keys: {limit: 1}\n")
    repo.write("state/app.yaml", "store: edge\nnamespace: app\nkeys: {a: 1}\n")
    daemon = PollingLoader(repo)
    daemon.look()
    repo.write("state/app.yaml", "store: edge\nnamespace: app\nkeys: {a: 2}\n")
    for number in range(5):
        repo.write("state/web.yaml", f"keys: [{number}")
        loaded = daemon.look(after=REST / 2)
    assert daemon.values(APP) == {"a": "2"}
    assert daemon.values() == {"limit": "1"}
    assert loaded.problems == ()


def test_a_broken_file_that_rests_is_a_problem(daemon: PollingLoader) -> None:
    """Once it stays as it is, a broken file is reported, and a mended one is used after it has rested too."""
    daemon.repo.web("keys: {limit: [\n")
    daemon.look()
    assert daemon.look(after=REST).problems
    write_limit(daemon.repo, "2")
    assert daemon.look().problems
    loaded = daemon.look(after=REST)
    assert loaded.problems == ()
    assert daemon.values()["limit"] == "2"


def test_a_file_that_is_gone_for_a_moment_takes_nothing_away(daemon: PollingLoader) -> None:
    """A file that is deleted and written again is as it was meanwhile; one that stays away names nothing."""
    (daemon.repo.root / "state" / "app.yaml").unlink()
    assert daemon.values(APP) == {"a": "1"}
    assert APP not in daemon.look(after=REST).managed


def test_a_new_file_is_used_once_it_has_rested(daemon: PollingLoader) -> None:
    """A target whose first file is being written is not managed yet."""
    daemon.repo.write("state/new.yaml", "store: core\nnamespace: new\nkeys: {a: 1}\n")
    assert Target("core", "new") not in daemon.look().managed
    assert Target("core", "new") in daemon.look(after=REST).managed


def test_files_that_were_there_before_the_start_have_rested(repo: Repo) -> None:
    """A daemon that starts waits for what was just written, and for nothing else."""
    repo.web("keys: {limit: 1}\n")
    now = (repo.root / "state" / "web.yaml").stat().st_mtime
    young, old = PollingLoader(repo, FakeClock(now + REST / 2)), PollingLoader(repo, FakeClock(now + 2 * REST))
    assert young.look().managed == frozenset()
    assert young.values(after=REST) == {"limit": "1"}
    assert old.values() == {"limit": "1"}


def test_a_root_that_is_gone_is_still_watched(repo: Repo) -> None:
    """A folder that vanishes, and a link that is turned late, may come back: its path stays watched as it is written."""
    real, link = repo.root / "real", repo.root / "link"
    for root in (real, link):
        tree = Repo(real)
        tree.write("kvsync.yaml", (repo.root / "kvsync.yaml").read_text())
        tree.web("keys: {a: 1}\n")
        if root is link:
            link.symlink_to("real")
        source = Repo(root).source()
        assert source.load().problems == ()
        shutil.rmtree(real)
        link.unlink(missing_ok=True)
        loaded = source.load()
        assert loaded.hold_all
        assert str(root) in loaded.watch.directories
