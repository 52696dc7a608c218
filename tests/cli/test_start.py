"""What a command imports: starting is most of what a short one costs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import kvsync

CONFIG = """\
version: 1
owner: me
state: [state.yaml]
stores: {local: {type: sqlite, path: store.db}}
policy: {prune: owned}
"""
RUN = """\
import sys
from kvsync.__main__ import main
assert main() == 0
print(*sorted(sys.modules), file=sys.stderr)
"""
NOT_FOR_AN_UNCHANGED_TARGET = {
    "aiohttp",
    "cryptography",
    "ctypes",
    "difflib",
    "httpx",
    "kvsync.apply.engine",
    "kvsync.emulators",
    "kvsync.git.source",
    "kvsync.http.client",
    "kvsync.ledger.transfer",
    "kvsync.planning.plan_target",
    "random",
    "shutil",
    "structlog",
    "tempfile",
    "yaml",
}
MOST_MODULES = 290
"""Modules of kvsync that a plan of an unchanged target may import."""


def test_a_plan_of_an_unchanged_target_imports_only_what_it_uses(tmp_path: Path) -> None:
    """No HTTP, Git, YAML library or logging, nothing that compares, classifies or applies, and nothing that only Git needs."""
    (tmp_path / "kvsync.yaml").write_text(CONFIG)
    (tmp_path / "state.yaml").write_text("store: local\nnamespace: web\nkeys: {a: 1}\n")
    for arguments in (("apply", "--yes"), ("plan",), ("plan",)):  # the first one remembers that nothing differs
        command = [sys.executable, "-c", RUN, *arguments]
        environ = os.environ | {"PYTHONPATH": str(Path(kvsync.__file__).parents[1])}  # this tree, whatever is installed
        done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    imported = done.stderr.split()
    assert NOT_FOR_AN_UNCHANGED_TARGET & set(imported) == set()
    assert sum(name.partition(".")[0] == "kvsync" for name in imported) <= MOST_MODULES
