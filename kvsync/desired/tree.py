"""Consistent view of a folder, read only below its root, even if links change in the meantime.

git-sync and Kubernetes replace a whole folder by moving one symbolic link. Reading by path while that happens mixes two
versions. So each link is looked up once and followed by hand (`links`), and what a path comes to is opened through no link
(`jail`). `changed` says afterwards whether anything changed. A folder with a `..data` link, as Kubernetes mounts
a ConfigMap, is read from where that link leads.

Paths are relative to the root, with `/`; the root is "". A physical path has no links in it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Self, TypeVar

from kvsync.desired.file_digests import KnownDigests, SeenFile
from kvsync.desired.jail import Jail
from kvsync.desired.links import LinkResolver, join, link_parents
from kvsync.desired.protection import Protection
from kvsync.desired.read_rules import LinkError, OutsideError, ReadRules, UnreadableError, reason_of
from kvsync.util.beneath import Opener, open_beneath

_Result = TypeVar("_Result")


class Tree:
    """A context manager over one version of the folder `root`. Raises UnreadableError on entering when it is not there."""

    def __init__(
        self,
        root: Path,
        rules: ReadRules | None = None,
        opener: Opener = open_beneath,
        known: KnownDigests | None = None,
    ) -> None:
        self._root, self._rules, self._opener, self._known = root, rules or ReadRules(), opener, known
        self._listings: dict[str, dict[str, bool]] = {}
        self._listed_links: set[str] = set()
        self._looked_at: dict[str, os.stat_result] = {}

    def __enter__(self) -> Self:
        try:
            self.real = os.path.realpath(self._root, strict=True)
        except OSError as error:
            raise reason_of(error) from None
        self._jail = Jail(self.real, self._rules, self._opener, self._known)
        self._links = LinkResolver(self.real, self._jail, self._rules)
        return self

    def __exit__(self, *_: object) -> None:
        self._jail.close()

    def read(self, path: str, limit: int) -> bytes:
        """The content of a file of at most `limit` bytes. Raises UnreadableError."""
        return self._use(path, lambda physical: self._jail.read(physical, limit))

    def look(self, path: str, limit: int) -> SeenFile:
        """A file of at most `limit` bytes, which is only read if it may have changed. Raises UnreadableError."""
        return self._use(path, lambda physical: self._jail.look(physical, limit))

    def take_stamps(self) -> dict[str, os.stat_result]:
        """The files that were read since the last call, by physical path, as they were then."""
        stamps, self._jail.stamps = self._jail.stamps, {}
        self._looked_at.update(stamps)
        return stamps

    def looked_at(self) -> dict[str, os.stat_result]:
        """The folders that were opened and the files of `take_stamps`, by physical path, as they were then."""
        return self._looked_at | self._jail.folders

    @property
    def folders(self) -> Mapping[str, os.stat_result]:
        """The folders that were opened, by physical path, as they were then."""
        return self._jail.folders

    def names_digest(self, folder: str) -> bytes | None:
        """A digest of what `items` gave for a folder, None if it was not called."""
        known = self._listings.get(folder)
        return None if known is None else _names_digest(known)

    @property
    def protection(self) -> Protection:
        """What is never read."""
        return self._jail.protection

    def size(self, path: str) -> int:
        """The size of a file in bytes; nothing of it is read. Raises UnreadableError."""
        return self._use(path, self._jail.size)

    def pieces(self, path: str, size: int) -> Iterator[bytes]:
        """The content of a file of any size, in pieces of `size` bytes. Raises UnreadableError."""

        def found(physical: str) -> str:
            self._jail.size(physical)
            return physical

        return self._jail.pieces(self._use(path, found), size)

    def require_unprotected(self, path: str) -> None:
        """Raise ProtectedError for a path that is never read because of how it is called. Nothing is looked up."""
        self._jail.require_unprotected(path)

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
            links = [folder for folder, place in places.items() if place and self._links.link(place) is not None]
            more = f"; {', '.join(links)} is a symbolic link: use the folder that it points to" if links else ""
            raise OutsideError(f"it is outside the folders that state files may read ({', '.join(places)}){more}")

    def _there(self, folder: str) -> str | None:
        """The place of a folder that values may be taken from, None while what it lies in is not there."""
        above, _, name = folder.rpartition("/")
        try:
            return join(self._links.folder(above)[-1], name)
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
        return self._links.resolve(path)[-1]

    def physical_folder(self, path: str) -> str:
        """The same for a folder, which is remembered: where a mounted ConfigMap is read from. Raises UnreadableError."""
        return self._links.folder(path)[-1]

    def is_protected(self, path: str) -> bool:
        """True when a path, as it is written, is the name of something that is never read."""
        return self._jail.is_protected(path)

    @property
    def has_links(self) -> bool:
        """True when a link was met so far."""
        return self._links.has_links

    def changed(self) -> bool:
        """True when a link, a folder or what is protected was replaced since it was looked at: what was read may be of two
        versions."""
        try:
            return (
                os.path.realpath(self._root, strict=True) != self.real
                or self._jail.has_changed()
                or self._links.has_changed()
            )
        except (OSError, UnreadableError):
            return True

    def watched(self) -> Iterator[str]:
        """The absolute paths of all folders whose changes may change what was read here."""
        yield from link_parents(self._root)
        yield self.real
        yield from self._links.watched()

    def _use(self, path: str, use: Callable[[str], _Result]) -> _Result:
        """Do something with the physical path of a file: most are not links, which costs one look less."""
        folder, _, name = path.rpartition("/")
        if name in ("", ".", ".."):
            raise UnreadableError("it is not a file")
        try:
            return use(join(self._links.folder(folder)[-1], name))
        except LinkError:
            return use(self._links.resolve(path)[-1])

    def _is_folder(self, folder: str, entry: os.DirEntry[str]) -> bool:
        if not entry.is_symlink():
            return entry.is_dir(follow_symlinks=False)
        path = join(folder, entry.name)
        self._listed_links.add(path)
        return self._leads_to_folder(path)

    def _leads_to_folder(self, path: str) -> bool:
        try:
            return stat.S_ISDIR(self._jail.status(self._links.resolve(path, follow=True)[-1]).st_mode)
        except UnreadableError:
            return False  # the reader reports what is wrong


def is_text(name: str) -> bool:
    """True when the name of a file is UTF-8: then it can be a key, and stand in a document."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _names_digest(items: Mapping[str, bool]) -> bytes:
    names = "\0".join([f"{name}/" if is_folder else name for name, is_folder in items.items()])
    return blake2b(names.encode(errors="surrogateescape"), digest_size=16).digest()


def _path_order(item: tuple[str, bool]) -> str:
    name, is_folder = item
    return f"{name}/" if is_folder else name
