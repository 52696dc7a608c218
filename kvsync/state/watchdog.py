"""Watchdog that closes a connection when the server does not answer at all."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

from kvsync.util.background import start_thread


class _HasDescriptor(Protocol):
    def fileno(self) -> int: ...


class Watchdog:
    """Shuts the watched socket down when it was not fed in time, so that the thread that waits for it goes on with an error."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._is_running = False
        self._descriptor: int | None = None
        self._deadline, self._seconds = 0.0, 0.0
        self._closed = False
        self.has_cut = False
        """Whether the connection that is watched, or was watched last, was cut off."""

    @contextmanager
    def watching(self, connection: _HasDescriptor, seconds: float) -> Iterator[None]:
        """Inside, cut the connection off after so many seconds without `feed`."""
        with self._changed:
            if not self._is_running:
                start_thread(self._run)
                self._is_running = True
            self._descriptor, self._seconds, self.has_cut = os.dup(connection.fileno()), seconds, False
            self._deadline = time.monotonic() + seconds
        try:
            yield
        finally:
            with self._changed:
                if self._descriptor is not None:
                    os.close(self._descriptor)
                self._descriptor = None

    def feed(self) -> None:
        """Start the time again: a statement begins."""
        self._deadline = time.monotonic() + self._seconds

    def close(self) -> None:
        """End the thread. Idempotent."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _run(self) -> None:
        with self._changed:
            while not self._closed:
                left = self._deadline - time.monotonic() if self._descriptor is not None else 1.0
                if self._descriptor is not None and left <= 0:
                    self.has_cut = True
                    self._cut(self._descriptor)
                    left = 1.0
                self._changed.wait(min(max(left, 0.05), 1.0))

    @staticmethod
    def _cut(descriptor: int) -> None:
        with suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as one:
            one.shutdown(socket.SHUT_RDWR)
