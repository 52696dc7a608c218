"""Decoder of the policy, whose settings the configuration, a store and a state file override in this order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from kvsync.model.policy import Adopt, DriftAction, DriftPolicy, Policy, Prune
from kvsync.yaml.fields import (
    OMITTED,
    Field,
    choice,
    duration,
    glob,
    integer,
    list_of,
    one_of,
    percentage,
    record,
)

_ACTION: Final = choice(DriftAction)

DRIFT_FIELDS: Final = (
    Field("drifted", _ACTION, default=OMITTED, help="What to do if an owned entry changed in the store."),
    Field("missing", _ACTION, default=OMITTED, help="What to do if an owned entry is missing from the store."),
    Field(
        "conflict",
        _ACTION,
        default=OMITTED,
        help="What to do if the store and the files both changed, in different ways.",
    ),
)

GUARD_FIELDS: Final = (
    Field(
        "max_delete_pct",
        percentage(),
        default=OMITTED,
        help="Park the plan if it deletes more than this percentage of the owned entries (30).",
    ),
    Field(
        "max_update_pct",
        percentage(),
        default=OMITTED,
        help="Park the plan if it updates more than this percentage of the owned entries (50).",
    ),
    Field(
        "min_existing",
        integer(0),
        default=OMITTED,
        help="The percentages apply to targets with at least this many entries (10).",
    ),
    Field(
        "max_deletes", integer(0), default=OMITTED, help="Park the plan if it deletes more entries than this (1000)."
    ),
    Field(
        "grace",
        duration(),
        default=OMITTED,
        help="How long an entry must be absent from the files before it is deleted (0s).",
    ),
)

POLICY_FIELDS: Final = (
    Field(
        "prune",
        choice(Prune),
        default=OMITTED,
        help="Entries to delete if they are not in the files: owned (written by kvsync), off (none), scope (all except those"
        " marked by another owner).",
    ),
    Field(
        "adopt", choice(Adopt), default=OMITTED, help="What to do if a desired entry already exists without an owner."
    ),
    Field(
        "drift",
        one_of(_ACTION, record(DRIFT_FIELDS)),
        default=OMITTED,
        help="What to do with drift: heal, report or gate; one word, or one per class.",
    ),
    Field("guard", record(GUARD_FIELDS), default=OMITTED, help="Limits; a plan that exceeds one waits for approval."),
    Field("ignore", list_of(glob()), default=OMITTED, help="Keys that are never read, written or deleted."),
)
"""The lines of a policy; `decode` gives only those that are written."""

ROOT_POLICY_FIELDS: Final = tuple(
    replace(field, required=True) if field.name == "prune" else field for field in POLICY_FIELDS
)
"""The same for the top of the configuration, where a person decides whether kvsync may delete."""


def override(policy: Policy, decoded: Mapping[str, Any] | None) -> Policy:
    """`policy` with the lines in `decoded` (the result of `decode` for POLICY_FIELDS) in place of its own."""
    lines = dict(decoded or {})
    if "drift" in lines:
        lines["drift"] = _drift(policy.drift, lines["drift"])
    if "guard" in lines:
        lines["guard"] = replace(policy.guard, **lines["guard"])
    return replace(policy, **lines)


def _drift(drift: DriftPolicy, written: DriftAction | Mapping[str, DriftAction]) -> DriftPolicy:
    if isinstance(written, DriftAction):
        return DriftPolicy(written, written, written)
    return replace(drift, **written)
