"""Finds the Git checkout that a folder lies in, without git's own search.

git takes any folder that looks like a bare repository for one, and anyone who can push can commit such a folder next to the
configuration. Only a `.git` counts here: git never checks out a file or folder of that name.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from kvsync.errors import SourceError

_MOST_BYTES: Final = 4096


def enclosing_checkout(folder: Path) -> Path:
    """The top of the checkout that an absolute folder lies in. A submodule does not count, because a change may put one of its
    own in place of a folder. Raises SourceError when there is none, or when a symbolic link leads there."""
    tops = [parent for parent in (folder, *folder.parents) if (parent / ".git").exists()]
    if not tops:
        raise SourceError(f"{folder}: not a git repository, nor any folder above it", "use a path inside the clone")
    for part in _parts_below(tops[-1], folder):
        if part.is_symlink():
            raise SourceError(
                f"{part}: is a symbolic link, which is not followed with --as-author", "use a path without links"
            )
    return next(top for number, top in enumerate(tops) if not _is_submodule(top, tops[number + 1 :]))


def _parts_below(top: Path, folder: Path) -> Iterator[Path]:
    path = top
    for name in folder.relative_to(top).parts:
        path /= name
        yield path


def _is_submodule(top: Path, outer: list[Path]) -> bool:
    """True when the repository of a checkout is kept by one around it, as `git submodule` does."""
    file = top / ".git"
    if not file.is_file():
        return False
    with file.open("rb") as opened:
        name = opened.read(_MOST_BYTES).decode("utf-8", "surrogateescape").strip().removeprefix("gitdir:").strip()
    place = (top / name).resolve()
    return any("modules" in place.relative_to(one).parts for one in _git_folders(outer) if place.is_relative_to(one))


def _git_folders(tops: list[Path]) -> Iterator[Path]:
    return ((top / ".git").resolve() for top in tops)
