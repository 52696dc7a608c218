"""Worktrees with the files of one commit, owned by one process and deleted with it.

A folder is never used by a process that did not fill it: after a crash nobody knows whether its files reached the disk. The
owner keeps a lock on it; what nobody locks is left over, and removed.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from kvsync.git.locks import take


class Worktree:
    """A folder that this process fills: `files` is where a commit goes, `root` the part of it that the state files are in, and
    `index` the place of git's own notes about them."""

    def __init__(self, path: Path, descriptor: int, inside: str) -> None:
        self._path, self._descriptor = path, descriptor
        self.files, self.index = path / "files", path / "index"
        self.root = self.files / inside

    @classmethod
    def make(cls, folder: Path, commit: str, inside: str) -> Worktree:
        """An empty folder under `folder`, locked. To be called, as `sweep`, by one process at a time. Raises OSError."""
        folder.mkdir(mode=0o700, exist_ok=True)
        path = Path(tempfile.mkdtemp(prefix=f"{commit[:12]}-", dir=folder))
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        take(descriptor)
        tree = cls(path, descriptor, inside)
        tree.files.mkdir()
        return tree

    def remove(self) -> None:
        """Remove the folder. Idempotent."""
        if self._descriptor >= 0:
            shutil.rmtree(self._path, ignore_errors=True)
            os.close(self._descriptor)
            self._descriptor = -1


def sweep(folder: Path) -> None:
    """Remove the folders of processes that were killed."""
    for path in [entry for entry in folder.iterdir() if entry.is_dir()] if folder.is_dir() else []:
        with suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                if take(descriptor):
                    shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(descriptor)
