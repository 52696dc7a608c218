"""Files readable only by their owner, whatever the umask is."""

from __future__ import annotations

import os
from pathlib import Path

MODE = 0o600
"""Owner may read and write, nobody else."""


def make_private(file: Path) -> None:
    """Make an empty file where there is none; one that exists keeps its mode. Raises OSError."""
    os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, MODE))


def write_private(file: Path, data: bytes) -> None:
    """Write a file whole or not at all, in place of any that exists. Raises OSError, also for a folder in its place."""
    draft = file.with_name(f".{file.name}.{os.urandom(4).hex()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, MODE)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
        draft.replace(file)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
