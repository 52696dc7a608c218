"""Checks that a file which is in use is still the one that was opened."""

from __future__ import annotations

import os
from pathlib import Path


class WatchedFile:
    """A file in use, which need not exist yet. Only its status is read: closing a descriptor of a SQLite file would release the
    locks of this process. Its user never makes it smaller than `least` bytes; `cure` says what to do if something else did."""

    def __init__(self, file: Path, least: float, cure: str) -> None:
        self._file, self._least, self._cure = file, least, cure
        self._known: os.stat_result | None = None
        self._seen: os.stat_result | None = None
        self.check()
        self.accept()

    def check(self) -> str | None:
        """Look at the file. Returns what happened to it if it is not the accepted one any more; None if it is, or cannot be
        examined."""
        try:
            seen = self._file.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None if self._known is None else self._removed()
        except OSError:  # the next statement reports why
            return None
        if self._known is not None and not os.path.samestat(self._known, seen):
            return self._removed()
        self._seen = seen
        return None

    def accept(self) -> None:
        """Take what the last look saw as the file's content."""
        self._known = self._seen

    @property
    def has_changed(self) -> bool:
        """True if the last look saw a file that was written to since it was accepted."""
        return _version(self._known) != _version(self._seen)

    @property
    def has_shrunk(self) -> bool:
        """True if the last look saw a smaller file than its user leaves."""
        return self._seen is not None and self._known is not None and self._seen.st_size < self._smallest(self._known)

    @property
    def is_emptied(self) -> bool:
        """True if the last look saw an empty file, which had content before."""
        return self.has_shrunk and self._seen is not None and not self._seen.st_size

    def overwritten(self) -> str:
        """The message for a file that is the same, but does not hold what was written to it."""
        return f"{self._file.name} was truncated or overwritten while in use; {self._cure}"

    def _smallest(self, known: os.stat_result) -> float:
        return min(known.st_size, self._least)

    def _removed(self) -> str:
        return f"{self._file.name} was removed or replaced while in use; restart kvsync"


def _version(status: os.stat_result | None) -> tuple[int, int] | None:
    return None if status is None else (status.st_size, status.st_mtime_ns)
