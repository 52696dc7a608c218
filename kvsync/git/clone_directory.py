"""Directory layout of a Git source: the shared clone, the worktrees of each process, and the status file.

state_dir/source/
    <address>.git      the clone, under `lock`; environments whose source is the same share it
    trees/             the folders, made and swept under `trees.lock`
    git.config         stands in for all configuration of git
    <ref>.json         the last fetch of a ref, see `status`
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Final

from kvsync.config.model import Credential, GitSource
from kvsync.errors import SourceError
from kvsync.git.clone import Clone
from kvsync.git.command import SETTINGS, Git, GitFailed, find_git
from kvsync.git.failures import explained
from kvsync.git.locks import held
from kvsync.git.status import FOLDER, remove_unused
from kvsync.git.worktrees import Worktree, sweep

UNUSED_SECONDS: Final = 30 * 86_400
"""How long a clone is kept that no environment fetches."""


@dataclass(frozen=True, slots=True)
class ClonePaths:
    """What a checkout is given of its surroundings: `root` is the folder of the configuration; the clone is kept under
    `state_dir`, unless that is not `writable`. `resolve` gives the secret that a reference means, `redact` takes secrets out of
    texts."""

    root: Path
    state_dir: Path
    writable: bool
    environ: Mapping[str, str]
    resolve: Callable[[Credential], str]
    redact: Callable[[str], str]


class CloneDirectory:
    """The part of the state directory that belongs to a source; a folder that ends with this process where nothing may be
    written there."""

    def __init__(self, source: GitSource, place: ClonePaths) -> None:
        self.place = place
        self._source = source
        self._own: Path | None = None

    @asynccontextmanager
    async def clone(self) -> AsyncIterator[Clone]:
        """The clone, ours alone while inside: also until a git that outlives us has ended. Raises SourceError."""
        program, _ = await find_git(self.place.environ)
        with self._failures():
            folder = self._folder()
            async with held(folder / "lock", self._source.timeout) as lock:
                clone = self._clone_in(folder, program, lock)
                clone.tidy()
                await clone.create()
                yield clone

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[Clone | None]:
        """The clone as it is, to be read only; None when there is none. Raises SourceError."""
        program, _ = await find_git(self.place.environ)
        with self._failures():
            self._folder()
            clone = self._clone_in(self.place.state_dir / FOLDER, program)
            yield clone if (clone.path / "HEAD").exists() else None

    async def new_tree(self, commit: str) -> Worktree:
        """An empty folder for the files of a commit. Raises SourceError, OSError."""
        folder = self._folder()
        async with held(folder / "trees.lock", self._source.timeout):
            await asyncio.to_thread(sweep, folder / "trees")
            return Worktree.make(folder / "trees", commit, self._source.path)

    def remove_others(self, clone: Clone) -> None:
        """Remove clones that no environment has used for `UNUSED_SECONDS`, and any that was not finished."""
        os.utime(clone.path)
        oldest = time.time() - UNUSED_SECONDS
        unused = [path for path in clone.path.parent.glob("*.git") if path.stat().st_mtime < oldest]
        for path in (*unused, *clone.path.parent.glob("*.new")):
            shutil.rmtree(path, ignore_errors=True)
        remove_unused(clone.path.parent, oldest)

    def close(self) -> None:
        """Remove what ends with this process. Idempotent."""
        if self._own is not None:
            shutil.rmtree(self._own, ignore_errors=True)
            self._own = None

    def _folder(self) -> Path:
        """Where we may write."""
        if self.place.writable:
            folder = self.place.state_dir / FOLDER
        else:
            folder = self._own = self._own or Path(tempfile.mkdtemp(prefix="kvsync-source-"))
        folder.mkdir(mode=0o700, exist_ok=True)
        settings = folder / "git.config"
        if not settings.exists() or settings.read_text() != SETTINGS:
            settings.write_text(SETTINGS)
        return folder

    def _clone_in(self, folder: Path, program: str, *locks: int) -> Clone:
        place, source = self.place, self._source
        settings = self._folder() / "git.config"
        git = Git(program, settings, place.environ, place.redact, source.timeout, source.max_size, locks)
        return Clone(folder / f"{blake2b(source.url.encode(), digest_size=8).hexdigest()}.git", source, git)

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """What goes wrong inside as SourceError."""
        try:
            yield
        except OSError as error:
            folder = self._own or self.place.state_dir / FOLDER
            raise SourceError(f"{error.filename or folder}: {error.strerror or error}", "check state_dir") from None
        except GitFailed as failure:
            raise explained(self._source.url, failure) from None
