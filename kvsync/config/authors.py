"""Decoder of the `authors:` section: what state files may do."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, Final

from kvsync.config.authority import Authors, PolicyRight, TargetGrant
from kvsync.yaml.fields import Decoder, Field, ScalarDecoder, choice, glob, list_of, record


def _folder() -> Decoder:
    """A folder relative to the root of the state files; gives its normalised path, "" for the root."""

    def read(written: str, _plain: bool) -> str:
        pure = PurePosixPath(written)
        if not written or pure.is_absolute() or ".." in pure.parts or re.search(r"[\0-\x1f]", written):
            raise ValueError("a relative path without .., such as state/assets")
        place = posixpath.normpath(written)
        return "" if place == "." else place

    return ScalarDecoder("a folder", read, {"type": "string", "minLength": 1})


GRANT_FIELDS: Final = (
    Field("path", glob(), required=True, help="State files that the rule applies to, as a glob such as state/web/**."),
    Field("stores", list_of(glob()), help="Stores that these files may name, as globs (all)."),
    Field("namespaces", list_of(glob()), help="Namespaces that these files may name, as globs (all)."),
)

AUTHORS_FIELDS: Final = (
    Field(
        "policy",
        choice(PolicyRight),
        default=PolicyRight.TIGHTEN,
        help="tighten: state files can only make the policy of their store stricter; any: they can override it (tighten).",
    ),
    Field("env", list_of(glob()), default=(), help="Environment variables that {env: NAME} may read, as globs (none)."),
    Field(
        "files",
        list_of(_folder()),
        default=("",),
        help="Folders that file and files may read, relative to the root of the state files (that root).",
    ),
    Field(
        "targets",
        list_of(record(GRANT_FIELDS)),
        help="Rules for which state files may name which stores and namespaces (all).",
    ),
)
"""Everything that `authors:` may hold."""


def configured_authors(values: Mapping[str, Any] | None) -> Authors:
    """The rights from the decoded section; the defaults without it."""
    if values is None:
        return Authors()
    grants = values["targets"]
    return Authors(
        values["policy"],
        values["env"],
        values["files"],
        None if grants is None else tuple(TargetGrant(**grant) for grant in grants),
    )
