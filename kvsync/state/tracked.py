"""Detects files that Git tracks in a folder, from the index of the surrounding repository."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

_HARMLESS: Final = frozenset({".gitignore", ".gitkeep", "cache.db"})
"""Files that keep a folder in a repository or out of it, which kvsync does not read, and the cache: its records are sealed."""

_SECONDS: Final = 10


def tracked_files(folder: Path) -> list[str]:
    """The files in `folder`, or the folder itself, that the index of an enclosing repository holds. None when there is no
    repository, no `git` program, or git cannot read the repository. Raises TimeoutError when git does not answer."""
    repositories = [parent for parent in folder.parents if os.path.lexists(parent / ".git")]
    return [name for repository in repositories for name in _listed(repository, folder)]


def _listed(repository: Path, folder: Path) -> list[str]:
    import subprocess  # most state directories lie in no repository  # nosec B404
    from shutil import which

    program = which("git")
    if program is None:
        return []
    inside = f":(top,literal,icase){folder.relative_to(repository)}"
    command = [program, *_SETTINGS, "ls-files", "-z", "--", inside]
    try:
        done = subprocess.run(  # noqa: S603  # git, by its full path  # nosec B603
            command, cwd=repository, env=_environment(repository), capture_output=True, timeout=_SECONDS, check=True
        )
    except subprocess.TimeoutExpired:
        raise TimeoutError(f"git did not list the files of {repository} within {_SECONDS} seconds") from None
    except (OSError, subprocess.CalledProcessError):
        return []
    names = done.stdout.decode("utf-8", "replace").split("\0")
    return [name for name in names if name and Path(name).name not in _HARMLESS]


_SETTINGS: Final = ("-c", "core.fsmonitor=false")
"""Of what a repository can configure, this is the one thing that reading the index would run."""


def _environment(repository: Path) -> dict[str, str]:
    """Variables that name the repository, so that git need not ask whether it is safe, and that let nothing it names be run."""
    known = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    return known | {
        "GIT_DIR": str(repository / ".git"),
        "GIT_WORK_TREE": str(repository),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_ALLOW_PROTOCOL": "none",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "LC_ALL": "C",
    }
