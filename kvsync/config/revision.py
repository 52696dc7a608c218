"""Configuration of another Git revision, so that a change is not checked by its own configuration."""

from __future__ import annotations

from collections.abc import Mapping

from kvsync.util.values import dataclass


@dataclass(frozen=True, slots=True)
class ConfigRevision:
    """The files next to the configuration, as bytes by file name, in one commit. `name` is the revision as it was asked for."""

    name: str
    commit: str
    files: Mapping[str, bytes]
