"""Signals that end a command early, after the batch in flight."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from kvsync.daemon.signals import StopRequest, handling


@contextmanager
def interruptible() -> Iterator[StopRequest]:
    """Take SIGTERM and SIGINT, until the end of the block, as a request to stop. `reason` then names the signal."""
    stop = StopRequest()
    with handling(stop.callbacks):
        yield stop
