"""Configuration that is not the one on disk: that of another Git revision, or one that is not written yet."""

from __future__ import annotations

from collections.abc import Mapping

from kvsync.util.values import dataclass


@dataclass(frozen=True, slots=True)
class ConfigRevision:
    """The files next to the configuration, as bytes by file name, in one commit, so that a change is not checked by its own
    configuration. `name` is the revision as it was asked for."""

    name: str
    commit: str
    files: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class ConfigDraft:
    """The text of a configuration that is not written yet. What lies next to it is read from disk."""

    text: bytes
