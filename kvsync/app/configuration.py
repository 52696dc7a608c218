"""Configuration loading with the installed store types."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from kvsync.config.load import load_config
from kvsync.config.model import Config
from kvsync.config.revision import ConfigRevision
from kvsync.stores.registry import InstalledStoreTypes


def read_config(
    path: Path,
    *,
    environment: str | None = None,
    environ: Mapping[str, str],
    revision: ConfigRevision | None = None,
    links: bool = True,
) -> Config:
    """Read the configuration as `load_config` does. Raises InvalidInput with every problem."""
    types = InstalledStoreTypes()
    return load_config(
        path, environment=environment, environ=environ, store_types=types, revision=revision, links=links
    )
