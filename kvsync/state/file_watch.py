"""Checks that a file which is in use is still the one that was opened."""

from __future__ import annotations

from pathlib import Path


class WatchedFile:
    """A file in use, which need not exist yet. Only its status is read: closing a descriptor of a SQLite file would release the
    locks of this process. It never shrinks below `least` bytes; `cure` says what to do if it did."""

    def __init__(self, file: Path, least: float, cure: str) -> None:
        self._file, self._least, self._cure = file, least, cure
        self._identity: tuple[int, int] | None = None
        self._size = 0
        self.modified = 0
        """When it was last written to, as seen by the last look (nanoseconds since the epoch)."""
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
        if status.st_size < min(self._size, self._least):
            return self.overwritten()
        self._identity, self._size, self.modified = (status.st_dev, status.st_ino), status.st_size, status.st_mtime_ns
        return None

    def overwritten(self) -> str:
        """The message for a file that is the same, but does not hold what was written to it."""
        return f"{self._file.name} was truncated or overwritten while in use; {self._cure}"

    def _removed(self) -> str:
        return f"{self._file.name} was removed or replaced while in use; restart kvsync"
