"""Status file of a Git source in the state directory, for other processes."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict
from hashlib import blake2b
from pathlib import Path
from typing import Final

from kvsync.git.model import Status
from kvsync.util.private_files import write_private

FOLDER: Final = "source"
"""Where in the state directory the clone and all that belongs to it lies."""


def _file(url: str, ref: str) -> str:
    """The name of the file; environments can follow different refs."""
    followed = f"{url}\0{ref}"
    return f"{blake2b(followed.encode(), digest_size=8).hexdigest()}.json"


def read_status(state_dir: Path, url: str, ref: str) -> Status | None:
    """What the last fetch of this ref of this repository left; None when there was none, or it cannot be read."""
    with suppress(OSError, ValueError, TypeError):
        status = Status(**json.loads((state_dir / FOLDER / _file(url, ref)).read_text(encoding="utf-8")))
        return status if (status.url, status.ref) == (url, ref) else None
    return None


def write_status(folder: Path, status: Status) -> None:
    """Leave it for others. A disk that is full is not a reason to stop."""
    with suppress(OSError):
        write_private(folder / _file(status.url, status.ref), json.dumps(asdict(status)).encode())


def remove_unused(folder: Path, oldest: float) -> None:
    """Remove what was left before a moment, in epoch seconds."""
    for path in folder.glob("*.json"):
        with suppress(OSError):
            if path.stat().st_mtime < oldest:
                path.unlink()
