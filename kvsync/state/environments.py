"""The state of each environment: a directory of its own below the state directory, so that environments do not mix.

key                  shared, so that a saved plan and marks do not depend on who made them
environments/prod    journal, ledger, pauses, approvals, lock and caches of the environment prod

Earlier versions kept the state of all environments in the state directory itself. An environment without a directory begins
with a copy of that.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

from kvsync.config.protected import ENVIRONMENTS
from kvsync.errors import LockHeld
from kvsync.state.directory import StateDir
from kvsync.state.sqlite_database import sqlite_errors
from kvsync.state.tables import PARKED

_DATABASE: Final = "state.db"
_ADOPTING: Final = ".new"
"""End of the name of a directory that is not complete yet."""


def open_environment(
    root: Path, environment: str, opened: Callable[[Path, bool], StateDir], *, needed: bool
) -> StateDir:
    """Open the state of an environment. `root` is the state directory, as `trust.find` returns it. `opened` opens a directory;
    its second argument says whether that may be read only. Raises LockHeld if an earlier version still uses the state that is
    to be copied and writing is `needed`, StateDirError."""
    own = root / ENVIRONMENTS / environment
    is_new = not own.exists()
    if not _has_state(own) and _has_state(root) and not _is_copied(root, own, opened, needed=needed):
        found = opened(root, False)
    else:
        found = opened(own, True)
    if is_new and own.exists():
        _chown_to_owner(root, own)
    found.share_root(root)
    return found


def _chown_to_owner(root: Path, own: Path) -> None:
    """Let what root made belong to the user whose state directory it is in."""
    owner = root.stat()
    if os.geteuid() == 0 != owner.st_uid:
        with sqlite_errors(own):
            for path in (own.parent, own, *own.rglob("*")):
                os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def _is_copied(root: Path, own: Path, opened: Callable[[Path, bool], StateDir], *, needed: bool) -> bool:
    """Copy the state of an earlier version; False if that is not possible now, and not `needed`."""
    try:
        with opened(root, True) as former:
            if not former.keeps_caches:  # only read
                return False
            with former.lock("kvsync"):
                _copy(former, own, opened)
    except LockHeld:
        if needed:
            raise
        return False
    return True


def _copy(former: StateDir, own: Path, opened: Callable[[Path, bool], StateDir]) -> None:
    """Copy all but approvals, which hold for one environment, into a directory that has its name only when it is complete."""
    from kvsync.state.copying import copy  # once in the life of a directory

    making = own.with_name(f"{own.name}{_ADOPTING}")
    with sqlite_errors(making):
        if making.exists():
            shutil.rmtree(making)
        if _has_state(own):
            return
        with opened(making, True) as begun:
            begun.share_root(former.path)
            copy(former, begun, dry_run=False)
            with begun.database.transaction(durable=True) as statements:
                statements.execute(f"DELETE FROM {PARKED.name}")  # noqa: S608 - constants
        if own.exists():  # a directory without a state: left by an open that failed
            shutil.rmtree(own)
        making.rename(own)


def _has_state(folder: Path) -> bool:
    return (folder / _DATABASE).exists()
