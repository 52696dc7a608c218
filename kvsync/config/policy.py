"""Policy as people write it: at the top, in a store, in a state file, each level overriding the one before line by line."""

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
    Field("drifted", _ACTION, default=OMITTED, help="What to do when the store changed an entry that is ours."),
    Field("missing", _ACTION, default=OMITTED, help="What to do when the store lost an entry that is ours."),
    Field("conflict", _ACTION, default=OMITTED, help="What to do when store and files both changed, differently."),
)

GUARD_FIELDS: Final = (
    Field(
        "max_delete_pct",
        percentage(),
        default=OMITTED,
        help="Park when a larger share of our entries would be deleted (30).",
    ),
    Field(
        "max_update_pct",
        percentage(),
        default=OMITTED,
        help="Park when a larger share of our entries would be updated (50).",
    ),
    Field("min_existing", integer(0), default=OMITTED, help="The percentages hold from this many entries on (10)."),
    Field("max_deletes", integer(0), default=OMITTED, help="Park when more entries than this would be deleted (1000)."),
    Field(
        "grace",
        duration(),
        default=OMITTED,
        help="How long an entry must be gone from the files before it is deleted (0s).",
    ),
)

POLICY_FIELDS: Final = (
    Field(
        "prune",
        choice(Prune),
        default=OMITTED,
        help="What may be deleted: owned (ours, no longer in the files), off (nothing), scope (all that is in the target).",
    ),
    Field(
        "adopt", choice(Adopt), default=OMITTED, help="What to do with a desired entry that exists without an owner."
    ),
    Field(
        "drift",
        one_of(_ACTION, record(DRIFT_FIELDS)),
        default=OMITTED,
        help="What to do when the store changed and the files did not: heal, report or gate; one word, or one per class.",
    ),
    Field("guard", record(GUARD_FIELDS), default=OMITTED, help="Limits beyond which a target waits for approval."),
    Field("ignore", list_of(glob()), default=OMITTED, help="Keys that are never read, written or deleted."),
)
"""The lines of a policy; `decode` gives only those that are written."""

ROOT_POLICY_FIELDS: Final = tuple(
    replace(field, required=True) if field.name == "prune" else field for field in POLICY_FIELDS
)
"""The same for the top of the configuration, where a person decides whether kvsync may delete."""


def override(policy: Policy, decoded: Mapping[str, Any] | None) -> Policy:
    """`policy` with the lines that are in `decoded` (as `decode` gives them for POLICY_FIELDS) put in place of its own."""
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
