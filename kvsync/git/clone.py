"""Bare clone of the repository, with the last good commit.

Everything is kept under refs of our own, so that nothing that is in use is ever collected. The name of the good commit holds
what it was good for (ref, and whether signatures were asked for): other settings begin again.
"""

from __future__ import annotations

import shutil
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Final, NamedTuple

from kvsync.config.git import is_object
from kvsync.config.model import GitSource
from kvsync.errors import SourceError
from kvsync.git.command import Done, Git
from kvsync.git.worktrees import Worktree

_LINK: Final = "120000"
_SUBMODULE: Final = "160000"
_LEFT_OVER: Final = (
    "objects/pack/tmp_*",
    "objects/pack/.tmp-*",
    "objects/tmp_*",
    "objects/??/tmp_obj_*",
    "*.lock",
    "refs/**/*.lock",
)


@dataclass(frozen=True, slots=True)
class Member:
    """One thing that a commit holds: a file, a link or a submodule. `size` is in bytes."""

    mode: str
    path: str
    size: int

    @property
    def is_submodule(self) -> bool:
        """True for a submodule, of which the commit holds nothing but a reference."""
        return self.mode == _SUBMODULE

    @property
    def is_file(self) -> bool:
        """True for an ordinary file."""
        return self.mode not in (_LINK, _SUBMODULE)


class FetchedRef(NamedTuple):
    """What a ref points to: its full name (the id itself for a ref that is one), and the id of its commit or tag."""

    name: str
    id: str


class Clone:
    """The clone in the folder `path` (made by `create`), of the repository that `source` names."""

    def __init__(self, path: Path, source: GitSource, git: Git) -> None:
        self.path = path
        self._source, self.git = source, git
        purpose = f"{source.ref}\0{source.verify is not None}"
        key = blake2b(purpose.encode(), digest_size=8).hexdigest()
        self._good, self._tip = f"refs/kvsync/good/{key}", f"refs/kvsync/tip/{key}"

    async def create(self) -> None:
        """Make it, where it is not there yet. Raises GitFailed, SourceError."""
        if not (self.path / "HEAD").exists():
            await self.git.run("init", "--quiet", "--bare", "--template=", str(self.path))

    def tidy(self) -> None:
        """Remove what a fetch that was killed left. Only while nobody else fetches."""
        for pattern in _LEFT_OVER:
            for file in self.path.glob(pattern):
                file.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove it with everything in it."""
        shutil.rmtree(self.path, ignore_errors=True)

    async def fetch(self, access: Mapping[str, str]) -> FetchedRef:
        """Bring the newest of the ref, and return what it points to. `access` are the variables that let us in. Raises
        GitFailed when the repository cannot be had, SourceError when it has no such ref, or two that are called so."""
        name, newest = self._source.ref, self._source.ref
        if not is_object(name):
            name, newest = await self._advertised(access)
        if await self.commit_of(self._tip) is None or await self._id_of(self._tip) != newest:
            await self._bring(name, access)
        found = await self._id_of(self._tip)
        assert found is not None
        return FetchedRef(name, found)

    async def last_good(self) -> str | None:
        """The commit that was last found good. Raises GitFailed when the clone is damaged."""
        return await self.commit_of(self._good)

    async def keep_good(self, commit: str) -> None:
        """Note that this commit is good."""
        await self._run("update-ref", self._good, commit)

    async def commit_of(self, name: str) -> str | None:
        """The id of the commit that a ref, a tag or an id leads to; None when it leads to none that we have."""
        return await self._id_of(f"{name}^{{commit}}")

    async def holds(self, commit: str, other: str) -> bool:
        """True when `other` is in the history of `commit`."""
        return (await self._run("merge-base", "--is-ancestor", other, commit, codes=(0, 1))).code == 0

    async def tag_name(self, id_: str) -> str | None:
        """The name inside a tag object, which its signature covers; None for an id that is not that of a tag object."""
        if (await self._run("cat-file", "-t", id_)).output.strip() != b"tag":
            return None
        lines = (await self._run("cat-file", "tag", id_)).output.split(b"\n", 3)
        word, _, name = lines[2].partition(b" ") if len(lines) > 2 else (b"", b"", b"")
        return name.decode("utf-8", "surrogateescape") if word == b"tag" else ""

    async def verify(self, kind: str, name: str, settings: tuple[str, ...], home: Path) -> tuple[bool, str]:
        """Whether the signature of a commit or tag (`kind`) is good by these settings, and what git said."""
        done = await self._run(*settings, f"verify-{kind}", name, codes=(0, 1, 128), env={"GNUPGHOME": str(home)})
        return done.code == 0, done.text

    async def members(self, commit: str) -> list[Member] | None:
        """Everything that the commit holds under the path of the source; None when there is no such folder."""
        where = f"{commit}:{self._source.path}"
        kind = await self._run("cat-file", "-t", where, codes=(0, 128))
        if kind.output.strip() != b"tree":
            return None
        listing = await self._run("ls-tree", "-r", "-z", "--long", "--full-tree", where)
        return list(_members(listing.output))

    async def check_out(self, commit: str, tree: Worktree) -> None:
        """Write the files under the path of the source into an empty tree. Nothing of them is run. Raises GitFailed.

        Outside of the path, whose size is unknown, only attributes are read."""
        env = {"GIT_INDEX_FILE": str(tree.index), "GIT_WORK_TREE": str(tree.files)}
        path = self._source.path
        await self._run("read-tree", *([f"--prefix={path}/", f"{commit}:{path}"] if path else [commit]), env=env)
        for blob, name in await self._attributes_above(commit, path):
            await self._run("update-index", "--add", "--cacheinfo", f"100644,{blob},{name}", env=env)
        await self._run("checkout", "--quiet", "--force", "--", path or ".", env=env, folder=tree.files)

    async def _attributes_above(self, commit: str, path: str) -> list[tuple[str, str]]:
        """The blobs and names of the files with attributes in the folders that `path` lies in."""
        folders = path.split("/")[:-1] if path else []
        names = [".gitattributes"] if path else []
        names += ["/".join([*folders[: depth + 1], ".gitattributes"]) for depth in range(len(folders))]
        if not names:
            return []
        listing = await self._run("ls-tree", "-z", "--full-tree", commit, "--", *names)
        found = (line.partition("\t") for line in listing.output.decode("utf-8", "surrogateescape").split("\0"))
        return [(head.split()[2], name) for head, _, name in found if head.startswith("100")]

    async def why_unusable(self) -> str | None:
        """What is wrong with the clone as a whole; None when nothing is."""
        if not (self.path / "HEAD").exists():
            return "it does not exist"
        done = await self._run("fsck", "--connectivity-only", "--no-dangling", "--no-progress", codes=range(256))
        return (
            None if done.code == 0 else (done.text.strip().splitlines() or ["git fsck reports that it is damaged"])[0]
        )

    async def _advertised(self, access: Mapping[str, str]) -> tuple[str, str]:
        """The full name of the ref, and what it points to now, as the server says."""
        ref = self._source.ref
        names = [ref] if ref == "HEAD" or ref.startswith("refs/") else [f"refs/heads/{ref}", f"refs/tags/{ref}"]
        done = await self.git.run("ls-remote", "--quiet", "--", self._source.url, *names, env=access)
        lines = (line.partition("\t") for line in done.output.decode("utf-8", "replace").splitlines())
        found = {name: object_id for object_id, _, name in lines if name in names}
        if len(found) > 1:
            raise SourceError(
                f"{self._source.url}: {ref!r} is both a branch and a tag", f"set source.git.ref to {' or '.join(names)}"
            )
        for name, object_id in found.items():
            return name, object_id
        raise SourceError(
            f"{self._source.url}: no branch, tag or commit {ref!r}",
            "check source.git.ref, and that the repository is not empty",
        )

    async def _bring(self, name: str, access: Mapping[str, str]) -> None:
        is_new = await self.commit_of(self._tip) is None
        depth = [f"--depth={self._source.depth}"] if self._source.depth and is_new else []
        options = ("--quiet", "--force", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", *depth)
        await self._run("fetch", *options, "--", self._source.url, f"{name}:{self._tip}", env=access)

    async def _id_of(self, name: str) -> str | None:
        done = await self._run("rev-parse", "--verify", "--quiet", "--end-of-options", name, codes=(0, 1))
        return done.output.decode("ascii", "replace").strip() or None

    async def _run(
        self,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        folder: Path | None = None,
        codes: Container[int] = (0,),
    ) -> Done:
        return await self.git.run(
            *arguments, env={"GIT_DIR": str(self.path), **(env or {})}, folder=folder, codes=codes
        )


def _members(listing: bytes) -> Iterator[Member]:
    for line in listing.split(b"\0"):
        if line:
            head, _, path = line.partition(b"\t")
            mode, _, _, size = head.split()
            yield Member(mode.decode(), path.decode("utf-8", "surrogateescape"), int(size) if size.isdigit() else 0)
