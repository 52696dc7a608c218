"""Decoders of the `limits:` and `journal:` sections: limits for reading the state files, for what stores answer, and for what
the journal keeps.

A state file that exceeds one of them is an error of that file: its targets keep their last good state, all others go on. A
store whose answer exceeds one is not believed: the pass of that target fails, or its listing counts as incomplete.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final

from kvsync.config.model import JournalLimits, ReadLimits
from kvsync.model.answer_limits import AnswerLimits
from kvsync.model.pass_limits import PassLimits
from kvsync.yaml.fields import Field, duration, integer, size

_DEFAULTS: Final = ReadLimits()
_ANSWERS: Final = AnswerLimits()
_PASSES: Final = PassLimits()
_DEEPEST: Final = 128
"""Levels of nesting that reading can go down to before Python's own limit ends it."""

LIMIT_FIELDS: Final = (
    Field("state_file", size(), default=_DEFAULTS.state_file, help="Maximum size of a state file or overlay (10MiB)."),
    Field(
        "value_file",
        size(),
        default=_DEFAULTS.value_file,
        help="Maximum size of a file that a value is read from (64MiB, and never more than the configured stores allow).",
    ),
    Field(
        "value_files",
        integer(0),
        default=_DEFAULTS.value_files,
        help="Maximum number of files that one state file reads values from (100000).",
    ),
    Field(
        "value_bytes",
        size(),
        default=_DEFAULTS.value_bytes,
        help="Maximum total size of the files that one state file reads values from (256MiB).",
    ),
    Field(
        "total",
        size(),
        default=_DEFAULTS.total,
        help="Maximum total size of all state files and the files that they read (1GiB).",
    ),
    Field(
        "targets",
        integer(1),
        default=_DEFAULTS.targets,
        help="Maximum number of targets that one state file names (10000).",
    ),
    Field(
        "total_targets",
        integer(1),
        default=_DEFAULTS.total_targets,
        help="Maximum number of targets that all state files together name (100000).",
    ),
    Field(
        "folder_names",
        integer(1),
        default=_DEFAULTS.folder_names,
        help="Maximum number of names in one folder that a pattern searches (1000000).",
    ),
    Field(
        "folder_depth",
        integer(1, _DEEPEST),
        default=_DEFAULTS.folder_depth,
        help="Maximum depth of folders (100).",
    ),
    Field(
        "pattern_steps",
        integer(1),
        default=_DEFAULTS.pattern_steps,
        help="Maximum number of steps in matching names against the patterns of one state file, or of `state` (2000000).",
    ),
    Field(
        "patterns",
        integer(0),
        default=_DEFAULTS.patterns,
        help="Maximum number of patterns in `policy.ignore` of one document (1000).",
    ),
    Field(
        "nesting", integer(1, _DEEPEST), default=_DEFAULTS.nesting, help="Maximum nesting depth of a state file (64)."
    ),
    Field(
        "aliases",
        integer(0),
        default=_DEFAULTS.aliases,
        help="Maximum number of values that aliases and merge keys add to one state file (100000).",
    ),
    Field(
        "documents",
        integer(1),
        default=_DEFAULTS.documents,
        help="Maximum number of documents in one state file (20000).",
    ),
    Field(
        "entries",
        integer(1),
        default=_DEFAULTS.entries,
        help="Maximum number of entries of one state file, over all its labels and stores (200000).",
    ),
    Field(
        "expansion",
        size(),
        default=_DEFAULTS.expansion,
        help="Maximum total size of one state file after expansion, including everything that aliases, defaults, prefixes, "
        "labels and several stores repeat (256MiB). Files that values are read from count each time they are used again.",
    ),
    Field(
        "problems",
        integer(1),
        default=_DEFAULTS.problems,
        help="Maximum number of problems reported for one state file (1000).",
    ),
    Field("answer", size(), default=_ANSWERS.answer, help="Maximum size of one response of a store (256MiB)."),
    Field(
        "error_answer",
        size(),
        default=_ANSWERS.error_answer,
        help="Maximum size of the text of an error of a store (1MiB); the rest is not read.",
    ),
    Field(
        "listing_pages",
        integer(1),
        default=_ANSWERS.listing_pages,
        help="Maximum number of pages of one listing (10000). A listing that exceeds a limit deletes nothing.",
    ),
    Field(
        "listing_entries",
        integer(1),
        default=_ANSWERS.listing_entries,
        help="Maximum number of entries of one listing (2000000).",
    ),
    Field(
        "listing_bytes",
        size(),
        default=_ANSWERS.listing_bytes,
        help="Maximum total size of the pages of one listing, and of an archive of all entries (1GiB).",
    ),
    Field("listing_time", duration(), default=_ANSWERS.listing_time, help="Maximum duration of one listing (10m)."),
    Field(
        "unpacked",
        size(),
        default=_ANSWERS.unpacked,
        help="Maximum size of a compressed response after decompression (256MiB).",
    ),
    Field(
        "unpack_ratio",
        integer(1),
        default=_ANSWERS.unpack_ratio,
        help="Maximum expansion ratio of an archive of many entries, if that allows more than `unpacked` (100).",
    ),
    Field(
        "pass_time",
        duration(minimum=1),
        default=_PASSES.pass_time,
        help="Maximum duration of one pass over a target, from its listing to its last write (1h). The next pass continues.",
    ),
    Field(
        "retry_time",
        duration(),
        default=_PASSES.retry_time,
        help="How long one write is retried, and the longest wait that a store can request for it (2m).",
    ),
    Field(
        "rest",
        duration(minimum=1),
        default=_PASSES.rest,
        help="Longest time after which the daemon tries a target again, even if its store requests a longer wait (15m).",
    ),
)

_KEPT: Final = JournalLimits()

JOURNAL_FIELDS: Final = (
    Field("runs", integer(1), default=_KEPT.runs, help="Number of runs that are kept (100000)."),
    Field(
        "age",
        duration(minimum=3600),
        default=_KEPT.age,
        help="How long a run is kept (90d). The last 20 runs are kept however old they are.",
    ),
    Field(
        "size",
        size(),
        default=_KEPT.size,
        help="Maximum size of the kept changes with their previous values (256MiB). Runs of the last hour are always kept.",
    ),
)


def journal_limits(values: Mapping[str, Any] | None) -> JournalLimits:
    """Limits of the journal from the decoded fields; the defaults without them."""
    return JournalLimits() if values is None else JournalLimits(**values)


def read_limits(values: Mapping[str, Any] | None) -> ReadLimits:
    """Limits for state files from the decoded fields; the defaults without them."""
    return ReadLimits() if values is None else ReadLimits(**_part(values, ReadLimits))


def answer_limits(values: Mapping[str, Any] | None) -> AnswerLimits:
    """Limits for answers of stores from the decoded fields; the defaults without them."""
    return AnswerLimits() if values is None else AnswerLimits(**_part(values, AnswerLimits))


def pass_limits(values: Mapping[str, Any] | None) -> PassLimits:
    """Limits for passes from the decoded fields; the defaults without them."""
    return PassLimits() if values is None else PassLimits(**_part(values, PassLimits))


def _part(values: Mapping[str, Any], kind: type[ReadLimits | AnswerLimits | PassLimits]) -> dict[str, Any]:
    return {field.name: values[field.name] for field in fields(kind)}
