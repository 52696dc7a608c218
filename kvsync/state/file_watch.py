"""Checks that a file which is in use is still the one that was opened."""

from __future__ import annotations

from pathlib import Path


class WatchedFile:
    """A file in use, which need not exist yet. Only its status is read: closing a descriptor of a SQLite file would release the
    locks of this process. One that `grows` never becomes smaller."""

    def __init__(self, file: Path, *, grows: bool = False) -> None:
        self._file, self._grows = file, grows
        self._identity: tuple[int, int] | None = None
        self._size = 0
        self.find_loss()

    def find_loss(self) -> str | None:
        """What happened to the file since the last look, and what to do; None if it is intact, or cannot be examined."""
        try:
            status = self._file.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None if self._identity is None else self._removed()
        except OSError:  # the next statement reports why
            return None
        if self._identity not in (None, (status.st_dev, status.st_ino)):
            return self._removed()
        if self._grows and status.st_size < self._size:
            return f"{self._file.name} was truncated or overwritten while in use; stop kvsync, restore the file or move it away"
        self._identity, self._size = (status.st_dev, status.st_ino), status.st_size
        return None

    def _removed(self) -> str:
        return f"{self._file.name} was removed or replaced while in use; restart kvsync"
