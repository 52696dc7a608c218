"""Warnings of `kvsync validate` about overlays of the configuration that no environment uses."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

from kvsync.config.model import Config
from kvsync.config.revision import ConfigRevision
from kvsync.desired.misspelled_overlays import overlay_warning
from kvsync.errors import Problem

_SUFFIXES: Final = (".yaml", ".yml")


def overlay_warnings(config: Config, revision: ConfigRevision | None) -> Iterator[Problem]:
    """A warning for each file that is named like an overlay, of an environment that the configuration does not list: the
    environment that it was written for uses the configuration without it, and so perhaps the stores of another environment."""
    for name in sorted(_names(config.file, revision)):
        environment = _environment_of(name, config.file)
        if environment is not None and environment not in config.environments:
            file = name if revision is None else f"{revision.name}:{name}"
            yield overlay_warning(file, environment, config.environments)


def _names(file: Path, revision: ConfigRevision | None) -> Collection[str]:
    """The names of the files next to the configuration."""
    if revision is not None:
        return revision.files
    try:
        return [path.name for path in file.parent.iterdir()]
    except OSError:
        return ()


def _environment_of(name: str, config: Path) -> str | None:
    """The environment that a file is named for, as `kvsync.prod.yaml` is for prod; None for other files."""
    path, prefix = Path(name), f"{config.stem}."
    environment = path.stem.removeprefix(prefix)
    is_overlay = path.suffix in {config.suffix, *_SUFFIXES} and path.stem.startswith(prefix) and "." not in environment
    return environment if is_overlay else None
