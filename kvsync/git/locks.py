"""File lock that one process holds at a time, released by the kernel when the process ends."""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from kvsync.errors import SourceError

_STEP: Final = 0.02  # seconds between two tries


@asynccontextmanager
async def held(file: Path, patience: float) -> AsyncIterator[int]:
    """Hold the lock on `file` while inside; gives its descriptor. Raises SourceError when another process has it for longer
    than `patience` seconds, OSError."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        ends = time.monotonic() + patience
        while not take(descriptor):
            if time.monotonic() >= ends:
                raise SourceError("another process is using the clone of the repository", "try again, or use --offline")
            await asyncio.sleep(_STEP)
        yield descriptor
    finally:
        os.close(descriptor)


def take(descriptor: int) -> bool:
    """Try to have the lock, now."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
