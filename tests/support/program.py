"""A program `kvsync` for the shells that tests run. It starts at once: each call is a process forked off one that has imported
kvsync.

shell ──► kvsync (a small script) ──(arguments, folder, environment, stdin, stdout, stderr)──► tests ──► fork server
                    └──◄── process id, exit code ──◄────────────────────────────────────────────────────────┘
"""

from __future__ import annotations

import atexit
import os
import shutil
import socket
import sys
import tempfile
import threading
from contextlib import suppress
from functools import cache
from pathlib import Path

from tests.support.forked import MOST, ForkServer

SCRIPT = """\
#!{python} -ISE
import json, os, signal, socket, sys
with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as tests:
    tests.connect({address!r})
    request = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ), 0]).encode()
    socket.send_fds(tests, [request], [0, 1, 2])
    pid = int(tests.recv(64))
    for one in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(one, lambda number, frame: os.kill(pid, number))
    code = int(tests.recv(64))
if code < 0:
    signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
sys.exit(code)
"""


def prepare() -> None:
    """Nothing: a call is `kvsync` as it is."""


class Program:
    """Serves the calls of the scripts that `write` makes, until it is closed."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="program-"))
        self._server = ForkServer("tests.support.program")
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listening.bind(str(self._folder / "socket"))
        self._listening.listen(64)
        threading.Thread(target=self._serve, daemon=True).start()

    def write(self, folder: Path) -> None:
        """Write the program into a folder for programs."""
        script = folder / "kvsync"
        script.write_text(SCRIPT.format(python=sys.executable, address=str(self._folder / "socket")))
        script.chmod(0o755)

    def close(self) -> None:
        """End the server."""
        self._listening.close()
        self._server.close()
        shutil.rmtree(self._folder)

    def _serve(self) -> None:
        with suppress(OSError):  # closed
            while True:
                script, _ = self._listening.accept()
                with script:
                    request, files, _, _ = socket.recv_fds(script, MOST, 3)
                    self._server.hand_over(request, [script.fileno(), *files])
                    for file in files:
                        os.close(file)


@cache
def shared_program() -> Program:
    """The program of this process, started when it is first needed."""
    made = Program()
    atexit.register(made.close)
    return made
