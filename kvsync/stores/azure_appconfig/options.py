"""Options of the store type `azure-appconfig`, and which of them can be combined."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from kvsync.config.model import StoreConfig
from kvsync.config.values import url
from kvsync.model.entry import Content
from kvsync.stores.azure_appconfig.api import Tier, text_problems
from kvsync.stores.azure_appconfig.resources import ApiVersion, FeatureFlags
from kvsync.yaml.credential import credential
from kvsync.yaml.fields import Field, boolean, choice, duration, list_of, map_of, text

_MOST_TAGS: Final = 5
"""Tag filters of one request."""

OPTIONS: Final = (
    Field("connection_string", credential(), help="Endpoint, id and secret of an access key."),
    Field("client_id", text(), help="Id of the application or managed identity that signs in with Entra ID."),
    Field("tenant_id", text(), help="Id of the directory (tenant) of the application."),
    Field("client_secret", credential(), help="Secret of the application; without one, the ambient identity signs in."),
    Field("endpoints", list_of(url()), help="Endpoints of replicas, read in turn while the primary does not respond."),
    Field(
        "tags", map_of(text(empty=True)), help="Tags of every entry, at most 5; entries without them are not listed."
    ),
    Field("tier", choice(Tier), help="Tier of the store, which determines the write rate limit."),
    Field(
        "snapshot_before_apply",
        boolean(),
        default=False,
        help="Create a snapshot of a namespace before a run writes to it.",
    ),
    Field(
        "snapshot_retention",
        duration(whole=True, minimum=3600, maximum=90 * 86400),
        help="How long these snapshots are kept (7d; the free tier allows at most 7d).",
    ),
    Field(
        "api_version",
        choice(ApiVersion),
        help="Version of the API. Use the earlier one for endpoints that do not support the later one; it has no"
        " descriptions.",
    ),
    Field(
        "feature_flags",
        choice(FeatureFlags),
        default=FeatureFlags.KEY_VALUES,
        help="Where feature flags are: in key-values, or as resources (preview API). With resources, the store has only"
        " flags.",
    ),
)


def check_options(config: StoreConfig) -> None:
    """Raise ValueError for options that cannot be combined, and tags that the service refuses."""
    options = config.options
    named = [name for name in ("client_id", "tenant_id", "client_secret") if options.get(name)]
    if options.get("connection_string"):
        if named:
            raise ValueError(f"connection_string and {named[0]} cannot be combined; remove one of them")
    elif not config.endpoint:
        raise ValueError("set connection_string, or endpoint (https://name.azconfig.io) to sign in with Entra ID")
    elif options.get("client_secret") and len(named) < 3:
        raise ValueError("client_secret needs client_id and tenant_id")
    if options.get("snapshot_retention") and not options.get("snapshot_before_apply"):
        raise ValueError("set snapshot_before_apply: true, or remove snapshot_retention")
    if options.get("feature_flags") is FeatureFlags.RESOURCES:
        for name in ("api_version", "snapshot_before_apply"):
            if options.get(name):
                raise ValueError(f"{name} and feature_flags: resources cannot be combined; remove one of them")
    _check_tags(options.get("tags") or {})


def _check_tags(tags: Mapping[str, Any]) -> None:
    if len(tags) > _MOST_TAGS:
        raise ValueError(f"tags has {len(tags)} tags; azure-appconfig filters by at most {_MOST_TAGS}")
    for problem in text_problems(None, Content(b"", tags=tuple(tags.items()))):
        raise ValueError(f"tags: {problem}")
