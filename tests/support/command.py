"""The command line in a process of its own, over a SQLite store."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from tests.cli.runner import run_command

ROOT = Path(__file__).parent.parent.parent

CONFIG = """\
version: 1
owner: team-a
state: ["state/**/*.yaml"]
policy: {prune: owned}
stores: {main: {type: sqlite, path: store.db}}
"""


class Repository:
    """A folder with `kvsync.yaml`; every command is a process of its own."""

    def __init__(self, root: Path, config: str = CONFIG) -> None:
        self.root = root
        (root / "state").mkdir(parents=True, exist_ok=True)
        (root / "kvsync.yaml").write_text(config)

    def want(self, text: str, name: str = "web.yaml") -> None:
        """Write the keys of the target main/web, in YAML; they are lines of a mapping."""
        (self.root / "state" / name).write_text(f"store: main\nnamespace: web\nkeys:\n{text}")

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """What the process is given of variables."""
        return {**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1", **(more or {})}

    def run(
        self,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        through: tuple[str, ...] = (),
        code: int | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command; with `code`, insist on its exit code. `through` is a command that runs it."""
        if not through:
            return run_command(arguments, self.root, self.environment(env), code=code)
        command = [*through, sys.executable, "-m", "kvsync", *arguments]
        done = subprocess.run(
            command, cwd=self.root, env=self.environment(env), capture_output=True, text=True, timeout=60
        )
        assert "Traceback" not in done.stderr, done.stderr
        assert code is None or done.returncode == code, (done.returncode, done.stdout, done.stderr)
        return done

    def values(self) -> dict[str, str]:
        """What the store holds."""
        with closing(sqlite3.connect(self.root / "store.db")) as connection:
            return {key: bytes(value).decode() for key, value in connection.execute("SELECT key, value FROM entries")}

    def by_hand(self, *statements: str) -> None:
        """Change the store as a person with any SQLite program does."""
        with closing(sqlite3.connect(self.root / "store.db")) as connection, connection:
            for statement in statements:
                connection.execute(statement)
