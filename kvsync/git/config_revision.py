"""Reads the configuration of another revision from the surrounding Git repository."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from kvsync.config.revision import ConfigRevision
from kvsync.errors import SourceError, UsageError
from kvsync.git.checkout import enclosing_checkout
from kvsync.git.command import SETTINGS, Git, GitFailed, find_git
from kvsync.git.objects import GitObjects

TARGET_BRANCH_VARIABLES: Final = ("GITHUB_BASE_REF", "CI_MERGE_REQUEST_TARGET_BRANCH_NAME")
"""Where GitHub and GitLab name the target branch of a change."""

_TIMEOUT: Final = 60.0
_MOST_BYTES: Final = 64 * 2**20
_OBJECT: Final = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_SHORT_OBJECT: Final = re.compile(r"[0-9a-f]{4,39}")
_REF: Final = re.compile(r"[^\s\0-\x1f\x7f?*\[\\-][^\s\0-\x1f\x7f?*\[\\]*")
_PLACES: Final = ("", "refs/", "refs/tags/", "refs/heads/", "refs/remotes/")


def target_branch(environ: Mapping[str, str]) -> str:
    """The target branch of the change that CI looks at, else the default branch of `origin`, as a full name."""
    branch = next((environ[name] for name in TARGET_BRANCH_VARIABLES if environ.get(name)), "HEAD")
    return f"refs/remotes/origin/{branch}"


async def read_config_revision(
    config: Path, revision: str, environ: Mapping[str, str], redact: Callable[[str], str]
) -> ConfigRevision:
    """The configuration `config` and the files next to it that are named after it, as `revision` has them.

    Raises UsageError for a revision that does not exist or that several refs are called, SourceError when git fails."""
    folder = _folder_of(config)
    top = enclosing_checkout(folder)
    program, _ = await find_git(environ)
    with tempfile.TemporaryDirectory(prefix="kvsync-git-") as place:
        settings = Path(place) / "git.config"
        settings.write_text(SETTINGS)
        repository = _Repository(Git(program, settings, environ, redact, _TIMEOUT, _MOST_BYTES), top)
        try:
            commit = await repository.commit(revision)
            objects = GitObjects(repository.output)
            inside = folder.relative_to(top).parts
            return ConfigRevision(revision, commit, await _files(objects, commit, inside, config))
        except GitFailed as failure:
            raise SourceError(f"{folder}: git {failure.verb} failed: {failure.text}") from None


async def _files(objects: GitObjects, commit: str, inside: Sequence[str], config: Path) -> dict[str, bytes]:
    """The content of the configuration, and of the files named after it, in the folder `inside` as of a commit."""
    files = await objects.files(commit, inside)
    named = {name: blob for name, blob in files.items() if is_named_after(Path(name), config)}
    return {name: await objects.read("blob", blob) for name, blob in named.items()}


def is_named_after(file: Path, config: Path) -> bool:
    """True for the configuration itself, and for what lies next to it and is called after it, as `kvsync.prod.yaml` is."""
    suffixes = {config.suffix, ".yaml", ".yml"} if config.suffix in (".yaml", ".yml") else {config.suffix}
    return file.name == config.name or (file.suffix in suffixes and file.name.startswith(f"{config.stem}."))


def _folder_of(config: Path) -> Path:
    """The folder of the configuration as it is spelled: a link on the way to it is seen."""
    return Path(os.path.normpath(config.absolute().parent))


class _Repository:
    """The repository of a checkout, only ever read. It is named to git, which would take another one for it."""

    def __init__(self, git: Git, top: Path) -> None:
        self._git = git
        self._env = {"GIT_DIR": str(top / ".git"), "GIT_WORK_TREE": str(top)}

    async def commit(self, revision: str) -> str:
        """The full id of the commit that `revision` names. Raises UsageError."""
        if not _REF.fullmatch(revision):
            raise UsageError(f"{revision!r} is not a valid revision name")
        await self._require_unambiguous(revision)
        done = await self.output("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
        found = done.decode().strip()
        if not found:
            raise UsageError(f"there is no revision {revision!r} in this clone; fetch it, or use another revision")
        if _OBJECT.fullmatch(revision) and found != revision:  # of an object between the two nothing is checked
            raise UsageError(f"{revision} is the hash of a tag; use the hash of its commit, {found}")
        return found

    async def _require_unambiguous(self, revision: str) -> None:
        """Refuse a name with two meanings: anyone who can push could make it mean a tag or a branch of theirs."""
        name = re.split(r"[\^~:]|@\{", revision)[0]
        if _OBJECT.fullmatch(name):
            return
        names = [place + name for place in _PLACES]
        listed = await self.output("for-each-ref", "--format=%(refname)", *names)
        found = sorted(set(names).intersection(listed.decode(errors="replace").splitlines()))
        if name.startswith("refs/") and name not in found:
            raise UsageError(f"there is no {name} in this clone; fetch it, or use another revision")
        if not name.startswith("refs/") and len(found) + bool(_SHORT_OBJECT.fullmatch(name)) > 1:
            raise UsageError(f"{name!r} is ambiguous: {' and '.join(found)}; use the full name or the full hash")

    async def output(self, *arguments: str) -> bytes:
        """What a git command writes. Raises GitFailed."""
        return (await self._git.run(*arguments, env=self._env, codes=(0, 1))).output
