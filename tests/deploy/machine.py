"""A booted machine with systemd and an installed kvsync, to be looked into from outside."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.deploy.parts import PATIENCE, ROOT, must, run

_BOOT = ("--boot", "--quiet", "--register=no", "--keep-unit", "--private-network", "--console=pipe")
_DEPLOY = ROOT / "deploy/systemd"


def install(root: Path, wheels: Path) -> None:
    """Install kvsync and its units into a system, as docs/systemd.md says, from wheels."""
    inside = ("systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "-D", root, f"--bind-ro={wheels}:/wheels")
    must(*inside, "python3", "-m", "venv", "/opt/kvsync")
    must(*inside, "/opt/kvsync/bin/pip", "install", "--quiet", "--no-index", "--find-links=/wheels", "kvsync[emulate]")
    for unit in _DEPLOY.glob("*kvsync*.*"):
        shutil.copy(unit, root / "etc/systemd/system")


class Machine:
    """The machine, by the process id of its init."""

    def __init__(self, init: int, root: Path) -> None:
        self._enter = ("nsenter", "-t", str(init), "--all", "env", "-i", "PATH=/usr/sbin:/usr/bin")
        self.root = root

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the machine, as root, whatever its exit code."""
        return run(*self._enter, *command)

    def must(self, *command: str) -> str:
        """Run a command in the machine that has to work. Gives its output without the last newline."""
        return must(*self._enter, *command).rstrip("\n")

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file of the machine."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)

    def show(self, unit: str, name: str) -> str:
        """A property of a unit."""
        return self.must("systemctl", "show", "--value", "-p", name, unit)

    def journal(self, unit: str) -> str:
        """What a unit has logged."""
        self.run("journalctl", "--sync")
        return self.must("journalctl", "-u", unit, "-o", "cat", "--no-pager")

    def until(self, happened: Callable[[], bool], unit: str) -> None:
        """Wait for something that is bound to happen to a unit."""
        deadline = time.monotonic() + PATIENCE
        while not happened():
            assert time.monotonic() < deadline, (
                self.run("systemctl", "status", unit).stdout + self.journal(unit)[-4000:]
            )
            time.sleep(0.1)

    def until_shows(self, unit: str, name: str, *wanted: str) -> None:
        """Wait until a property of a unit has one of these values."""
        self.until(lambda: self.show(unit, name) in wanted, unit)


@contextmanager
def booted(root: Path) -> Iterator[Machine]:
    """Boot a system in a folder; its plug is pulled in the end."""
    with (root.parent / "console").open("wb") as console:
        nspawn = subprocess.Popen(
            ["systemd-nspawn", *_BOOT, "-D", str(root)], stdin=subprocess.DEVNULL, stdout=console, stderr=console
        )
    init = None
    try:
        init = _init_of(nspawn, root.parent / "console")
        machine = Machine(init, root)
        _await_boot(machine)
        yield machine
    finally:
        os.kill(init or nspawn.pid, signal.SIGKILL)  # with its first process all of a machine ends
        nspawn.wait(PATIENCE)


def _init_of(nspawn: subprocess.Popen[bytes], console: Path) -> int:
    children = Path(f"/proc/{nspawn.pid}/task/{nspawn.pid}/children")
    deadline = time.monotonic() + PATIENCE
    while nspawn.poll() is None and time.monotonic() < deadline:
        for child in children.read_text().split():
            if Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                return int(child)
        time.sleep(0.05)
    raise AssertionError(f"no system came up:\n{console.read_text(errors='replace')[-4000:]}")


def _await_boot(machine: Machine) -> None:
    deadline = time.monotonic() + PATIENCE
    answers: Sequence[str] = ("running", "degraded")
    while (state := machine.run("systemctl", "is-system-running").stdout.strip()) not in answers:
        assert time.monotonic() < deadline, state
        time.sleep(0.1)
