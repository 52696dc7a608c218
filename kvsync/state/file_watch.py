"""Checks that a file which is in use is still the one that was opened."""

from __future__ import annotations

import os
from pathlib import Path


class WatchedFile:
    """A file in use, which need not exist yet. Only its status is read: closing a descriptor of a SQLite file would release the
    locks of this process. Its user never makes it smaller than `least` bytes; `cure` says what to do if something else did."""

    def __init__(self, file: Path, least: float, cure: str) -> None:
        self._file, self._least, self._cure = file, least, cure
        self._name = os.fspath(file)
        self.has_changed = False
        """True if the last look saw a file that was written to since it was accepted."""
        self._known: os.stat_result | None = None
        self._seen: os.stat_result | None = None
        self.check()
        self.accept()

    def check(self) -> str | None:
        """Look at the file. Returns what happened to it if it is not the accepted one any more; None if it is, or cannot be
        examined."""
        known = self._known
        try:
            seen = os.stat(self._name)  # noqa: PTH116 - Path.stat takes twice as long, and this is asked for every transaction
        except (FileNotFoundError, NotADirectoryError):
            return None if known is None else self._removed()
        except OSError:  # the next statement reports why
            return None
        if known is None:
            self.has_changed = True
        elif (seen.st_ino, seen.st_dev) != (known.st_ino, known.st_dev):
            return self._removed()
        else:
            self.has_changed = (seen.st_size, seen.st_mtime_ns) != (known.st_size, known.st_mtime_ns)
        self._seen = seen
        return None

    def accept(self) -> None:
        """Take what the last look saw as the file's content."""
        self._known, self.has_changed = self._seen, False

    @property
    def has_shrunk(self) -> bool:
        """True if the last look saw a smaller file than its user leaves."""
        if not self.has_changed or self._seen is None or self._known is None:
            return False
        return self._seen.st_size < min(self._known.st_size, self._least)

    @property
    def is_emptied(self) -> bool:
        """True if the last look saw an empty file, which had content before."""
        return self.has_shrunk and self._seen is not None and not self._seen.st_size

    def overwritten(self) -> str:
        """The message for a file that is the same, but does not hold what was written to it."""
        return f"{self._file.name} was truncated or overwritten while in use; {self._cure}"

    def _removed(self) -> str:
        return f"{self._file.name} was removed or replaced while in use; restart kvsync"
