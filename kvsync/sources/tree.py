"""One version of a folder, read through one handle, however links flip meanwhile.

git-sync and Kubernetes replace a whole folder by moving one symbolic link. Reading by path while that happens mixes two
versions, so all reading goes through a handle of the resolved root, each link inside is looked up once, and `changed` tells
afterwards whether anything moved on the way. A folder with a `..data` link, as Kubernetes mounts a ConfigMap, is read from
where that link leads. Links that leave the root are refused.

Paths are relative to the root, with `/`; the root is "".
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, Self

_MOST_LINKS: Final = 40
_OPEN: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # a named pipe must not hold us
_MOUNT_LINK: Final = "..data"


class UnreadableError(Exception):
    """Something in the tree cannot be read; the message says why, without the path."""


class MissingError(UnreadableError):
    """There is no such file or folder."""


class OutsideError(UnreadableError):
    """The path leaves the root."""


class Tree:
    """A context manager over one version of the folder `root`. Raises UnreadableError on entering when it is not there."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._links: dict[str, str | None] = {}
        self._stacks: dict[str, tuple[str, ...]] = {}
        self._seen: dict[str, tuple[int, int]] = {}
        self._listings: dict[str, dict[str, bool]] = {}

    def __enter__(self) -> Self:
        try:
            self.real = os.path.realpath(self._root, strict=True)
            self._handle = os.open(self.real, _OPEN | os.O_DIRECTORY)
            self._seen[""] = _identity(self._handle)
        except OSError as error:
            raise _reason(error) from None
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._handle)

    def read(self, path: str, limit: int) -> bytes:
        """The content of a file of at most `limit` bytes. Raises UnreadableError."""
        folder, _, name = path.rpartition("/")
        try:
            handle = os.open(_join(self._folder(folder)[-1], name), _OPEN, dir_fd=self._handle)
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise _reason(error) from None
            handle = self._open(self._resolve(path)[-1])
        try:
            return _read(handle, limit)
        finally:
            os.close(handle)

    def items(self, folder: str) -> Mapping[str, bool]:
        """The names in a folder, sorted, without those that begin with a dot; True for folders, and for links to folders.
        Raises UnreadableError."""
        known = self._listings.get(folder)
        if known is None:
            known = self._listings[folder] = dict(sorted(self._list(folder)))
        return known

    def physical(self, path: str) -> str:
        """The path with all links followed. Raises UnreadableError."""
        return self._resolve(path)[-1]

    @property
    def has_links(self) -> bool:
        """True when a link was met so far."""
        return any(target is not None for target in self._links.values())

    def changed(self) -> bool:
        """True when a link or a folder was replaced since it was looked at: what was read may be of two versions."""
        try:
            return (
                os.path.realpath(self._root, strict=True) != self.real
                or any(_identity(os.path.join(self.real, path)) != seen for path, seen in self._seen.items())  # noqa: PTH118
                or any(self._readlink(path) != target for path, target in self._links.items() if target is not None)
            )
        except OSError:
            return True

    def watched(self) -> Iterator[str]:
        """The absolute paths of all folders whose changes may change what was read here."""
        yield from link_parents(self._root)
        yield self.real
        for path, target in self._links.items():
            if target is not None:
                yield os.path.dirname(os.path.join(self.real, path))  # noqa: PTH118, PTH120
        for stack in self._stacks.values():
            yield from (os.path.join(self.real, path) for path in stack)  # noqa: PTH118

    def _list(self, folder: str) -> list[tuple[str, bool]]:
        physical = self._folder(folder)[-1]
        handle = self._open(physical, os.O_DIRECTORY)
        try:
            self._seen[physical] = _identity(handle)
            with os.scandir(handle) as entries:
                return [(entry.name, self._is_folder(folder, entry)) for entry in entries if entry.name[0] != "."]
        finally:
            os.close(handle)

    def _is_folder(self, folder: str, entry: os.DirEntry[str]) -> bool:
        if not entry.is_symlink():
            return entry.is_dir(follow_symlinks=False)
        return self._leads_to_folder(_join(folder, entry.name))

    def _leads_to_folder(self, path: str) -> bool:
        try:
            return stat.S_ISDIR(os.stat(self._resolve(path)[-1] or ".", dir_fd=self._handle).st_mode)
        except (OSError, UnreadableError):
            return False  # whoever reads it as a file hears what is wrong

    def _open(self, physical: str, flags: int = 0) -> int:
        try:
            return os.open(physical or ".", _OPEN | flags, dir_fd=self._handle)
        except OSError as error:
            raise _reason(error) from None

    def _folder(self, folder: str) -> tuple[str, ...]:
        known = self._stacks.get(folder)
        if known is None:
            known = self._stacks[folder] = self._resolve(folder, is_folder=True)
        return known

    def _resolve(self, path: str, *, is_folder: bool = False) -> tuple[str, ...]:
        """The physical paths of the root, of every folder on the way, and of the path itself."""
        stack, pending, hops = [self._mount("")], path.split("/")[::-1], 0
        while pending:
            part = pending.pop()
            if part in ("", "."):
                continue
            if part == "..":
                stack.pop()
                if not stack:
                    raise OutsideError("it lies outside of the folder of the configuration")
                continue
            target = self._link(_join(stack[-1], part))
            if target is None:
                physical = _join(stack[-1], part)
                stack.append(self._mount(physical) if pending or is_folder else physical)
                continue
            hops += 1
            if hops > _MOST_LINKS:
                raise UnreadableError("its links lead in a circle")
            if target.startswith("/"):
                target, stack = self._inside(target), stack[:1]
            pending.extend(target.split("/")[::-1])
        return tuple(stack)

    def _inside(self, target: str) -> str:
        if target != self.real and not target.startswith(f"{self.real}/"):
            raise OutsideError("a link leads outside of the folder of the configuration")
        return target[len(self.real) :]

    def _mount(self, physical: str) -> str:
        """Where to read a folder: itself, or behind the `..data` link of a ConfigMap mount."""
        target = self._link(_join(physical, _MOUNT_LINK))
        return _join(physical, target) if target is not None and "/" not in target else physical

    def _link(self, physical: str) -> str | None:
        if physical not in self._links:
            self._links[physical] = self._readlink(physical)
        return self._links[physical]

    def _readlink(self, physical: str) -> str | None:
        try:
            return os.readlink(physical, dir_fd=self._handle)
        except OSError:
            return None


def link_parents(path: Path) -> Iterator[str]:
    """The real folders of all symbolic links on the way to `path`: where a flip of one of them can be seen."""
    done = "/"
    pending = os.path.abspath(path).split("/")[::-1]  # noqa: PTH100  # links must stay
    for _ in range(_MOST_LINKS * 10):
        if not pending:
            return
        part = pending.pop()
        here = os.path.normpath(os.path.join(done, part))  # noqa: PTH118
        if part and os.path.islink(here):  # noqa: PTH114
            yield done
            target = os.readlink(here)  # noqa: PTH115
            done = "/" if target.startswith("/") else done
            pending.extend(target.split("/")[::-1])
        else:
            done = here


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _identity(path: str | int) -> tuple[int, int]:
    status = os.stat(path)  # noqa: PTH116  # of a path or of a handle
    return status.st_dev, status.st_ino


def _read(handle: int, limit: int) -> bytes:
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode):
        raise UnreadableError("it is not a file")
    if status.st_size > limit:
        raise UnreadableError(f"it has {status.st_size / 2**20:.1f} MiB, at most {limit / 2**20:g} MiB are read")
    try:
        data = os.read(handle, status.st_size + 1)
        if len(data) <= status.st_size:
            return data  # its end was reached
        while len(data) <= limit and (more := os.read(handle, limit)):
            data += more
    except OSError as error:
        raise _reason(error) from None
    return data


def _reason(error: OSError) -> UnreadableError:
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return MissingError("it does not exist")
    return UnreadableError(error.strerror or "it cannot be read")


def is_text(name: str) -> bool:
    """True when the name of a file is UTF-8: then it can be a key, and stand in a document."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
