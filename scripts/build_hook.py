"""Record in wheels and sdists of which commit they are (a build hook of Hatchling)."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

RECORD = "kvsync/COMMIT"
DESCRIBE = ("git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*")


class CommitHook(BuildHookInterface[Any]):
    """Adds `kvsync/COMMIT` with the commit, if that is known: from $KVSYNC_COMMIT, the sdist, or git, in this order."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the file to a build. A checkout that is installed in place has none, because its commit changes."""
        commit = find_commit(Path(self.root))
        if commit is None or version == "editable":
            return
        self._folder = TemporaryDirectory()
        record = Path(self._folder.name) / "COMMIT"
        record.write_text(f"{commit}\n", encoding="ascii")
        build_data["force_include"][str(record)] = RECORD

    def finalize(self, _version: str, _build_data: dict[str, Any], _artifact: str) -> None:
        """Remove the temporary file."""
        if hasattr(self, "_folder"):
            self._folder.cleanup()


def find_commit(root: Path) -> str | None:
    """The commit that is built; None outside of a checkout, or where git cannot say."""
    if given := os.environ.get("KVSYNC_COMMIT"):
        return given
    if (root / RECORD).is_file():
        return (root / RECORD).read_text(encoding="ascii").strip()
    if not (root / ".git").exists():
        return None
    try:
        done = subprocess.run(DESCRIBE, cwd=root, capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
