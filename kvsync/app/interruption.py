"""Signals that end a command early, after the batch in flight."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from kvsync.daemon.signals import Stop, handling


@contextmanager
def interruptible() -> Iterator[Stop]:
    """Take SIGTERM and SIGINT, until the end of the block, as a request to stop. `reason` then names the signal."""
    stop = Stop()
    with handling(stop.callbacks):
        yield stop
