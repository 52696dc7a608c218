"""Fields of `{feature: …}`: a feature flag, with the names that Azure's clients use."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from kvsync.yaml.fields import OMITTED, Field, boolean, choice, free_json, list_of, map_of, number, record, text


class Requirement(StrEnum):
    """How many of the filters of a flag have to match."""

    ANY = "Any"
    ALL = "All"


class StatusOverride(StrEnum):
    """Status that a variant gives its flag."""

    NONE = "None"
    ENABLED = "Enabled"
    DISABLED = "Disabled"


def _optional(name: str, decoder: object, help: str) -> Field:  # noqa: A002  # as in Field
    return Field(name, decoder, default=OMITTED, help=help)  # type: ignore[arg-type]


_PERCENT: Final = number(0, 100)
_NAMES: Final = list_of(text())
_VARIANT: Final = Field("variant", text(), required=True, help="Name of the variant.")

_FILTER_FIELDS: Final = (
    Field("name", text(), required=True, help="Name of the filter, such as Microsoft.TimeWindow."),
    _optional("parameters", map_of(free_json()), "Parameters of the filter."),
)
_GROUP_FIELDS: Final = (
    Field("name", text(), required=True, help="Name of the group."),
    Field("rollout", _PERCENT, default=100, help="Percentage of the group that sees the feature (100)."),
)
_EXCLUDE_FIELDS: Final = (
    Field("users", _NAMES, default=(), help="Users who never see the feature."),
    Field("groups", _NAMES, default=(), help="Groups that never see the feature."),
)
_TARGETING_FIELDS: Final = (
    Field("users", _NAMES, default=(), help="Users who see the feature."),
    Field("groups", list_of(record(_GROUP_FIELDS)), default=(), help="Groups of which a part sees the feature."),
    Field("default_rollout", _PERCENT, default=0, help="Percentage of all others who see the feature (0)."),
    Field("exclude", record(_EXCLUDE_FIELDS), help="Users and groups that never see the feature."),
)
_VARIANT_FIELDS: Final = (
    Field("name", text(), required=True, help="Name of the variant."),
    _optional("configuration_value", free_json(), "Value of the variant, as JSON."),
    _optional(
        "status_override", choice(StatusOverride), "What the variant makes of the flag: Enabled, Disabled or None."
    ),
)
_ALLOCATION_FIELDS: Final = (
    _optional("default_when_enabled", text(), "Variant for everyone else while the flag is enabled."),
    _optional("default_when_disabled", text(), "Variant while the flag is disabled."),
    _optional(
        "user",
        list_of(record((_VARIANT, Field("users", _NAMES, required=True, help="Users who get the variant.")))),
        "Variants by user.",
    ),
    _optional(
        "group",
        list_of(record((_VARIANT, Field("groups", _NAMES, required=True, help="Groups that get the variant.")))),
        "Variants by group.",
    ),
    _optional(
        "percentile",
        list_of(
            record(
                (
                    _VARIANT,
                    Field("from", _PERCENT, required=True, help="Lower end of the range, in percent."),
                    Field("to", _PERCENT, required=True, help="Upper end of the range, in percent."),
                )
            )
        ),
        "Variants by percentage.",
    ),
    _optional("seed", text(), "Seed of the percentages."),
)
_TELEMETRY_FIELDS: Final = (
    Field("enabled", boolean(), required=True, help="Whether evaluations of the flag are published."),
    _optional("metadata", map_of(text(empty=True)), "Properties to publish with each evaluation."),
)

FEATURE_FIELDS: Final = (
    Field("enabled", boolean(), required=True, help="Whether the feature is on, if its filters match."),
    _optional("description", text(empty=True), "What the flag is for."),
    _optional("display_name", text(empty=True), "Name that the portal shows."),
    _optional("filters", list_of(record(_FILTER_FIELDS)), "Filters that decide who sees the feature."),
    _optional("targeting", record(_TARGETING_FIELDS), "Audience: adds the filter Microsoft.Targeting."),
    _optional(
        "requirement_type", choice(Requirement), "Any: one filter must match; All: every filter must match (Any)."
    ),
    _optional("variants", list_of(record(_VARIANT_FIELDS)), "Variants of the feature."),
    _optional("allocation", record(_ALLOCATION_FIELDS), "Who gets which variant."),
    _optional("telemetry", record(_TELEMETRY_FIELDS), "Telemetry of the flag."),
)
"""Everything that `{feature: …}` may hold."""
