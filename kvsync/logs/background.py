"""Background thread that writes log lines, so that a slow or stopped reader of the log delays nothing else."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from kvsync.util.background import start_thread

MOST_BYTES: Final = 4 * 2**20
"""Log text that waits at most; what comes then is dropped and counted."""

LAST_WORDS: Final = 1.0
"""Seconds that the end of the process waits for what is still to be written."""


class BackgroundStream:
    """A text stream for log handlers. `write` never blocks. `on_dropped` is called in the thread, with a number of writes, once
    there is room again after writes were dropped."""

    def __init__(self, descriptor: int, on_dropped: Callable[[int], None]) -> None:
        self._descriptor, self._on_dropped = os.dup(descriptor), on_dropped
        self._waiting: deque[bytes] = deque()
        self._size = self._dropped = 0
        self._changed = threading.Condition()
        self._closing = False
        start_thread(self._work)

    def write(self, text: str) -> int:
        """Have a text written, or drop it when too much waits."""
        data = text.encode("utf-8", "backslashreplace")
        with self._changed:
            if self._size + len(data) > MOST_BYTES:
                self._dropped += 1
                return len(text)
            self._waiting.append(data)
            self._size += len(data)
            self._changed.notify_all()
        return len(text)

    def flush(self) -> None:
        """Do nothing: whoever logs does not wait."""

    def close(self) -> bool:
        """Write what waits, for up to `LAST_WORDS`. Returns False when that was too short: nobody reads the log. Idempotent."""
        deadline = time.monotonic() + LAST_WORDS
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            while self._size and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(left)
            return not self._size

    def _work(self) -> None:
        while (data := self._next()) is not None:
            self._send(data)
            with self._changed:
                self._size -= len(data)
                dropped, self._dropped = self._dropped, 0
                self._changed.notify_all()
            if dropped:
                self._on_dropped(dropped)

    def _next(self) -> bytes | None:
        with self._changed:
            while not self._waiting and not self._closing:
                self._changed.wait()
            return self._waiting.popleft() if self._waiting else None

    def _send(self, data: bytes) -> None:
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:  # another process made the stream non-blocking
                time.sleep(0.01)
            except OSError:  # nobody reads it any more
                return
