"""What machines and images are made of: a small Debian, and the wheels of kvsync."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SUITE = "trixie"
PYTHON = "3.13"
"""The Python of that Debian."""

PATIENCE = 60.0
"""Seconds after which something that should have happened has not; far more than it takes."""


def run(*command: str | Path, timeout: float = 300, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a command and wait for it, whatever its exit code."""
    return subprocess.run(
        list(map(str, command)),
        env=os.environ | environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def must(*command: str | Path, timeout: float = 300, **environ: str) -> str:
    """Run a command that has to work. Gives what it wrote to stdout."""
    done = run(*command, timeout=timeout, **environ)
    assert done.returncode == 0, (
        f"{command[0]} failed with {done.returncode}:\n{done.stdout[-4000:]}{done.stderr[-4000:]}"
    )
    return done.stdout


def need(commands: Sequence[str]) -> None:
    """Skip, saying what would help, unless this machine can boot systems and build images."""
    missing = [command for command in commands if shutil.which(command) is None]
    if os.geteuid() != 0:
        pytest.skip("needs root: sudo make test-system")
    if missing:
        pytest.skip(f"needs {', '.join(missing)}: scripts/system_tools.sh installs them on Debian")


@contextmanager
def large(folder: Path) -> Iterator[Path]:
    """A folder that is too large to be kept for a look afterwards, as pytest would."""
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def debian(folder: Path) -> Path:
    """A Debian with systemd, Python and nothing that is not needed, as a folder. Skips where the mirror is not reached."""
    packages = "systemd,systemd-sysv,dbus,python3,python3-venv,ca-certificates"
    done = run("mmdebstrap", "--quiet", "--variant=minbase", f"--include={packages}", SUITE, folder)
    if done.returncode:
        pytest.skip(f"no Debian {SUITE} could be bootstrapped: {done.stderr.strip()[-500:]}")
    return folder


def wheels(folder: Path) -> Path:
    """kvsync, what it needs and what builds it, as wheels for the Python of that Debian."""
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    pins = [
        argument for name in ("", "-build", "-installer") for argument in ("-r", str(ROOT / f"requirements{name}.txt"))
    ]
    choice = ("--only-binary=:all:", "--python-version", PYTHON)
    must(*pip, "download", "--require-hashes", *choice, "-d", folder, *pins)
    must(*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", folder, ROOT)
    return folder
