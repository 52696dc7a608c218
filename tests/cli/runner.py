"""Runs the real command in processes forked from one that has already imported kvsync, which saves the start-up time.

tests ──(arguments, environment, folder, umask, stdin, stdout, stderr)──► server ──fork──► kvsync ──► exit code
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import NamedTuple

import kvsync

ROOT = Path(__file__).resolve().parents[2]
_MOST = 1 << 20
_NOT_FOR_COMMANDS = ("kvsync.__main__", "kvsync.testing", "kvsync.emulators")


class Job(NamedTuple):
    """What to run, and how."""

    arguments: list[str]
    folder: str
    env: dict[str, str]
    seconds: int
    umask: int


class Runner:
    """The test's side of the server. Commands run one after the other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with other:
            command = [sys.executable, "-m", "tests.cli.runner", str(other.fileno())]
            self._server = subprocess.Popen(command, cwd=ROOT, pass_fds=[other.fileno()])

    def run(
        self, arguments: Sequence[str], folder: Path, env: Mapping[str, str], seconds: int = 0
    ) -> tuple[int, str, str]:
        """Run `kvsync` with nothing to read: its exit code, stdout and stderr. `seconds` is the time after which it is ended by
        SIGALRM (0: never); the exit code is then negative."""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, Path(os.devnull).open("rb") as nothing:
            request = json.dumps(Job(list(arguments), str(folder), dict(env), seconds, _umask())).encode()
            with self._lock:
                socket.send_fds(self._socket, [request], [file.fileno() for file in (nothing, out, err)])
                answer = self._socket.recv(64)
            for file in (out, err):
                file.seek(0)
            return int(answer), out.read().decode(), err.read().decode()

    def close(self) -> None:
        """End the server."""
        self._socket.close()
        self._server.wait(60)


@cache
def shared_runner() -> Runner:
    """The runner of this process, started when it is first needed."""
    made = Runner()
    atexit.register(made.close)
    return made


def run_command(
    arguments: Sequence[str], folder: Path, env: Mapping[str, str] | None = None, *, code: int | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `kvsync` in a folder; with `code`, insist on its exit code."""
    found, out, err = shared_runner().run(arguments, folder, os.environ if env is None else env)
    assert "Traceback" not in err, err
    assert code is None or found == code, f"exit code {found}\n{out}\n{err}"
    return subprocess.CompletedProcess(arguments, found, out, err)


def _umask() -> int:
    umask = os.umask(0o077)
    os.umask(umask)
    return umask


def serve(connection: socket.socket) -> None:
    """Run what is asked until the other side hangs up."""
    while True:
        request, descriptors, _, _ = socket.recv_fds(connection, _MOST, 3)
        if not request:
            return
        child = os.fork()
        if child == 0:
            connection.close()
            _become(descriptors, Job(*json.loads(request)))
        for descriptor in descriptors:
            os.close(descriptor)
        _, status = os.waitpid(child, 0)
        connection.send(str(os.waitstatus_to_exitcode(status)).encode())


def _become(descriptors: Sequence[int], job: Job) -> None:
    """Be `kvsync` from here on."""
    from kvsync.__main__ import main

    signal.alarm(job.seconds)
    os.umask(job.umask)
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(job.folder)
    os.environ.clear()
    os.environ.update(job.env)
    sys.argv = ["kvsync", *job.arguments]
    try:
        code = main()
    except SystemExit as error:  # how click ends after it has answered a shell
        code = error.code if isinstance(error.code, int) else 0
    sys.stdout.flush()
    os._exit(code)


def _import_everything() -> None:
    """Import what commands import where they use it, once for all of them."""
    packages = walk_packages(kvsync.__path__, "kvsync.")
    for name in (package.name for package in packages if not package.name.startswith(_NOT_FOR_COMMANDS)):
        import_module(name)


if __name__ == "__main__":
    _import_everything()
    with socket.socket(fileno=int(sys.argv[1])) as other_side:
        serve(other_side)
