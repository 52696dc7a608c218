"""Secret key of a state directory, which seals sensitive fingerprints."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from kvsync.errors import StateDirError, StateDirLost
from kvsync.state.sqlite_database import sqlite_errors

FILE_NAME = "key"
KEY_BYTES = 32


def load_key(state_dir: Path) -> bytes:
    """The key of this directory, made first where there is none; one for this process alone where none can be kept.

    Raises StateDirError when there is a key that cannot be used.
    """
    file = state_dir / FILE_NAME
    with sqlite_errors(state_dir), suppress(FileNotFoundError, NotADirectoryError):
        return _checked(file.read_bytes(), state_dir)
    key = os.urandom(KEY_BYTES)
    try:
        _keep(key, file)
    except FileExistsError:  # another process was quicker
        with sqlite_errors(state_dir):
            return _checked(file.read_bytes(), state_dir)
    except OSError:
        return key
    return key


def has_key(state_dir: Path, key: bytes) -> bool:
    """True if the file of this directory holds this key."""
    with suppress(OSError):
        return (state_dir / FILE_NAME).read_bytes() == key
    return False


def restore_key(state_dir: Path, key: bytes) -> bool:
    """Put the key in use back if its file is gone. Returns True if it was put back. Raises StateDirLost if there is another
    key: what this process seals could not be compared by any other."""
    file = state_dir / FILE_NAME
    try:
        if file.read_bytes() == key:
            return False
    except FileNotFoundError:
        with suppress(OSError):  # a directory that cannot be written, or another process was quicker
            _keep(key, file)
            return True
        return False
    except OSError:
        return False
    raise StateDirLost(
        str(state_dir), "key was replaced while in use; restore it, or restart kvsync to use the new one"
    )


def _checked(key: bytes, state_dir: Path) -> bytes:
    if len(key) != KEY_BYTES:
        wrong = f"key is damaged ({len(key)} bytes, {KEY_BYTES} expected)"
        cure = "restore it, or delete it; after that, sensitive entries show as changed once"
        raise StateDirError(str(state_dir), f"{wrong}; {cure}")
    return key


def _keep(key: bytes, file: Path) -> None:
    """Put the key in place, whole or not at all. Raises FileExistsError when there is one already."""
    draft = file.with_name(f"{FILE_NAME}.{os.getpid()}.{os.urandom(4).hex()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(key)
            stream.flush()
            os.fsync(stream.fileno())
        os.link(draft, file)
    finally:
        draft.unlink(missing_ok=True)
