"""The `notify:` of `run`: who is told what of the targets."""

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
    """The receivers, no two the same."""
    return checked(list_of(checked(record(CHANNEL_FIELDS), _only_what_fits)), _none_twice)


def _none_twice(values: Any, node: nodes.Node, problems: Problems, what: str) -> None:
    seen = set()
    for one in values:
        url = one.get("url")
        if url is None:
            continue
        known = (url.kind, url.name, one["format"], frozenset(one["on"]))
        if known in seen:
            problems.add(at(what, f"{url.kind}: {quoted(url.name)} is told the same twice"), node)
        seen.add(known)


def _only_what_fits(values: Mapping[str, Any], node: nodes.Node, problems: Problems, what: str) -> None:
    if values["secret"] and values["format"] is NoticeFormat.SLACK and isinstance(node, nodes.Mapping):
        message = "secret: only messages of format webhook are signed; what Slack wants to be shown is in the url"
        problems.add(at(what, message), node.items["secret"][0])


CHANNEL_FIELDS: Final = (
    Field("url", credential(), required=True, help="Where messages are posted, by reference: it is a secret itself."),
    Field(
        "format",
        choice(NoticeFormat),
        default=NoticeFormat.WEBHOOK,
        help="webhook: kvsync's own JSON; slack: a text, as Slack, Mattermost and others take it (webhook).",
    ),
    Field(
        "on",
        list_of(choice(NoticeKind), least=1),
        default=tuple(NoticeKind),
        help="What to tell: drift, parked, failed, and healed: the end of each (all).",
    ),
    Field(
        "attempts",
        integer(1),
        default=3,
        help="How many passes in a row must fail before that is told, where trying again may help (3).",
    ),
    Field(
        "min_interval",
        duration(minimum=1),
        default=30.0,
        help="Shortest time between two messages; what happens in between is one message (30s).",
    ),
    Field("timeout", duration(minimum=1, maximum=60), default=10.0, help="Longest wait for the receiver (10s)."),
    Field(
        "secret", credential(), help="What messages of format webhook are signed with, as Standard Webhooks have it."
    ),
    Field("allow_insecure", boolean(), default=False, help="Accept plain http:// beyond this machine (false)."),
)
