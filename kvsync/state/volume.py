"""Private state directory inside a shared volume, as Kubernetes mounts one."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from kvsync.errors import LockHeld

OWN_FOLDER: Final = "kvsync"
"""The name of that directory."""

OWN_NAMES: Final = (
    "state.db", "state.db-wal", "state.db-shm", "state.db-journal", "cache.db", "cache.db-journal", "key", "lock", "control",
    "timeline", "generation", "stores", "source", ".gitignore",
)  # fmt: skip
"""What kvsync keeps in a state directory."""


def move_into(volume: Path) -> None:
    """Move what an older kvsync kept in the volume itself into the directory of its own. Only what is ours is moved, whole or,
    after a kill, by the next call. Raises LockHeld while another process writes there, OSError."""
    own, moving = volume / OWN_FOLDER, volume / f"{OWN_FOLDER}.new"
    if own.exists() or not (moving.exists() or _is_ours(volume / "state.db")):
        return
    with _lock(volume):
        moving.mkdir(mode=0o700, exist_ok=True)
        for name in OWN_NAMES:
            if _is_ours(volume / name):
                (volume / name).rename(moving / name)
        moving.rename(own)


def _is_ours(path: Path) -> bool:
    try:
        status = path.lstat()
    except OSError:
        return False
    return status.st_uid == os.geteuid() and not stat.S_ISLNK(status.st_mode)


@contextmanager
def _lock(volume: Path) -> Iterator[None]:
    descriptor = os.open(volume / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise LockHeld(str(volume), None) from None
    finally:
        os.close(descriptor)
