"""Runs a program with bounded time and output: no shell, nothing on disk, and no orphaned processes."""

from __future__ import annotations

import os
import signal
import subprocess  # nosec B404
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread, Timer
from typing import IO, Final

from kvsync.util.values import dataclass

_MOST_ERROR: Final = 64 * 1024
"""Bytes of stderr that are read, at most."""

_PIECE: Final = 64 * 1024


class ProcessTimeout(Exception):
    """The program took longer than it may."""


class ProcessOutputTooLarge(Exception):
    """The program wrote more than it may."""


@dataclass(frozen=True, slots=True)
class ProcessResult:
    """The exit code of a program, what it wrote to stdout, and the beginning of its stderr."""

    code: int
    output: bytes
    error: bytes


def run_bounded(
    command: Sequence[str],
    data: bytes,
    environ: Mapping[str, str],
    *,
    timeout: float,
    most: int,
    folder: Path | None = None,
) -> ProcessResult:
    """Run a program with `data` on stdin, for at most `timeout` seconds and `most` bytes of stdout. Blocks.
    Raises OSError when it cannot be started, ProcessTimeout, ProcessOutputTooLarge; the program and its children are ended."""
    process = subprocess.Popen(  # noqa: S603  # callers name programs of the operator  # nosec B603
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(environ),
        cwd=folder,
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    expired = Event()
    timer = Timer(timeout, _expire, (process, expired))
    error: list[bytes] = []
    workers = [
        Thread(target=_feed, args=(process.stdin, data), daemon=True),
        Thread(target=lambda: error.append(_beginning(process.stderr)), daemon=True),
    ]
    try:
        for worker in (timer, *workers):
            worker.start()
        output = process.stdout.read(most + 1)
        if len(output) > most:
            raise ProcessOutputTooLarge
        code = process.wait()
        workers[1].join()
        if expired.is_set():
            raise ProcessTimeout
        return ProcessResult(code, output, b"".join(error))
    finally:
        timer.cancel()
        _end(process)
        process.wait()
        for worker in workers:
            worker.join()
        process.stdout.close()


def _feed(stream: IO[bytes], data: bytes) -> None:
    with suppress(OSError), stream:  # the program may end without reading
        stream.write(data)


def _beginning(stream: IO[bytes] | None) -> bytes:
    assert stream is not None
    with stream:
        kept = stream.read(_MOST_ERROR)
        while stream.read(_PIECE):
            pass
    return kept


def _expire(process: subprocess.Popen[bytes], expired: Event) -> None:
    expired.set()
    _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)
