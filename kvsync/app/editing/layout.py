"""Lays out state files and the configuration."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from kvsync.app.editing.alignment import lost_comments
from kvsync.app.editing.entries import Edit, sensitive_keys
from kvsync.app.editing.round_trip import is_same, laid_out
from kvsync.config.layers import overlay_paths
from kvsync.desired.sops import is_encrypted_name
from kvsync.errors import KvsyncError, UsageError

if TYPE_CHECKING:
    from kvsync.app.workspace import Workspace


def formatted_files(workspace: Workspace) -> tuple[list[Edit], list[str]]:
    """The files whose layout would change, among the configuration, its overlays, and the state files of all environments; and
    why some stay as they are. Raises UsageError."""
    if workspace.config.source is not None:
        raise UsageError("the state files come from a Git repository; run kvsync fmt in a checkout of it")
    edits, left = [], []
    for path, sensitive in _files(workspace):
        name = path.relative_to(workspace.config.root).as_posix()
        before = path.read_bytes().decode()
        try:
            after = laid_out(before, name)
        except KvsyncError as error:
            left.append(str(error))
            continue
        if before != after and not is_same(before, after, name):
            left.append(f"{name}: its layout cannot be changed without changing its content")
        elif before != after and lost_comments(before, after):
            left.append(f"{name}: its layout cannot be changed without losing comments")
        elif before != after:
            edits.append(Edit(name, path.resolve(), before, after, sensitive))
    return edits, left


def _files(workspace: Workspace) -> Iterator[tuple[Path, frozenset[str]]]:
    """The files, each with the keys of its sensitive entries in any environment."""
    config = workspace.config
    yield config.file, frozenset()
    for environment in config.environments:
        yield from ((path, frozenset()) for path in overlay_paths(config.file, environment) if path.exists())
    sensitive: dict[str, frozenset[str]] = {}
    environments: list[str | None] = [*config.environments] or [None]
    for name in environments:
        loaded = workspace.load(name)
        for file in workspace.state_file_names():
            if not is_encrypted_name(file):
                sensitive[file] = sensitive.get(file, frozenset()) | sensitive_keys(loaded, file)
    yield from ((config.root / file, keys) for file, keys in sorted(sensitive.items()))
