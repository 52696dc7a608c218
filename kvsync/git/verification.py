"""Checks that a commit may be used, before and after its files are written."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from kvsync.config.model import GitSource
from kvsync.git.clone import FetchedRef, Member
from kvsync.git.model import CommitRefused
from kvsync.util.beneath import FOLDER, open_beneath
from kvsync.util.escaping import clip, escape_name

MOST_MEMBERS: Final = 500_000
"""Files that one commit may hold under the path."""

MOST_FOLDERS: Final = 200
"""Folders that may lie in one another; Python removes them by recursion."""

LONGEST_PATH: Final = 2_000
"""Bytes in the path of a file; the system takes 4,096, with the folder of the state directory."""

_TAGS: Final = "refs/tags/"
_POINTER: Final = b"version https://git-lfs.github.com/spec/"
_LARGEST_POINTER: Final = 1024  # bytes


def substituted(tip: FetchedRef, tag: str, source: GitSource) -> CommitRefused | None:
    """Why a tag object, whose own name is `tag`, is not what the ref may point to; None when it is.

    A server may answer a branch with a tag of a commit that nobody reviewed, or a tag with an older one. The tag's own name,
    which its signature covers, must be the ref's.
    """
    if source.ref == tip.id:  # by its id, which covers everything
        return None
    kept = tip.name.removeprefix(_TAGS)
    if kept == tip.name:
        return CommitRefused(
            tip.id, f"{tip.name} points to a tag object instead of a commit", "check who changed the repository"
        )
    if tag != kept:
        what = f"{tip.name} points to a tag that is called {clip(escape_name(tag), 100)}"
        hint = "create an annotated tag with the name of the ref, or check who changed the repository"
        return CommitRefused(tip.id, what, hint)
    return None


def too_old(commit: str, source: GitSource) -> CommitRefused:
    """The refusal of a commit without the oldest acceptable one in its history."""
    oldest = (source.min_commit or "")[:12]
    if source.depth is not None:
        hint = f"only {source.depth} commits of history are fetched; remove source.git.depth, or name a later commit"
    else:
        hint = (
            "the branch was reset, or this is a different repository; if that is intended, change source.git.min_commit"
        )
    return CommitRefused(commit, f"commit {oldest} (source.git.min_commit) is not in its history", hint)


def refuse_members(commit: str, members: Sequence[Member] | None, source: GitSource) -> CommitRefused | None:
    """Why a commit that holds this is not used; None when it may be. An emptied repository is an accident, not a request."""
    where = f"the folder {source.path!r}" if source.path else "the repository"
    if members is None:
        return CommitRefused(commit, f"it does not contain the folder {source.path!r}", "check source.git.path")
    if not any(member.is_file for member in members):
        return CommitRefused(
            commit, f"{where} is empty", "kvsync never treats an empty folder as a request to delete everything"
        )
    size = sum(member.size for member in members)
    if size > source.max_size:
        said = f"{where} is too large: {size / 2**20:,.1f} MiB; the limit is {source.max_size / 2**20:,g} MiB"
        return CommitRefused(commit, said, "raise source.git.max_size, or set source.git.path to a smaller folder")
    if len(members) > MOST_MEMBERS:
        return CommitRefused(
            commit, f"{where} contains more than {MOST_MEMBERS:,} files", "set source.git.path to a smaller folder"
        )
    return _refuse_paths(commit, members)


def _refuse_paths(commit: str, members: Sequence[Member]) -> CommitRefused | None:
    paths = [member.path for member in members]
    deepest = max(paths, key=lambda path: path.count("/"))
    if deepest.count("/") > MOST_FOLDERS:
        said = f"{_shown(deepest)}: its folders are nested deeper than {MOST_FOLDERS} levels"
        return CommitRefused(commit, said, "move the file, or set source.git.path to another folder")
    longest = max(paths, key=lambda path: len(os.fsencode(path)))
    if len(os.fsencode(longest)) > LONGEST_PATH:
        said = f"{_shown(longest)}: its path has more than {LONGEST_PATH:,} bytes"
        return CommitRefused(commit, said, "rename the file, or set source.git.path to another folder")
    return None


def _shown(path: str) -> str:
    return clip(escape_name(path), 100)


def refuse_pointers(commit: str, members: Sequence[Member], root: Path) -> CommitRefused | None:
    """Why a commit is not used some of whose files represent others that are not in Git: their text is nobody's value."""
    with _opened(root) as handle:
        found = [member.path for member in members if _is_pointer(handle, member)]
    if not found:
        return None
    some = ", ".join(map(_shown, found[:3])) + (f" and {len(found) - 3:,} more" if len(found) > 3 else "")
    return CommitRefused(
        commit,
        f"{some}: stored in Git LFS, which kvsync does not support",
        "set source.git.path to a folder without them, or store them in Git",
    )


def drop_submodules(members: Sequence[Member], root: Path) -> None:
    """Remove the empty folders that represent submodules: a reference to one is an error then, not a folder without files."""
    with _opened(root) as handle:
        for member in members:
            if member.is_submodule:
                folder, _, name = member.path.rpartition("/")
                with suppress(OSError), _opened_beneath(handle, folder) as parent:
                    os.rmdir(name, dir_fd=parent)


def _is_pointer(root: int, member: Member) -> bool:
    if not member.is_file or not len(_POINTER) < member.size < _LARGEST_POINTER:
        return False
    with suppress(OSError), _opened_beneath(root, member.path, os.O_RDONLY | os.O_NONBLOCK) as file:
        return os.read(file, len(_POINTER)) == _POINTER
    return False


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, FOLDER | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _opened_beneath(root: int, path: str, flags: int = FOLDER) -> Iterator[int]:
    """A hand-made commit may hold a link and a folder of one name: no link on the way is followed. Raises OSError."""
    descriptor = open_beneath(root, path, flags)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
