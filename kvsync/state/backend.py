"""Parts of the state outside its tables: the secret key, the lock, and the signal that wakes a running daemon."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Protocol

from kvsync.state import lock
from kvsync.state.keys import FILE_NAME, has_key, load_key, restore_key
from kvsync.state.sqlite_database import sqlite_errors
from kvsync.util.private_files import write_private


class StateBackend(Protocol):
    """Where the state is kept. Every method raises StateDirError."""

    @property
    def name(self) -> str:
        """What to call it, without secrets."""
        ...

    @property
    def is_shared(self) -> bool:
        """True when several machines use it at the same time."""
        ...

    def key(self) -> bytes:
        """The secret key, made on first use."""
        ...

    def take_key(self, key: bytes) -> None:
        """Use this key from now on, in place of any other."""
        ...

    def restore_key(self, key: bytes) -> bool:
        """Put the key in use back if it is gone. Returns True if it was. Raises StateDirLost if there is another one."""
        ...

    def hold(self, command: str) -> AbstractContextManager[None]:
        """Be a process that writes to stores, while inside. Raises LockHeld when another one excludes it."""
        ...

    def writer(self) -> int | None:
        """The id of the process that writes now, 0 if it is unknown; None when none does."""
        ...

    def wake(self) -> None:
        """Wake running daemons, so that they look at pauses and approvals at once."""
        ...

    def listening(self, woken: Callable[[], None]) -> AbstractContextManager[None]:
        """Inside, call `woken` from a thread when another process wakes the daemons, if that can be heard."""
        ...


class DirectoryBackend:
    """A state directory on this machine: one writing process at a time. `key_folder` is where its key is."""

    def __init__(self, path: Path, key_folder: Path | None = None) -> None:
        self._path, self._key_folder = path, key_folder or path

    @property
    def name(self) -> str:
        """The path."""
        return str(self._path)

    @property
    def is_shared(self) -> bool:
        """False."""
        return False

    def key(self) -> bytes:
        """The directory's key; one for this process alone where none can be kept. Raises StateDirError."""
        return load_key(self._key_folder)

    def take_key(self, key: bytes) -> None:
        """Write the key of another state here. A file that has it already stays as it is: in its place, a new one would leave
        the key under the other names of the old one. Raises StateDirError."""
        if not has_key(self._key_folder, key):
            with sqlite_errors(self._key_folder):
                write_private(self._key_folder / FILE_NAME, key)

    def restore_key(self, key: bytes) -> bool:
        """Write the file `key` again if it is gone. Raises StateDirLost if it holds another key."""
        return restore_key(self._key_folder, key)

    def hold(self, command: str) -> AbstractContextManager[None]:
        """Hold the directory's lock while inside. Raises LockHeld when another process does, StateDirError."""
        return lock.hold(self._path, command)

    def writer(self) -> int | None:
        """The process that holds the lock. Raises StateDirError."""
        return lock.writer_of(self._path)

    def wake(self) -> None:
        """Write to the folder that the daemon watches. Raises StateDirError."""
        control = self._path / "control"
        with sqlite_errors(self._path):
            control.mkdir(mode=0o700, exist_ok=True)
            write_private(control / "wake", f"{os.getpid()} {time.time_ns()}\n".encode())

    def listening(self, woken: Callable[[], None]) -> AbstractContextManager[None]:
        """Nothing to do: the daemon watches the folder."""
        return nullcontext()
