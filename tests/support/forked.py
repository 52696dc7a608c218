"""Real commands as processes that can be watched, signalled and killed, any number at a time: they are forked off one that has
imported kvsync, so that they start at once.

tests ──(arguments, environment, folder, reply, stdin, stdout, stderr)──► server ──fork──► kvsync
                                        reply ◄──(process id, exit code)── server
"""

from __future__ import annotations

import json
import os
import select
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import Any, BinaryIO, cast

import kvsync
from tests.support.command import ROOT

MOST = 1 << 20
"""Bytes of a request."""
_NOT_FOR_COMMANDS = ("kvsync.__main__", "kvsync.testing", "kvsync.emulators")


class ForkedCommand:
    """A command that runs: its process, and what it has said so far."""

    def __init__(self, connection: socket.socket, out: BinaryIO, err: BinaryIO) -> None:
        self._connection, self._out, self._err = connection, out, err
        self.pid = int(connection.recv(64))

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, if it has not ended."""
        if not self.has_ended():
            with suppress(ProcessLookupError):  # it ends just now
                os.kill(self.pid, number)

    def has_ended(self) -> bool:
        """Whether it need not be waited for."""
        return bool(select.select([self._connection], [], [], 0)[0])

    def said(self) -> tuple[str, str]:
        """Its stdout and stderr so far."""
        out, err = (os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0) for file in (self._out, self._err))
        return out.decode("utf-8", "replace"), err.decode("utf-8", "replace")

    def wait(self) -> tuple[int, str, str]:
        """Its exit code (negative where a signal ended it), stdout and stderr."""
        with self._connection, self._out, self._err:
            answer = self._connection.recv(64)
            return int(answer), *self.said()


class ForkServer:
    """The test's side of the server."""

    def __init__(self, prepare: str, **environ: str) -> None:
        """`prepare` names a module whose `prepare()` each process calls before it becomes a command; `environ` is added to the
        environment of the server, of which the processes are copies."""
        self._socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with other:
            command = [sys.executable, "-m", "tests.support.forked", str(other.fileno()), prepare]
            self._server = subprocess.Popen(command, cwd=ROOT, pass_fds=[other.fileno()], env=os.environ | environ)

    def start(self, arguments: Sequence[str], folder: Path, env: Mapping[str, str], seconds: int = 0) -> ForkedCommand:
        """Start `kvsync` with nothing to read. `seconds` is the time after which it is ended by SIGALRM (0: never)."""
        out, err = (cast(BinaryIO, tempfile.TemporaryFile()) for _ in range(2))  # noqa: SIM115 - the command closes them
        here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with there, Path(os.devnull).open("rb") as nothing:
            request = json.dumps([list(arguments), str(folder), dict(env), seconds]).encode()
            files = [there.fileno(), *(file.fileno() for file in (nothing, out, err))]
            self.hand_over(request, files)
        return ForkedCommand(here, out, err)

    def hand_over(self, request: bytes, files: Sequence[int]) -> None:
        """Start `kvsync` as a request says: JSON of arguments, folder, environment and seconds. `files` are where its process
        id and exit code go, and its stdin, stdout and stderr."""
        socket.send_fds(self._socket, [request], files)

    def close(self) -> None:
        """End the server."""
        self._socket.close()
        self._server.wait(60)


def serve(connection: socket.socket, prepare: Callable[[], None]) -> None:
    """Run what is asked until the other side hangs up."""
    with selectors.DefaultSelector() as selector:
        selector.register(connection, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.data is not None:
                    selector.unregister(key.fileobj)
                    _report(key.fd, *key.data)
                    continue
                request, descriptors, _, _ = socket.recv_fds(connection, MOST, 4)
                if not request:
                    return
                pid, reply = _start(connection, json.loads(request), descriptors, prepare)
                selector.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, reply))


def _start(
    connection: socket.socket, request: list[Any], descriptors: list[int], prepare: Callable[[], None]
) -> tuple[int, socket.socket]:
    """Fork a process for a request: its id, and where to report its end."""
    reply, files = socket.socket(fileno=descriptors[0]), descriptors[1:]
    pid = os.fork()
    if pid == 0:
        for one in (connection, reply):
            one.close()
        prepare()
        _become(files, *request)
    for file in files:
        os.close(file)
    reply.send(str(pid).encode())
    return pid, reply


def _report(descriptor: int, pid: int, reply: socket.socket) -> None:
    """Report the end of a process."""
    os.close(descriptor)
    _, status = os.waitpid(pid, 0)
    with reply, suppress(OSError):  # whoever started it may be gone
        reply.send(str(os.waitstatus_to_exitcode(status)).encode())


def _become(descriptors: Sequence[int], arguments: list[str], folder: str, env: dict[str, str], seconds: int) -> None:
    """Be `kvsync` from here on."""
    from kvsync.__main__ import main

    signal.alarm(seconds)
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    # Made again, because streams remember what kind of file they were opened on.
    sys.stdin, sys.stdout = open(0, closefd=False), open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = ["kvsync", *arguments]
    try:
        code = main()
    except SystemExit as error:  # how click ends after it has answered a shell
        code = error.code if isinstance(error.code, int) else 0
    sys.stdout.flush()
    os._exit(code)


if __name__ == "__main__":
    for package in walk_packages(kvsync.__path__, "kvsync."):
        if not package.name.startswith(_NOT_FOR_COMMANDS):
            import_module(package.name)
    with socket.socket(fileno=int(sys.argv[1])) as other_side:
        serve(other_side, import_module(sys.argv[2]).prepare)
