"""What the contract says and a person can see: the real command, in a folder of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.runner import run_command

ROOT = Path(__file__).parent.parent
CONFIGURATION = """\
version: 1
owner: tester
stores: {local: {type: sqlite, path: store.db}}
policy: {prune: owned}
"""


class Folder:
    """A folder with a configuration, and the command run in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "state").mkdir()
        self.write("kvsync.yaml", CONFIGURATION)

    def write(self, name: str, text: str) -> None:
        """Write one of its files."""
        (self.root / name).write_text(text, encoding="utf-8")

    def keys(self, text: str) -> None:
        """Let the only state file ask for these keys, a flow mapping."""
        self.write("state/web.yaml", f"store: local\nnamespace: web\nkeys: {text}\n")

    def run(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run the command to its end, with nobody to ask."""
        env = {name: value for name, value in os.environ.items() if not name.startswith("KVSYNC_")}
        return run_command(arguments, self.root, env, code=code)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """A folder in which nothing was applied yet."""
    return Folder(tmp_path)


def test_no_terminal_code_gets_out_of_a_message(folder: Folder) -> None:
    """A key that holds terminal codes is quoted escaped when something is wrong with it."""
    folder.keys('{"\\e[31mred": null}')
    assert folder.run("validate", code=78).stderr.startswith(r"state/web.yaml:3:21: keys.\x1b[31mred: ")


def test_closed_streams_stop_nothing(folder: Folder) -> None:
    """Started without stdin, stdout and stderr, as some supervisors do, a command does its work."""
    folder.keys("{a: 1}")
    command = f'"{sys.executable}" -m kvsync apply --yes <&- >&- 2>&-'
    done = subprocess.run(command, shell=True, cwd=folder.root, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=False)
    assert done.returncode == 0
    assert "1 unchanged" in folder.run("plan").stdout
