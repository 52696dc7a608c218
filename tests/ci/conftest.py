"""A repository on a code host, the store that it configures, and the machines that run its jobs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.ci.code_host import CodeHost, serving
from tests.ci.jobs import EXAMPLE, KEY, ROOT, Machines, git


class Project:
    """The example as a repository with a branch `main`, and whose changes are made and merged as people do."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "repository"
        shutil.copytree(EXAMPLE, self.root, ignore=shutil.ignore_patterns(".kvsync"))
        git(folder, "init", "--quiet", "--initial-branch=main", str(self.root))
        git(self.root, "add", "--all")
        git(self.root, "commit", "--quiet", "-m", "begin")

    def write(self, text: str, name: str = "state/web.yaml") -> str:
        """Commit other text for a file. Gives the commit."""
        (self.root / name).write_text(text, encoding="utf-8")
        git(self.root, "add", "--all")
        git(self.root, "commit", "--quiet", "--all", "--message", "change")
        return git(self.root, "rev-parse", "HEAD")

    def squash(self) -> str:
        """Merge what was committed last as another commit with the same files. Gives that."""
        git(self.root, "commit", "--quiet", "--amend", "--message", "change (#7)", "--date", "2026-01-02T00:00:00Z")
        return git(self.root, "rev-parse", "HEAD")

    def replaced(self, old: str, new: str) -> str:
        """Commit the state file with some words replaced. Gives the commit."""
        text = (self.root / "state/web.yaml").read_text(encoding="utf-8")
        assert old in text
        return self.write(text.replace(old, new))


class Store:
    """The store that the example names, emulated."""

    def __init__(self, url: str, env: Mapping[str, str]) -> None:
        self.url, self.env = url, dict(env)

    def reset(self) -> None:
        request = urllib.request.Request(f"{self.url}/_emulator/reset", method="POST")
        urllib.request.urlopen(request, timeout=60).close()


@pytest.fixture(scope="session")
def emulator() -> Iterator[Store]:
    """A running emulator."""
    command = [sys.executable, "-m", "kvsync", "emulate", "azure-appconfig", "--port", "0"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, env=environment, text=True, **pipes) as process:  # type: ignore[call-overload]
        ready = json.loads(process.stdout.readline())
        yield Store(ready["url"], ready["env"])
        process.terminate()


@pytest.fixture
def store(emulator: Store) -> Store:
    """The store, empty."""
    emulator.reset()
    return emulator


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """The repository."""
    return Project(tmp_path)


@pytest.fixture
def machines(tmp_path: Path, store: Store) -> Iterator[Machines]:
    """What runs the jobs, with a code host that has no comments yet."""
    folder = tmp_path / "machines"
    folder.mkdir()
    with serving(CodeHost(), folder / "forge") as code_host:
        yield Machines(folder, code_host, store.env | {"KVSYNC_STATE_KEY": KEY, "API_TOKEN": "hunter2-hunter2"})
