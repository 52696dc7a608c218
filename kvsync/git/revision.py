"""Reads the current commit of a folder from Git's files, without running a command."""

from __future__ import annotations

from pathlib import Path


def revision(folder: Path) -> str | None:
    """The commit checked out in the repository around `folder`, None if there is none or it is unknown."""
    try:
        git = next((parent / ".git" for parent in (folder, *folder.parents) if (parent / ".git").exists()), None)
        return _head(_git_dir(git)) if git is not None else None
    except (OSError, UnicodeDecodeError):
        return None


def _git_dir(git: Path) -> Path:
    """The directory itself, also for a worktree or submodule, whose `.git` is a file that points to it."""
    if git.is_dir():
        return git
    return (git.parent / git.read_text().removeprefix("gitdir:").strip()).resolve()


def _head(git_dir: Path) -> str | None:
    head = (git_dir / "HEAD").read_text().strip()
    if not head.startswith("ref: "):
        return head or None
    name = head.removeprefix("ref: ")
    pointer = git_dir / "commondir"
    common = (git_dir / pointer.read_text().strip()).resolve() if pointer.exists() else git_dir
    loose = common / name
    if loose.exists():
        return loose.read_text().strip()
    packed = common / "packed-refs"
    lines = packed.read_text().splitlines() if packed.exists() else []
    return next((line.split()[0] for line in lines if line.endswith(f" {name}")), None)
