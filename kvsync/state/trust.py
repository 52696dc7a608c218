"""Checks that a state directory can be trusted, because it controls approvals, ownership, and cached parsing.

It must be a real directory, belong to the user kvsync runs as, be closed to others, and hold nothing that Git tracks. Where
nothing is lost by it, kvsync helps: it closes a directory of ours, and in a volume of root's that others may write to, as
Kubernetes mounts one, it uses a closed directory of its own. Everything else is refused.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from kvsync.config.protected import ENVIRONMENTS
from kvsync.errors import StateDirUntrusted
from kvsync.state.tracked import tracked_files
from kvsync.state.volume import OWN_FOLDER, OWN_NAMES, move_into

_ROOT: Final = 0
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


def find(path: Path, config_root: Path | None, make: Callable[[Path], None] | None) -> Path:
    """The directory to use for the one that is asked for: closed to others, trusted, and made by `make` where it does not exist
    (without `make` it may be missing). `config_root` is the folder of the configuration. Raises StateDirUntrusted, LockHeld,
    OSError."""
    place = _real_path(path, config_root)
    if make is not None and not place.exists():
        make(place)
    if not os.path.lexists(place):
        return place
    status = place.lstat()
    if not stat.S_ISDIR(status.st_mode):
        raise StateDirUntrusted(str(path), "it is a file, not a directory; set another state_dir")
    if _is_open_volume(status):
        if make is not None:
            move_into(place)
        return find(place / OWN_FOLDER, None, make)
    _check_owner(place, status, config_root)
    _check_entries(place, status)
    _close_to_others(place, status)
    _check_untracked(place)
    return place


def _real_path(path: Path, config_root: Path | None) -> Path:
    """Where a path leads. Below the folder of the configuration no link is followed, since whoever writes state files may have
    made it; elsewhere those that root made are, as systemd does for `StateDirectory=`."""
    for here in (*reversed(path.parents), path):
        if here.is_symlink() and not _may_be_followed(here, path, config_root):
            raise StateDirUntrusted(
                str(path),
                f"{here} is a symbolic link; replace it with a directory, or set state_dir to the path it points to",
            )
    return Path(os.path.realpath(path))


def _may_be_followed(link: Path, path: Path, config_root: Path | None) -> bool:
    if config_root is not None and config_root in link.parents:
        return False
    if config_root is not None and (link == config_root or link in config_root.parents):
        return True  # on the way to the configuration, which is trusted as a whole
    owner = link.lstat().st_uid
    return owner == _ROOT or (owner == os.geteuid() and link != path)


def _is_open_volume(status: os.stat_result) -> bool:
    """True for a directory of root's that others may write to, when we are not root and cannot close it."""
    return status.st_uid == _ROOT != os.geteuid() and bool(status.st_mode & _OTHERS_WRITE)


def _check_owner(path: Path, status: os.stat_result, config_root: Path | None) -> None:
    ours = os.geteuid()
    if status.st_uid in (ours, _ROOT):
        return
    if (
        ours == _ROOT
        and not (config_root is not None and config_root in path.parents)
        and _is_closed_by_root(_parent(path, status))
    ):
        return  # the directory of a service, on which root runs a command
    reason = f"its owner is user id {status.st_uid}, but kvsync runs as {ours}"
    raise StateDirUntrusted(str(path), f"{reason}; run kvsync as that user, or set another state_dir")


def _parent(path: Path, status: os.stat_result) -> Path:
    """The folder that a state directory lies in. One of an environment lies deeper, in folders of the same user."""
    if path.parent.name != ENVIRONMENTS:
        return path.parent
    own = [folder.stat() for folder in (path.parent, path.parents[1])]
    is_same = all(one.st_uid == status.st_uid and not one.st_mode & _OTHERS_WRITE for one in own)
    return path.parents[2] if is_same else path.parent


def _is_closed_by_root(folder: Path) -> bool:
    status = folder.stat()
    return status.st_uid == _ROOT and not status.st_mode & _OTHERS_WRITE


def _check_entries(path: Path, status: os.stat_result) -> None:
    """See that nobody else put anything into the directory while it was open, and that none of our files is a link."""
    owners = {os.geteuid(), _ROOT, status.st_uid}
    was_open = bool(status.st_mode & _OTHERS_WRITE)
    for name, entry in _entries(path):
        if stat.S_ISLNK(entry.st_mode) and name in OWN_NAMES:
            raise StateDirUntrusted(
                str(path), f"{name} in it is a symbolic link; replace it with the file it points to"
            )
        if was_open and entry.st_uid not in owners:
            reason = f"other users can write to it, and {name!r} in it belongs to user id {entry.st_uid}"
            raise StateDirUntrusted(
                str(path), f"{reason}; delete files that do not belong to kvsync, or set another state_dir"
            )


def _entries(path: Path) -> Iterator[tuple[str, os.stat_result]]:
    with suppress(PermissionError), os.scandir(path) as entries:  # what cannot be listed is reported by who opens it
        for entry in entries:
            with suppress(FileNotFoundError):
                yield entry.name, entry.stat(follow_symlinks=False)


def _close_to_others(path: Path, status: os.stat_result) -> None:
    if not status.st_mode & _OTHERS:
        return
    try:
        path.chmod(stat.S_IMODE(status.st_mode) & stat.S_IRWXU)
    except OSError as error:
        if error.errno == errno.EROFS:
            return  # then nobody can write
    if path.lstat().st_mode & _OTHERS_WRITE:
        reason = "other users can write to it, and its mode cannot be changed"
        raise StateDirUntrusted(
            str(path), f"{reason}; run chmod 700, or set state_dir to a file system that supports modes"
        )


def _check_untracked(path: Path) -> None:
    try:
        found = tracked_files(path)
    except TimeoutError as error:
        reason = f"{error}, so kvsync cannot tell whether Git tracks files in it"
        hint = "try again, or set state_dir to a folder outside the repository"
        raise StateDirUntrusted(str(path), f"{reason}; {hint}") from None
    if found:
        reason = f"Git tracks {found[0]!r} in it, so anyone who can commit can change the state of kvsync"
        raise StateDirUntrusted(str(path), f"{reason}; run git rm -r --cached on it, and add it to .gitignore")
