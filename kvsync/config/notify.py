"""Decoder of the `run.notify` section: notification channels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from kvsync.config.model import NoticeFormat, NoticeKind
from kvsync.yaml import nodes
from kvsync.yaml.fields import (
    Decoder,
    Field,
    Problems,
    at,
    boolean,
    checked,
    choice,
    credential,
    duration,
    integer,
    list_of,
    quoted,
    record,
)


def channels() -> Decoder:
    """Decoder of the section: a list of channels, none of them twice."""
    return checked(list_of(checked(record(CHANNEL_FIELDS), _only_what_fits)), _none_twice)


def _none_twice(values: Any, node: nodes.Node, problems: Problems, what: str) -> None:
    seen = set()
    for one in values:
        url = one.get("url")
        if url is None:
            continue
        known = (url.kind, url.name, one["format"], frozenset(one["on"]))
        if known in seen:
            problems.add(at(what, f"{url.kind}: {quoted(url.name)} is used by two channels for the same events"), node)
        seen.add(known)


def _only_what_fits(values: Mapping[str, Any], node: nodes.Node, problems: Problems, what: str) -> None:
    if values["secret"] and values["format"] is NoticeFormat.SLACK and isinstance(node, nodes.Mapping):
        message = "secret: only the webhook format signs messages; for Slack, the secret is part of the url"
        problems.add(at(what, message), node.items["secret"][0])


CHANNEL_FIELDS: Final = (
    Field(
        "url", credential(), required=True, help="URL to post messages to, by reference, because the URL is a secret."
    ),
    Field(
        "format",
        choice(NoticeFormat),
        default=NoticeFormat.WEBHOOK,
        help="webhook: JSON in kvsync's format; slack: text for Slack, Mattermost and compatible services (webhook).",
    ),
    Field(
        "on",
        list_of(choice(NoticeKind), least=1),
        default=tuple(NoticeKind),
        help="Events to notify about: drift, parked, failed, and healed when one of these ends (all).",
    ),
    Field(
        "attempts",
        integer(1),
        default=3,
        help="Number of failed passes in a row before a notification about a transient error (3).",
    ),
    Field(
        "min_interval",
        duration(minimum=1),
        default=30.0,
        help="Minimum time between two messages; events in between are combined (30s).",
    ),
    Field("timeout", duration(minimum=1, maximum=60), default=10.0, help="Timeout of one request (10s)."),
    Field("secret", credential(), help="Secret that signs messages of format webhook, according to Standard Webhooks."),
    Field("allow_insecure", boolean(), default=False, help="Allow plain http:// to other machines (false)."),
)
