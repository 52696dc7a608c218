"""Loading again after any changes gives what a new process loads."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path

import pytest

from kvsync.desired import DesiredState
from kvsync.testing import FakeClock
from tests.desired.conftest import CONFIG, Repo
from tests.desired.events import events_since, statuses

STEPS = 40


class ChangingRepo:
    """A repository in which something happens at each step. No two steps leave a file with the same size."""

    def __init__(self, repo: Repo, seed: int) -> None:
        self.repo, self._random, self._step = repo, random.Random(seed), 0
        self._state = repo.root / "state"
        repo.write("kvsync.yaml", CONFIG.replace('["*"]', '["*"], files: [assets]'))
        repo.write("assets/big", "a value")
        repo.write("state/core.yaml", "store: core\nnamespace: app\nkeys: {b: {file: ../assets/big}}\n")
        for number in range(6):
            self._write(number % 2, f"state/{number % 3}/f{number}.yaml")

    def step(self) -> str:
        """Do one thing. Returns what."""
        self._step += 1
        self._wait_for_another_time()
        happening = self._random.choice(HAPPENINGS)
        happening(self)
        return happening.__name__

    def _wait_for_another_time(self) -> None:
        """File systems keep times to some milliseconds."""
        clock = self.repo.root.parent / "clock"
        clock.touch()
        before = clock.stat().st_ctime_ns
        while clock.stat().st_ctime_ns == before:
            time.sleep(0.001)
            clock.touch()

    def _write(self, namespace: int, path: str, rest: str = "") -> None:
        value = "x" * self._step + rest
        self.repo.write(path, f"store: edge\nnamespace: n{namespace}\nkeys: {{{path}: {value}}}\n")

    def _file(self) -> Path:
        files = sorted(file for file in self._state.rglob("*.yaml") if not file.is_symlink())
        return self._random.choice(files or [self._state / "0" / "f0.yaml"])

    def edit(self) -> None:
        """Write a file in place, maybe for another target."""
        self._write(self._random.randrange(3), str(self._file().relative_to(self.repo.root)))

    def replace(self) -> None:
        """Move a new file over an old one."""
        self._write(self._random.randrange(2), "new")
        (self.repo.root / "new").replace(self._file())

    def edit_value(self) -> None:
        """Write a file that a value is taken from."""
        self.repo.write("assets/big", "y" * self._step)

    def add(self) -> None:
        """Add a file, maybe in a new folder."""
        self._write(
            self._random.randrange(2), f"state/more/{self._random.randrange(5)}/f{self._random.randrange(9)}.yaml"
        )

    def remove(self) -> None:
        """Remove a file."""
        self._file().unlink(missing_ok=True)

    def damage(self) -> None:
        """Leave a file half written."""
        self._write(0, str(self._file().relative_to(self.repo.root)), rest="]")

    def clash(self) -> None:
        """Write a key that another file has, too."""
        other = self._file().read_bytes() if self._file().exists() else b""
        self.repo.write("state/clash.yaml", other + b"#" * self._step)

    def miss(self) -> None:
        """Take the value file away."""
        (self.repo.root / "assets" / "big").unlink(missing_ok=True)

    def link(self) -> None:
        """Put a link in the place of a file, maybe to where links must not lead."""
        file, linked = self._file(), self._random.choice(["assets/linked.yaml", "elsewhere/linked.yaml"])
        file.unlink(missing_ok=True)
        self._write(1, linked)
        file.symlink_to(self.repo.root / linked)

    def mend(self) -> None:
        """Mend whatever is wrong, and take links away."""
        self.edit_value()
        (self._state / "clash.yaml").unlink(missing_ok=True)
        for file in self._state.rglob("*.yaml"):
            if file.is_symlink():
                file.unlink()
            elif "]" in file.read_text():
                self._write(0, str(file.relative_to(self.repo.root)))

    def swap_folder(self) -> None:
        """Put another folder in the place of one."""
        folder = self._state / "0"
        if folder.is_dir():
            shutil.copytree(folder, self.repo.root / "aside", symlinks=True)
            shutil.rmtree(folder)
            (self.repo.root / "aside").rename(folder)

    def overlay(self) -> None:
        """Add an overlay of the environment."""
        self._write(0, "state/0/f0.prod.yaml")


HAPPENINGS: list[Callable[[ChangingRepo], None]] = [
    *[ChangingRepo.edit, ChangingRepo.replace, ChangingRepo.edit_value, ChangingRepo.mend] * 3,
    *[ChangingRepo.add, ChangingRepo.remove, ChangingRepo.damage, ChangingRepo.clash, ChangingRepo.miss],
    *[ChangingRepo.link, ChangingRepo.swap_folder, ChangingRepo.overlay],
]


@pytest.mark.system
@pytest.mark.parametrize(
    ("seed", "rested", "named"), [(5, True, False), (7, True, True), (8, True, True), (7, False, True)]
)
def test_loading_again_equals_the_first_loading(
    repo: Repo, monkeypatch: pytest.MonkeyPatch, seed: int, rested: bool, named: bool
) -> None:
    """Whatever happens to the files in between, whether their times show each change or not, and whether all files are looked
    at or only what events named."""
    clock = FakeClock(time.time() + (3600 if rested else 0))
    monkeypatch.setattr("kvsync.desired.file_digests.Clock", lambda: clock)
    changing = ChangingRepo(repo, seed=seed)
    source, steps = changing.repo.source(), []
    changing.repo.opened = None
    for _ in range(STEPS):
        before = statuses(repo.root)
        steps.append(changing.step())
        found = shown(source.load("prod", touched=events_since(before, repo.root) if named else None))
        assert found == shown(changing.repo.load("prod")), steps
    source.close()


def shown(loaded: DesiredState) -> Mapping[str, object]:
    """Everything of a state; `kept` is what a process remembers, and `watch` may have a folder too many until later."""
    parts = {one.name: getattr(loaded, one.name) for one in fields(loaded) if one.name not in ("kept", "watch")}
    entries = {target: dict(desired.entries) for target, desired in loaded.targets.items()}
    digests = {target: desired.digest for target, desired in loaded.targets.items()}
    return parts | {"targets": digests, "entries": entries}
