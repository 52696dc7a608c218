"""Consistent view of a folder, read only below its root, even if links change in the meantime.

git-sync and Kubernetes replace a whole folder by moving one symbolic link. Reading by path while that happens mixes two
versions. So each link is looked up once and followed here, by hand, and what a path comes to is opened through no link at all
(`jail`). `changed` tells afterwards whether anything moved on the way. A folder with a `..data` link, as Kubernetes mounts a
ConfigMap, is read from where that link leads.

Paths are relative to the root, with `/`; the root is "". A physical path has no links in it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Self, TypeVar

from kvsync.desired.jail import Jail, LinkError, OutsideError, ReadRules, TooMuchError, UnreadableError, reason_of
from kvsync.util.beneath import Opener, open_beneath
from kvsync.yaml.problems import quoted

_MOST_LINKS: Final = 40
_MOUNT_LINK: Final = "..data"

_Result = TypeVar("_Result")


class Tree:
    """A context manager over one version of the folder `root`. Raises UnreadableError on entering when it is not there."""

    def __init__(self, root: Path, rules: ReadRules | None = None, opener: Opener = open_beneath) -> None:
        self._root, self._rules, self._opener = root, rules or ReadRules(), opener
        self._links: dict[str, str | None] = {}
        self._stacks: dict[str, tuple[str, ...]] = {}
        self._listings: dict[str, dict[str, bool]] = {}
        self._listed_links: set[str] = set()

    def __enter__(self) -> Self:
        try:
            self.real = os.path.realpath(self._root, strict=True)
        except OSError as error:
            raise reason_of(error) from None
        self._jail = Jail(self.real, self._rules, self._opener)
        return self

    def __exit__(self, *_: object) -> None:
        self._jail.close()

    def read(self, path: str, limit: int) -> bytes:
        """The content of a file of at most `limit` bytes. Raises UnreadableError."""
        return self._use(path, lambda physical: self._jail.read(physical, limit))

    def take_stamps(self) -> dict[str, os.stat_result]:
        """The files that were read since the last call, by physical path, as they were then."""
        stamps, self._jail.stamps = self._jail.stamps, {}
        return stamps

    def size(self, path: str) -> int:
        """The size of a file in bytes; nothing of it is read. Raises UnreadableError."""
        return self._use(path, self._jail.size)

    def pieces(self, path: str, size: int) -> Iterator[bytes]:
        """The content of a file of any size, in pieces of `size` bytes. Raises UnreadableError."""

        def found(physical: str) -> str:
            self._jail.size(physical)
            return physical

        return self._jail.pieces(self._use(path, found), size)

    def insist_on_unprotected(self, path: str) -> None:
        """Raise ProtectedError for a path that is never read because of how it is called. Nothing is looked up."""
        self._jail.insist_on_unprotected(path)

    def check_allowed(self, path: str) -> None:
        """Raise OutsideError for what lies in none of the folders that values may be taken from, UnreadableError.

        Links on the way to such a folder are followed, as git-sync makes them. One in its own place is not: whoever can replace
        the folder by a link would choose what may be read."""
        if not self._rules.folders:
            return
        physical = self.physical(path)
        places = {str(folder): self._there(str(folder)) for folder in self._rules.folders}
        allowed = [place for place in places.values() if place is not None]
        if not any(not place or f"{physical}/".startswith(f"{place}/") for place in allowed):
            links = [folder for folder, place in places.items() if place and self._link(place) is not None]
            more = f"; {', '.join(links)} is a symbolic link: name the folder it leads to" if links else ""
            raise OutsideError(f"it is outside the folders that state files may read ({', '.join(places)}){more}")

    def _there(self, folder: str) -> str | None:
        """The place of a folder that values may be taken from, None while what it lies in is not there."""
        above, _, name = folder.rpartition("/")
        try:
            return _join(self._folder(above)[-1], name)
        except UnreadableError:
            return None

    def items(self, folder: str) -> Mapping[str, bool]:
        """The names in a folder, in the order of the paths beneath it; True for folders, and for links to folders. Raises
        UnreadableError."""
        known = self._listings.get(folder)
        if known is None:
            entries = self._jail.entries(self.physical_folder(folder))
            found = [(entry.name, self._is_folder(folder, entry)) for entry in entries]
            known = self._listings[folder] = dict(sorted(found, key=_path_order))
        return known

    def is_link(self, path: str) -> bool:
        """True when `path`, which `items` of its folder gave, is a symbolic link."""
        return path in self._listed_links

    def physical(self, path: str) -> str:
        """The path with all links followed. Raises UnreadableError."""
        return self._resolve(path)[-1]

    def physical_folder(self, path: str) -> str:
        """The same for a folder, which is remembered: where a mounted ConfigMap is read from. Raises UnreadableError."""
        return self._folder(path)[-1]

    def is_protected(self, path: str) -> bool:
        """True when a path, as it is written, is the name of something that is never read."""
        return self._jail.is_protected(path)

    @property
    def has_links(self) -> bool:
        """True when a link was met so far."""
        return any(target is not None for target in self._links.values())

    def changed(self) -> bool:
        """True when a link, a folder or what is protected was replaced since it was looked at: what was read may be of two
        versions."""
        try:
            return (
                os.path.realpath(self._root, strict=True) != self.real
                or self._jail.has_changed()
                or any(
                    self._jail.readlink(path) != target for path, target in self._links.items() if target is not None
                )
            )
        except (OSError, UnreadableError):
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

    def _use(self, path: str, use: Callable[[str], _Result]) -> _Result:
        """Do something with the physical path of a file: most are not links, which costs one look less."""
        folder, _, name = path.rpartition("/")
        if name in ("", ".", ".."):
            raise UnreadableError("it is not a file")
        try:
            return use(_join(self._folder(folder)[-1], name))
        except LinkError:
            return use(self._resolve(path)[-1])

    def _is_folder(self, folder: str, entry: os.DirEntry[str]) -> bool:
        if not entry.is_symlink():
            return entry.is_dir(follow_symlinks=False)
        path = _join(folder, entry.name)
        self._listed_links.add(path)
        return self._leads_to_folder(path)

    def _leads_to_folder(self, path: str) -> bool:
        try:
            return stat.S_ISDIR(self._jail.status(self._resolve(path, follow=True)[-1]).st_mode)
        except UnreadableError:
            return False  # the reader reports what is wrong

    def _folder(self, folder: str) -> tuple[str, ...]:
        known = self._stacks.get(folder)
        if known is None:
            known = self._stacks[folder] = self._entered(folder) or self._resolve(folder, is_folder=True)
        return known

    def _entered(self, folder: str) -> tuple[str, ...] | None:
        """The stack of a folder that lies in a known one and is not a link, as nearly all are; None for others."""
        parent, _, name = folder.rpartition("/")
        above = self._stacks.get(parent)
        if above is None or name in ("", ".", ".."):
            return None
        self._check_depth(above)
        physical = _join(above[-1], name)
        return None if self._link(physical) is not None else (*above, self._mount(physical))

    def _resolve(self, path: str, *, is_folder: bool = False, follow: bool = False) -> tuple[str, ...]:
        """The physical paths of the root, of every folder on the way, and of the path itself. `follow` follows links also where
        the rules forbid it: to find out what kind of thing lies there."""
        stack, pending, hops = [self._mount("")], path.split("/")[::-1], 0
        while pending:
            part = pending.pop()
            if part in ("", "."):
                continue
            if part == "..":
                stack.pop()
                if not stack:
                    raise OutsideError("it is outside the folder of the configuration")
                continue
            self._check_depth(stack)
            physical = _join(stack[-1], part)
            target = self._link(physical)
            if target is None:
                stack.append(self._mount(physical) if pending or is_folder else physical)
                continue
            hops += 1
            self._check_link(physical, hops, follow=follow)
            if target.startswith("/"):
                target, stack = self._inside(target), stack[:1]
            pending.extend(target.split("/")[::-1])
        return tuple(stack)

    def _check_depth(self, stack: Sequence[str]) -> None:
        if len(stack) > self._rules.folder_depth:
            most = self._rules.folder_depth
            raise TooMuchError(f"the folders are nested deeper than {most} levels; raise limits.folder_depth")

    def _check_link(self, physical: str, hops: int, *, follow: bool) -> None:
        if not self._rules.links and not follow:
            raise UnreadableError(
                f"{quoted(physical)} is a symbolic link, and kvsync does not follow links in a fetched repository; "
                "use the path it points to, or set source.git.symlinks: true"
            )
        if hops > _MOST_LINKS:
            raise UnreadableError("its symbolic links form a loop")

    def _inside(self, target: str) -> str:
        root = self.real.rstrip("/")
        if target != root and not target.startswith(f"{root}/"):
            raise OutsideError("a link points outside the folder of the configuration")
        return target[len(root) :]

    def _mount(self, physical: str) -> str:
        """Where to read a folder: itself, or behind the `..data` link of a ConfigMap mount. That link names a folder next to it
        whose name begins with two dots; any other `..data` means nothing."""
        target = self._link(_join(physical, _MOUNT_LINK)) if self._rules.links else None
        if target is None or "/" in target or not target.startswith("..") or target == "..":
            return physical
        version = _join(physical, target)
        return version if self._is_real_folder(version) else physical

    def _is_real_folder(self, physical: str) -> bool:
        try:
            return stat.S_ISDIR(self._jail.status(physical).st_mode)
        except UnreadableError:
            return False

    def _link(self, physical: str) -> str | None:
        if physical not in self._links:
            self._links[physical] = self._jail.readlink(physical)
        return self._links[physical]


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


def is_text(name: str) -> bool:
    """True when the name of a file is UTF-8: then it can be a key, and stand in a document."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _path_order(item: tuple[str, bool]) -> str:
    name, is_folder = item
    return f"{name}/" if is_folder else name


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name
