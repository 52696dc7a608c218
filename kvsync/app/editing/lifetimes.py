"""Computes the lifetime fields of an entry in a state file, to match what a store holds or what the command line gives."""

from __future__ import annotations

from collections.abc import Mapping

from kvsync.desired.fields import LABELLED_FIELDS
from kvsync.errors import UsageError
from kvsync.model.capabilities import Capabilities
from kvsync.model.entry import Actual, Entry
from kvsync.planning.difference import ends_differently
from kvsync.rendering.words import duration, moment
from kvsync.yaml.nodes import Scalar
from kvsync.yaml.problems import Problems

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


def given_lifetime(ttl: str | None, expires_at: str | None) -> Mapping[str, str | None]:
    """The fields to set for a lifetime that a person gave, as YAML; nothing if they gave none. Raises UsageError."""
    given = {name: text for name, text in (("ttl", ttl), ("expires_at", expires_at)) if text is not None}
    if len(given) > 1:
        raise UsageError("--ttl and --expires-at cannot be combined")
    for name, text in given.items():
        _check(name, text)
    if ttl is not None and ttl != "none":
        return {"expires_at": None, **given}  # `renew_before` stays
    return {**_NO_FIELDS, **given} if given else {}


def _check(name: str, text: str) -> None:
    """Raise UsageError if state files would not accept the text as this field."""
    [decoder] = (field.decoder for field in LABELLED_FIELDS if field.name == name)
    problems = Problems("")
    decoder.decode(Scalar(text, True, 1, 1), problems, f"--{name.replace('_', '-')}")
    for problem in problems.all():
        raise UsageError(f"{problem.message}; {problem.hint}" if problem.hint else problem.message)
