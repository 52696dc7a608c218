"""Folder of a state directory on disk: finds it, makes it, and notices if its database is missing."""

from __future__ import annotations

from pathlib import Path

from kvsync.errors import StateDirError
from kvsync.state.generation import GenerationFile
from kvsync.state.sqlite_database import LOST, database_size, sqlite_errors
from kvsync.state.steady_time import FILE_NAME
from kvsync.state.trust import find


def real_directory(path: Path, config_root: Path | None, *, writable: bool) -> Path:
    """The directory to use for the one that is configured, made where it does not exist if it may be written. Raises
    StateDirUntrusted, StateDirError."""
    asked = path.absolute()
    with sqlite_errors(asked):
        return find(asked, config_root, make_folder if writable else None)


def has_lost_database(path: Path, *, replaces: bool) -> bool:
    """True if `state.db` is missing from a directory that was in use before. A caller that `replaces` it makes a new one, which
    other processes may see while it is still empty, so the sign of use is removed first. Raises StateDirError if it was
    emptied."""
    sign = path / FILE_NAME
    with sqlite_errors(path):
        size = database_size(path)
        if size or not sign.exists():
            return False
        if size is None:
            if replaces:
                sign.unlink(missing_ok=True)
                GenerationFile(path).remove()
            return True
        size = database_size(path)  # as it was when the sign was there
    if size == 0:
        raise StateDirError(str(path), f"state.db is empty, although kvsync has used it before; restore it, or {LOST}")
    return False


def make_folder(path: Path) -> None:
    """Make the directory, for its owner's eyes only and kept out of Git. Raises StateDirError."""
    with sqlite_errors(path):
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.mkdir(mode=0o700, exist_ok=True)
            (path / ".gitignore").write_text("*\n")
        (path / "control").mkdir(mode=0o700, exist_ok=True)
