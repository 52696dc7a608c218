"""Reads the configuration of another revision from the surrounding Git repository."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from kvsync.config.revision import ConfigRevision
from kvsync.errors import SourceError, UsageError
from kvsync.git.command import SETTINGS, Git, GitFailed, find_git

TARGET_BRANCH_VARIABLES: Final = ("GITHUB_BASE_REF", "CI_MERGE_REQUEST_TARGET_BRANCH_NAME")
"""Where GitHub and GitLab name the target branch of a change."""

_TIMEOUT: Final = 60.0
_MOST_BYTES: Final = 64 * 2**20
_OBJECT: Final = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_SHORT_OBJECT: Final = re.compile(r"[0-9a-f]{4,39}")
_REF: Final = re.compile(r"[^\s\0-\x1f\x7f?*\[\\-][^\s\0-\x1f\x7f?*\[\\]*")
_PLACES: Final = ("", "refs/", "refs/tags/", "refs/heads/", "refs/remotes/")
_BLOB: Final = re.compile(rb"100[0-7]{3} blob ([0-9a-f]+)\t(.+)", re.DOTALL)
_UNSEEN: Final = {"GIT_NO_REPLACE_OBJECTS": "1"}
"""Replacement objects (`refs/replace`) come with a clone, so that anyone who can push could exchange the file."""


def target_branch(environ: Mapping[str, str]) -> str:
    """The target branch of the change that CI looks at, else the default branch of `origin`, as a full name."""
    branch = next((environ[name] for name in TARGET_BRANCH_VARIABLES if environ.get(name)), "HEAD")
    return f"refs/remotes/origin/{branch}"


async def read_config_revision(
    config: Path, revision: str, environ: Mapping[str, str], redact: Callable[[str], str]
) -> ConfigRevision:
    """The configuration `config` and the files next to it that are named after it, as `revision` has them.

    Raises UsageError for a revision that does not exist or that several refs are called, SourceError when git fails."""
    program, _ = await find_git(environ)
    folder = _folder_of(config)
    with tempfile.TemporaryDirectory(prefix="kvsync-git-") as place:
        settings = Path(place) / "git.config"
        settings.write_text(SETTINGS)
        repository = _Repository(Git(program, settings, environ, redact, _TIMEOUT, _MOST_BYTES), folder)
        try:
            commit = await repository.commit(revision)
            return ConfigRevision(revision, commit, await repository.files(commit, config.name))
        except GitFailed as failure:
            raise SourceError(f"{folder}: git {failure.verb} failed: {failure.text}") from None


def is_named_after(file: Path, config: Path) -> bool:
    """True for the configuration itself, and for what lies next to it and is called after it, as `kvsync.prod.yaml` is."""
    return file.name == config.name or (file.suffix == config.suffix and file.name.startswith(f"{config.stem}."))


def _folder_of(config: Path) -> Path:
    return config.absolute().parent


class _Repository:
    """The repository around a folder, only ever read."""

    def __init__(self, git: Git, folder: Path) -> None:
        self._git, self._folder = git, folder

    async def commit(self, revision: str) -> str:
        """The full id of the commit that `revision` names. Raises UsageError."""
        if not _REF.fullmatch(revision):
            raise UsageError(f"{revision!r} is not a valid revision name")
        await self._insist_on_one_meaning(revision)
        found = await self._output("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
        if not found:
            raise UsageError(f"there is no revision {revision!r} in this clone; fetch it, or use another revision")
        return found.decode().strip()

    async def _insist_on_one_meaning(self, revision: str) -> None:
        """Refuse a name with two meanings: anyone who can push could make it mean a tag or a branch of theirs."""
        name = re.split(r"[\^~:]|@\{", revision)[0]
        if _OBJECT.fullmatch(name):
            return
        names = [place + name for place in _PLACES]
        listed = await self._output("for-each-ref", "--format=%(refname)", *names)
        found = sorted(set(names).intersection(listed.decode(errors="replace").splitlines()))
        if name.startswith("refs/") and name not in found:
            raise UsageError(f"there is no {name} in this clone; fetch it, or use another revision")
        if not name.startswith("refs/") and len(found) + bool(_SHORT_OBJECT.fullmatch(name)) > 1:
            raise UsageError(f"{name!r} is ambiguous: {' and '.join(found)}; use the full name or the full hash")

    async def files(self, commit: str, config: str) -> dict[str, bytes]:
        """The content of the configuration, and of the files called after it, in the folder as of a commit."""
        listed = await self._output("ls-tree", "-z", commit)
        found: dict[str, bytes] = {}
        for line in listed.split(b"\0"):
            blob = _BLOB.fullmatch(line)
            if blob and is_named_after(Path(os.fsdecode(blob[2])), Path(config)):
                found[os.fsdecode(blob[2])] = await self._output("cat-file", "blob", blob[1].decode())
        return found

    async def _output(self, *arguments: str) -> bytes:
        done = await self._git.run(*arguments, folder=self._folder, env=_UNSEEN, codes=(0, 1))
        return done.output
