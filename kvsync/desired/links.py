"""Resolves symbolic links in a path component by component, each link once.

Paths are relative to the root, with `/`; the root is "". A physical path has no links in it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from kvsync.desired.jail import Jail
from kvsync.desired.read_rules import OutsideError, ReadRules, TooMuchError, UnreadableError
from kvsync.yaml.problems import quoted

_MOST_LINKS: Final = 40
_MOUNT_LINK: Final = "..data"


class LinkResolver:
    """Turns paths below the folder `real`, which `jail` opens, into physical paths."""

    def __init__(self, real: str, jail: Jail, rules: ReadRules) -> None:
        self._real, self._jail, self._rules = real, jail, rules
        self._links: dict[str, str | None] = {}
        self._stacks: dict[str, tuple[str, ...]] = {}

    @property
    def has_links(self) -> bool:
        """True when a link was met so far."""
        return any(target is not None for target in self._links.values())

    def has_changed(self) -> bool:
        """True when a link leads elsewhere than when it was looked up. Raises UnreadableError."""
        links = ((path, target) for path, target in self._links.items() if target is not None)
        return any(self._jail.readlink(path) != target for path, target in links)

    def watched(self) -> Iterator[str]:
        """The absolute paths of the folders of all links that were met, and of all folders that were resolved."""
        for path, target in self._links.items():
            if target is not None:
                yield os.path.dirname(os.path.join(self._real, path))  # noqa: PTH118, PTH120
        for stack in self._stacks.values():
            yield from (os.path.join(self._real, path) for path in stack)  # noqa: PTH118

    def folder(self, folder: str) -> tuple[str, ...]:
        """The physical paths of the root, of every folder on the way, and of the folder itself, which are remembered. Raises
        UnreadableError."""
        known = self._stacks.get(folder)
        if known is None:
            known = self._stacks[folder] = self._entered(folder) or self.resolve(folder, is_folder=True)
        return known

    def _entered(self, folder: str) -> tuple[str, ...] | None:
        """The stack of a folder that lies in a known one and is not a link, as nearly all are; None for others."""
        parent, _, name = folder.rpartition("/")
        above = self._stacks.get(parent)
        if above is None or name in ("", ".", ".."):
            return None
        self._check_depth(above)
        physical = join(above[-1], name)
        return None if self.link(physical) is not None else (*above, self._mount(physical))

    def resolve(self, path: str, *, is_folder: bool = False, follow: bool = False) -> tuple[str, ...]:
        """The physical paths of the root, of every folder on the way, and of the path itself. `follow` follows links also where
        the rules forbid it: to find out what kind of thing lies there. Raises UnreadableError."""
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
            physical = join(stack[-1], part)
            target = self.link(physical)
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
        root = self._real.rstrip("/")
        if target != root and not target.startswith(f"{root}/"):
            raise OutsideError("a link points outside the folder of the configuration")
        return target[len(root) :]

    def _mount(self, physical: str) -> str:
        """Where to read a folder: itself, or behind the `..data` link of a ConfigMap mount. That link names a folder next to it
        whose name begins with two dots; any other `..data` means nothing."""
        target = self.link(join(physical, _MOUNT_LINK)) if self._rules.links else None
        if target is None or "/" in target or not target.startswith("..") or target == "..":
            return physical
        version = join(physical, target)
        return version if self._is_real_folder(version) else physical

    def _is_real_folder(self, physical: str) -> bool:
        try:
            return stat.S_ISDIR(self._jail.status(physical).st_mode)
        except UnreadableError:
            return False

    def link(self, physical: str) -> str | None:
        """The target of a symbolic link, as it was when it was first looked up; None for anything else."""
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


def join(folder: str, name: str) -> str:
    """The path of a name in a folder."""
    return f"{folder}/{name}" if folder else name
