"""Git source as a folder that is replaced atomically when a new commit was verified.

    fetch ──► what was last good is laid out ──► newest commit ──► judged ──► laid out ──► put in force, remembered as good
                        (and stays, whatever goes wrong from here on)

What is in force is one pointer in this process: whoever reads goes on with the folder that it began with. Between processes the
clone is shared, and the remembered commit with it, under a lock; the folders are not.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from kvsync.config.git import is_object
from kvsync.config.model import GitSource
from kvsync.errors import AuthError, SourceError
from kvsync.git.access import access
from kvsync.git.clone import Clone
from kvsync.git.clone_directory import CloneDirectory, ClonePaths
from kvsync.git.command import GitFailed, TooMuchOutput
from kvsync.git.failures import is_known
from kvsync.git.model import CommitRefused, Fetched, Status
from kvsync.git.signatures import unsigned
from kvsync.git.status import FOLDER, read_status, write_status
from kvsync.git.verification import drop_submodules, refuse_members, refuse_pointers, substituted, too_old
from kvsync.git.worktrees import Worktree


class Checkout:
    """The files of a repository, as far as this process has them. `why_not_root(root)` returns why the folder of a commit
    cannot be the one with the state files, None if it can."""

    def __init__(self, source: GitSource, place: ClonePaths, why_not_root: Callable[[Path], str | None]) -> None:
        self.source = source
        self.refused: CommitRefused | None = None
        self._home, self._why_not_root = CloneDirectory(source, place), why_not_root
        self._commit: str | None = None
        self._tree: Worktree | None = None
        self._unfit: CommitRefused | None = None
        self._endless: tuple[str, TooMuchOutput] | None = None

    @property
    def commit(self) -> str | None:
        """The commit in force; None before the first one."""
        return self._commit

    @property
    def root(self) -> Path | None:
        """The folder with its files; None before the first commit. It stays until another commit is put in force."""
        return None if self._tree is None else self._tree.root

    @property
    def environ(self) -> Mapping[str, str]:
        """The variables that git is found by."""
        return self._home.place.environ

    async def fetch(self) -> Fetched:
        """Look for the newest commit, and put it in force when it is good. When anything goes wrong, the last good commit is in
        force, if there is one. Raises SourceError."""
        began, before = time.monotonic(), self._commit
        try:
            async with self._home.clone() as clone:
                self.refused = await self._renewed(clone)
                self._home.remove_others(clone)
        except SourceError as error:
            self._write_status(str(error))
            raise
        self._write_status(None)
        return Fetched(self._commit, before, self.refused, round(time.monotonic() - began, 3))

    async def reopen(self) -> None:
        """Put the last good commit in force without asking anybody. Raises SourceError when there is none."""
        async with self._home.kept() as clone:
            if clone is not None:
                await self._use_good(clone)
        if self._tree is None:
            raise SourceError(f"no commit of {self.source.url} has been fetched yet", "run once without --offline")

    def take_over(self, other: Checkout) -> None:
        """Go on with the commit that an older configuration has in force, where the source is the same. The other has none
        then."""
        if self.source == other.source:
            self._commit, self._tree, self._home = other._commit, other._tree, other._home
            self._endless = other._endless
            other._commit, other._tree, other._home = None, None, CloneDirectory(other.source, other._home.place)

    async def why_unusable(self) -> str | None:
        """What is wrong with the clone; None when nothing is. Raises SourceError."""
        async with self._home.clone() as clone:
            return await clone.why_unusable()

    def close(self) -> None:
        """Remove what belongs to this process alone. Idempotent."""
        if self._tree is not None:
            self._tree.remove()
        self._home.close()

    # -- from the newest commit to the one in force -------------------------------------------------------------------

    async def _renewed(self, clone: Clone) -> CommitRefused | None:
        """Why the newest commit is not used; None when it is in force now. A damaged clone is made again, next to the old one
        until that has worked out."""
        try:
            return await self._renew(clone)
        except GitFailed as failure:
            if is_known(failure) or await clone.why_unusable() is None:
                raise
        fresh = Clone(clone.path.with_suffix(".new"), self.source, clone.git)
        try:
            fresh.remove()
            await fresh.create()
            refused = await self._renew(fresh)
            clone.remove()
            fresh.path.rename(clone.path)
        finally:
            fresh.remove()
        return refused

    async def _renew(self, clone: Clone) -> CommitRefused | None:
        await self._use_good(clone)
        try:
            with access(self.source, self._home.place.root, self._home.place.resolve) as variables:
                tip = await clone.fetch(variables)
        except AuthError as error:
            raise SourceError(f"source.git.credentials: {error}") from None
        commit = await clone.commit_of(tip.id)
        if commit is None:
            return CommitRefused(tip.id, "it is not a commit", "check source.git.ref")
        if commit == self._commit:
            return None
        tag = await clone.tag_name(tip.id)
        refused = None if tag is None else substituted(tip, tag, self.source)
        refused = refused or await self._rewritten(clone, commit)
        return refused or await self._use(clone, commit, None if tag is None else tip.id)

    async def _use_good(self, clone: Clone) -> None:
        """Put in force what was good before, if by today's settings it still is."""
        good = await clone.last_good()
        if good is not None and good != self._commit:
            await self._use(clone, good)

    async def _rewritten(self, clone: Clone, commit: str) -> CommitRefused | None:
        """Look whether the history goes on from what was good. A ref that names a commit by its id was chosen by a person."""
        if self.source.allow_rewrites or is_object(self.source.ref):
            return None
        known = self._status()
        good = await clone.last_good() or (known.commit if known else None)
        if good is None or (await clone.commit_of(good) is not None and await clone.holds(commit, good)):
            return None
        said = f"the history was rewritten: it no longer contains commit {good[:12]}, which is in use"
        return CommitRefused(commit, said, "restore the history, or set source.git.allow_rewrites: true to follow it")

    async def _use(self, clone: Clone, commit: str, tag: str | None = None) -> CommitRefused | None:
        """Judge a commit, and put it in force when it is good. `tag` is the tag object that led to it."""
        if self.source.min_commit is not None and not await _is_recent(clone, commit, self.source.min_commit):
            return too_old(commit, self.source)
        if self.source.verify is not None:
            why = await unsigned(clone, tag, commit, self.source.verify, self._home.place.root)
            if why is not None:
                return CommitRefused(commit, why, "check source.git.verify for the trusted keys")
        laid_out = await self._lay_out(clone, commit)
        if isinstance(laid_out, CommitRefused):
            return laid_out
        before, self._tree, self._commit = self._tree, laid_out, commit
        if before is not None:
            await asyncio.to_thread(before.remove)
        if await clone.last_good() != commit:
            await clone.keep_good(commit)
        return None

    async def _lay_out(self, clone: Clone, commit: str) -> Worktree | CommitRefused:
        """The files of a commit, or why they cannot be those of this configuration; that is found out once. Raises
        TooMuchOutput, at once for a commit whose files could not be listed before."""
        if self._endless is not None and self._endless[0] == commit:
            raise self._endless[1]
        if self._unfit is None or self._unfit.commit != commit:
            laid_out = await self._use_once_checked(clone, commit)
            if isinstance(laid_out, Worktree):
                return laid_out
            self._unfit = laid_out
        return self._unfit

    async def _use_once_checked(self, clone: Clone, commit: str) -> Worktree | CommitRefused:
        try:
            members = await clone.members(commit)
        except TooMuchOutput as error:
            self._endless = commit, error
            raise
        refused = refuse_members(commit, members, self.source)
        if refused is not None or members is None:
            return refused or CommitRefused(commit, "it is empty")
        tree = await self._home.new_tree(commit)
        try:
            await clone.check_out(commit, tree)
            drop_submodules(members, tree.root)
            refused = await asyncio.to_thread(refuse_pointers, commit, members, tree.root)
            unfit = await asyncio.to_thread(self._why_not_root, tree.root)
        except BaseException:
            tree.remove()
            raise
        if unfit is not None:
            refused = refused or CommitRefused(
                commit, unfit, "kvsync never treats an empty folder as a request to delete everything"
            )
        if refused is None:
            return tree
        tree.remove()
        return refused

    # -- what others may know -----------------------------------------------------------------------------------------

    def _status(self) -> Status | None:
        return read_status(self._home.place.state_dir, self.source.url, self.source.ref)

    def _write_status(self, error: str | None) -> None:
        if not self._home.place.writable:
            return
        now, known = time.time(), self._status() or Status(self.source.url, self.source.ref)
        said = replace(known, commit=self._commit or known.commit, attempted_at=now, error=error)
        if error is None:
            said = replace(said, fetched_at=now, refused=str(self.refused) if self.refused else None)
        write_status(self._home.place.state_dir / FOLDER, said)


async def _is_recent(clone: Clone, commit: str, oldest: str) -> bool:
    """True when the history of a commit, as far as it was fetched, holds the oldest one that is acceptable."""
    return await clone.commit_of(oldest) is not None and await clone.holds(commit, oldest)
