"""The daemon over a repository, as a process: what is pushed is applied."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.checkout.repos import command_lines
from tests.support.command import Repository


class Running:
    """`kvsync run` as a process, with its log."""

    def __init__(self, here: Repository, log: Path) -> None:
        self.here, self.log = here, log
        command = [sys.executable, "-m", "kvsync", "--log-format", "json", "run"]
        with log.open("w") as stream:
            self.process = subprocess.Popen(command, cwd=here.root, env=here.environment(), stderr=stream)

    def events(self, name: str) -> list[dict[str, Any]]:
        assert not [one for one in command_lines() if server.url("").encode() in one]
