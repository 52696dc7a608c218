"""Lifetime that a file must declare so that it says what the store holds."""

from __future__ import annotations

from collections.abc import Mapping

from kvsync.model.capabilities import Capabilities
from kvsync.model.entry import Actual, Entry
from kvsync.planning.difference import ends_differently
from kvsync.rendering.words import duration, moment

_NO_FIELDS = {"ttl": None, "expires_at": None, "renew_before": None}


def lifetime_fields(
    entry: Entry, actual: Actual, owner: str, capabilities: Capabilities, now: float
) -> Mapping[str, str | None]:
    """The fields to set, as YAML, and with None those to remove; nothing if the declared lifetime is right. A lifetime that
    kvsync applied is declared as a TTL again, the end that someone else gave an entry as a moment."""
    is_ours = actual.mark is not None and actual.mark.owner == owner
    applied = actual.mark.ttl if actual.mark is not None and is_ours else None
    if applied is not None and applied != entry.ttl and actual.expires_at is not None:
        return {**_NO_FIELDS, "ttl": "none" if applied == capabilities.longest else duration(applied)}
    if capabilities.longest is not None or not ends_differently(entry, actual, now):
        return {}  # where everything ends, the end of an entry says nothing about what was asked for
    if actual.expires_at is None:
        return {**_NO_FIELDS, "ttl": "none"}
    return {**_NO_FIELDS, "expires_at": moment(actual.expires_at)}
