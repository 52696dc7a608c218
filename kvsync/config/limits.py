"""The `limits:` of the configuration: what reading the state files may cost.

A state file that exceeds one of them is an error of that file: its targets keep their last good state, all others go on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from kvsync.config.model import ReadLimits
from kvsync.yaml.fields import Field, integer, size

_DEFAULTS: Final = ReadLimits()
_DEEPEST: Final = 128
"""Levels of nesting that reading can go down to before Python's own limit ends it."""

LIMIT_FIELDS: Final = (
    Field("state_file", size(), default=_DEFAULTS.state_file, help="Largest state file or overlay (10MiB)."),
    Field(
        "value_file",
        size(),
        default=_DEFAULTS.value_file,
        help="Largest file that a value is taken from (64MiB, and never more than a configured store takes).",
    ),
    Field(
        "value_files",
        integer(0),
        default=_DEFAULTS.value_files,
        help="Files that one state file may take values from (100000).",
    ),
    Field(
        "value_bytes",
        size(),
        default=_DEFAULTS.value_bytes,
        help="Size of the files that one state file takes values from, together (256MiB).",
    ),
    Field(
        "total",
        size(),
        default=_DEFAULTS.total,
        help="Size of all state files and of what they take values from (1GiB). Beyond it the largest state file is refused.",
    ),
    Field(
        "folder_names",
        integer(1),
        default=_DEFAULTS.folder_names,
        help="Names in one folder that a pattern looks into (1000000).",
    ),
    Field(
        "folder_depth",
        integer(1, _DEEPEST),
        default=_DEFAULTS.folder_depth,
        help="Folders that lie in one another, from the root to a file (100).",
    ),
    Field(
        "pattern_steps",
        integer(1),
        default=_DEFAULTS.pattern_steps,
        help="Comparisons of a name with a part of a pattern, for all patterns of one state file (2000000).",
    ),
    Field(
        "patterns",
        integer(0),
        default=_DEFAULTS.patterns,
        help="Patterns in `policy.ignore` of one document (1000).",
    ),
    Field("nesting", integer(1, _DEEPEST), default=_DEFAULTS.nesting, help="Levels of nesting in a state file (64)."),
    Field(
        "aliases",
        integer(0),
        default=_DEFAULTS.aliases,
        help="Values that aliases and merge keys of one state file bring in (100000).",
    ),
    Field(
        "problems",
        integer(1),
        default=_DEFAULTS.problems,
        help="Problems that are reported of one state file before the rest of it is left unread (1000).",
    ),
)


def read_limits(values: Mapping[str, Any] | None) -> ReadLimits:
    """The limits as the fields gave them, the defaults when there are none."""
    return ReadLimits() if values is None else ReadLimits(**values)
