"""Objects of a Git repository, each checked against its name.

`git cat-file` returns what lies under the name of an object, whatever its content is. A commit that is named by its hash
therefore proves its files only if every object on the way to them is hashed again.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Awaitable, Callable, Iterator, Sequence

from kvsync.errors import SourceError


class GitObjects:
    """Reads objects. `output` runs a git command and returns what it writes."""

    def __init__(self, output: Callable[..., Awaitable[bytes]]) -> None:
        self._output = output

    async def files(self, commit: str, inside: Sequence[str]) -> dict[str, str]:
        """The names and object ids of the ordinary files in a folder as of a commit; none when there is no such folder. Raises
        SourceError for an object that is not what its name says."""
        head = await self.read("commit", commit)
        tree = head.partition(b"\n")[0].removeprefix(b"tree ").decode("ascii", "replace")
        for name in inside:
            entries = {folder: id_ for mode, folder, id_ in await self._entries(tree) if mode == "40000"}
            if name not in entries:
                return {}
            tree = entries[name]
        return {name: id_ for mode, name, id_ in await self._entries(tree) if mode.startswith("100")}

    async def _entries(self, tree: str) -> list[tuple[str, str, str]]:
        return list(_tree_entries(await self.read("tree", tree), len(tree) // 2))

    async def read(self, kind: str, id_: str) -> bytes:
        """The content of an object. Raises SourceError when it is not what its name says."""
        data = await self._output("cat-file", kind, id_)
        if object_id(kind, data, len(id_)) != id_:
            raise SourceError(
                f"the git object {id_} is damaged or forged: its content does not match its id", "clone again"
            )
        return data


def object_id(kind: str, data: bytes, digits: int) -> str:
    """The name of an object in a repository with SHA-1 (40 digits) or SHA-256 (64 digits)."""
    digest = hashlib.sha256() if digits == hashlib.sha256().digest_size * 2 else hashlib.sha1(usedforsecurity=False)
    digest.update(f"{kind} {len(data)}\0".encode())
    digest.update(data)
    return digest.hexdigest()


def _tree_entries(data: bytes, size: int) -> Iterator[tuple[str, str, str]]:
    """The mode, name and object id of each entry of a tree object, whose ids have `size` bytes."""
    at = 0
    while at < len(data):
        end = data.index(b"\0", at)
        mode, _, name = data[at:end].partition(b" ")
        at = end + 1 + size
        yield mode.decode("ascii", "replace"), os.fsdecode(name), data[end + 1 : at].hex()
