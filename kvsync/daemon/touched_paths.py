"""Paths that may have changed since the files were last read, as far as events say."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Final

_MOST: Final = 1_000
"""Paths that are looked at one by one; with more, everything is looked at."""


class TouchedPaths:
    """Collects paths until they are taken."""

    def __init__(self) -> None:
        self._paths: set[Path] | None = set()

    def add(self, paths: Collection[Path] | None) -> None:
        """Note paths that may have changed; None: any may have."""
        if paths is None or self._paths is None or len(self._paths) + len(paths) > _MOST:
            self._paths = None
        else:
            self._paths.update(paths)

    def take(self) -> frozenset[Path] | None:
        """The paths noted since the last call; None if any may have changed."""
        paths, self._paths = self._paths, set()
        return None if paths is None else frozenset(paths)
