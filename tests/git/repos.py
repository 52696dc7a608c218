"""Real repositories, made by the real git, and checkouts of them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kvsync.config.credentials import resolve
from kvsync.config.model import Credential, GitSource
from kvsync.git.clone_directory import ClonePaths
from kvsync.git.source import Checkout
from kvsync.util.redaction import Redactor

WEB = "store: main\nnamespace: web\nkeys: {a: 1}\n"


class Origin:
    """A repository that others fetch from, with a work tree to commit in."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._home = path.parent / "nobody"
        path.mkdir(parents=True)
        self.git("init", "--quiet", "--initial-branch=main")

    @property
    def url(self) -> str:
        return f"file://{self.path}"

    def git(self, *arguments: str, env: Mapping[str, str] | None = None) -> str:
        people = {
            name: "Ann" if name.endswith("NAME") else "ann@example.com"
            for name in ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL")
        }
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(self._home),
            "GIT_CONFIG_NOSYSTEM": "1",
            **people,
            **(env or {}),
        }
        done = subprocess.run(
            ["git", *arguments], cwd=self.path, env=environ, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def write(self, files: Mapping[str, str | bytes | None]) -> None:
        for name, content in files.items():
            file = self.path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                file.unlink()
            else:
                file.write_bytes(content.encode() if isinstance(content, str) else content)

    def commit(self, files: Mapping[str, str | bytes | None] | None = None, *options: str) -> str:
        """Commit these files (None removes one), and return the id."""
        self.write(files or {})
        self.git("add", "--all", "--force")
        self.git("commit", "--quiet", "--allow-empty", "--message=x", *options)
        return self.git("rev-parse", "HEAD")


def checkout(
    home: Path,
    url: str,
    *,
    environ: Mapping[str, str] | None = None,
    state_dir: Path | None = None,
    writable: bool = True,
    **settings: Any,
) -> Checkout:
    """A checkout with its state directory in `home`/state; whatever is under it may be its state files."""
    (home / "state").mkdir(parents=True, exist_ok=True)
    known = {"PATH": os.environ["PATH"], **(environ or {})}
    redactor = Redactor()

    def secret(credential: Credential) -> str:
        return resolve(credential, home, known, redactor)

    place = ClonePaths(home, state_dir or home / "state", writable, known, secret, redactor.redact)
    return Checkout(GitSource(url, **settings), place, lambda _root: None)


def files(checkout: Checkout) -> dict[str, str]:
    """What the checkout shows."""
    root = checkout.root
    assert root is not None
    return {
        path.relative_to(root).as_posix(): path.read_text()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


def left_over(home: Path) -> list[str]:
    """What lies in the state directory next to the clone itself and what belongs there."""
    source = home / "state/source"
    usual = {"lock", "trees.lock", "git.config", "trees"}
    names = [path.name for path in source.iterdir() if path.name not in usual and path.suffix not in (".git", ".json")]
    names += [path.name for path in (source / "trees").iterdir()] if (source / "trees").is_dir() else []
    names += [
        path.name for path in source.rglob("*") if path.name.startswith(("tmp_", ".tmp")) or path.suffix == ".lock"
    ]
    return sorted(name for name in names if name != "trees.lock")


def command_lines() -> list[bytes]:
    """Those of all living processes but this one."""
    own = str(os.getpid())
    return [_read(path / "cmdline") for path in Path("/proc").iterdir() if path.name.isdigit() and path.name != own]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
