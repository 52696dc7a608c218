"""Recognizes protected files by device, inode and name, whatever path leads to them.

By identity, a hard link, a bind mount or a link that is moved while files are read leads nowhere. By name, so does a file that
does not exist yet, or a name that a file system takes for another (upper case, decomposed letters, invisible characters).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import cache
from typing import Final

from kvsync.config.protected import ProtectedPath

Identity = tuple[int, int]
"""Device and inode."""

_GIT: Final = "it belongs to Git"
_GIT_NAMES: Final = frozenset({".git", "git~1"})


class Protection:
    """What is protected beneath the real folder `root`, as it was when this was made. Equal to another when nothing moved."""

    def __init__(self, paths: Iterable[ProtectedPath], root: str) -> None:
        self._identities: dict[Identity, str] = {}
        self._names: dict[str, str] = {}
        resolve = cache(os.path.realpath)  # most of the paths are in the same few folders
        for protected in paths:
            for identity in _identities(protected):
                self._identities.setdefault(identity, protected.reason)
            for name in _names(protected, root, resolve):
                self._names.setdefault(folded(name), protected.reason)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Protection) and self._identities == other._identities and self._names == other._names

    __hash__ = None  # type: ignore[assignment]

    def concerns(self, other: Protection, identities: Iterable[Identity]) -> bool:
        """True if `other` (how it was before, when none of these files and folders was protected) protects other names, or one
        of them is protected now."""
        added = self._identities.keys() - other._identities.keys()
        return self._names != other._names or bool(added and not added.isdisjoint(identities))

    def reason(self, path: str, status: os.stat_result | None = None) -> str | None:
        """Why a file or folder is never read; None when it may be. `path` is relative to the root, without links."""
        if status is not None and (known := self._identities.get((status.st_dev, status.st_ino))) is not None:
            return known
        name = folded(path)
        return self._names.get(name) or (_GIT if name.rpartition("/")[2].rstrip(". ") in _GIT_NAMES else None)


def folded(name: str) -> str:
    """One spelling for all that some file system takes for the same name."""
    if name.isascii():
        return name.lower()
    import unicodedata  # few names need it

    spelled = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", name).casefold())
    return "".join(character for character in spelled if unicodedata.category(character) != "Cf")


def _identities(protected: ProtectedPath) -> Iterator[Identity]:
    """A file or folder, links followed; of a folder also the files right in it, for the sake of hard links."""
    if protected.identity is not None:
        yield protected.identity
    with suppress(OSError):
        status = protected.path.stat()
        yield status.st_dev, status.st_ino
        if stat.S_ISDIR(status.st_mode):
            with os.scandir(protected.path) as entries:
                files = [entry.stat() for entry in entries if entry.is_file()]
            yield from ((file.st_dev, file.st_ino) for file in files)


def _names(protected: ProtectedPath, root: str, resolve: Callable[[str], str]) -> Iterator[str]:
    """The names beneath the root: as it is written, and where links lead."""
    path = os.path.normpath(protected.path)
    folder = resolve(os.path.dirname(path))  # noqa: PTH120
    found = [os.path.join(folder, os.path.basename(path))]  # noqa: PTH118, PTH119
    if path != str(protected.path) or os.path.islink(path):  # noqa: PTH114  # otherwise it leads nowhere else
        found.append(resolve(str(protected.path)))
    beneath = f"{root.rstrip('/')}/"
    yield from (name.removeprefix(beneath) for name in found if name.startswith(beneath))
