"""Fields of `run` in `kvsync.yaml`: when the daemon makes passes, when it may apply, and what it serves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from kvsync.config.lease import lease
from kvsync.config.model import ReloadMode
from kvsync.config.notify import channels
from kvsync.config.values import cron, host_and_port, is_loopback, listen, timezone, url
from kvsync.yaml import nodes
from kvsync.yaml.credential import credential
from kvsync.yaml.fields import (
    OMITTED,
    Decoder,
    Field,
    Problems,
    at,
    boolean,
    checked,
    choice,
    duration,
    glob,
    integer,
    list_of,
    quoted,
    record,
)

_OFTEN: Final = 0.01
"""Seconds; an interval shorter than this is a mistake."""


def _one_trigger(_values: Mapping[str, Any], node: nodes.Node, problems: Problems, what: str) -> None:
    if isinstance(node, nodes.Mapping) and {"every", "cron"} <= set(node.items):
        problems.add(at(what, "set every or cron, not both"), node.items["cron"][0])


def _one_effect(_values: Mapping[str, Any], node: nodes.Node, problems: Problems, what: str) -> None:
    if isinstance(node, nodes.Mapping) and len({"deny", "allow"} & set(node.items)) != 1:
        problems.add(at(what, "set deny or allow to the cron expression that opens the window"), node)


def _safe_to_listen(values: Mapping[str, Any], node: nodes.Node, problems: Problems, what: str) -> None:
    """What others can reach shows itself to those with the token alone."""
    address = values["listen"]
    if address is None or values["token"] is not None or not isinstance(node, nodes.Mapping):
        return
    if not is_loopback(host_and_port(address)[0]):
        message = f"listen: {quoted(address)} accepts requests from other machines, so a token is required"
        hint = "add token: {file: PATH}, or listen on 127.0.0.1"
        problems.add(at(what, message), node.items["listen"][1], hint)


HOOK_FIELDS: Final = (
    Field(
        "secret",
        credential(),
        required=True,
        help="Secret that the sender sends or signs with (GitHub, GitLab, or a plain token).",
    ),
    Field(
        "branches",
        list_of(glob()),
        default=(),
        help="Branches whose pushes start a pass, as globs (all).",
    ),
)

TRACING_FIELDS: Final = (
    Field(
        "endpoint",
        url(),
        required=True,
        help="Base URL of a collector that accepts OTLP over HTTP, without /v1/traces.",
    ),
)

WINDOW_FIELDS: Final = (
    Field(
        "deny",
        cron(),
        help="Cron expression that opens a window in which nothing is applied; deny takes precedence over allow.",
    ),
    Field("allow", cron(), help="Cron expression that opens a window outside which nothing is applied."),
    Field("for", duration(minimum=1), required=True, help="How long the window stays open."),
    Field("timezone", timezone(), default="UTC", help="The time zone of the cron expression (UTC)."),
)

RUN_FIELDS: Final = (
    Field("every", duration(minimum=_OFTEN), default=OMITTED, help="Time between passes (5m, unless cron is given)."),
    Field("cron", cron(), default=OMITTED, help="Times at which passes start, as a cron expression, instead of every."),
    Field(
        "jitter",
        duration(),
        help="Maximum random delay of a pass, so that daemons do not all start together (a tenth of every, 0s with cron).",
    ),
    Field(
        "deep_every",
        duration(minimum=_OFTEN),
        help="How often values are read if the listing has only fingerprints (never).",
    ),
    Field("watch", boolean(), default=True, help="Start a pass when a file changes (true)."),
    Field(
        "watch_stores",
        boolean(),
        default=True,
        help="Start a pass when another program changes a store that can report it: etcd (true).",
    ),
    Field(
        "debounce",
        duration(maximum=60),
        default=0.3,
        help="How long a file must stay unchanged before the daemon uses it (300ms).",
    ),
    Field(
        "reload",
        choice(ReloadMode),
        default=ReloadMode.AUTO,
        help="When a changed kvsync.yaml is loaded: auto (once it has not changed for debounce) or manual (on SIGHUP) (auto).",
    ),
    Field(
        "windows",
        list_of(
            checked(record(WINDOW_FIELDS), _one_effect, {"oneOf": [{"required": ["deny"]}, {"required": ["allow"]}]})
        ),
        default=(),
        help="Maintenance windows: times in which plans are made but not applied.",
    ),
    Field("listen", listen(), help="Address of the status page, health checks and metrics (off)."),
    Field(
        "token",
        credential(),
        help="Token for requests that change something, and for all requests if listen is not a loopback address.",
    ),
    Field(
        "hook",
        record(HOOK_FIELDS),
        help="Webhook that starts a pass, for Git servers and other clients that have the secret.",
    ),
    Field("tracing", record(TRACING_FIELDS), help="Send a trace of each pass to a collector (OpenTelemetry)."),
    Field(
        "notify", channels(), default=(), help="Notification channels for drift, parked plans, failures, and recovery."
    ),
    Field(
        "max_deletes_per_hour",
        integer(0),
        default=5000,
        help="Maximum number of deletes per hour over all targets; the rest waits (5000).",
    ),
    Field(
        "connections",
        integer(1),
        default=128,
        help="Maximum number of open connections to the address in listen (128, and never more than an eighth of the file "
        "descriptors).",
    ),
    Field("lease", lease(), help="Lease for several replicas; only the replica that holds it writes."),
)


def run() -> Decoder:
    """The decoder of `run`."""
    fields = checked(record(RUN_FIELDS), _one_trigger, {"not": {"required": ["every", "cron"]}})
    return checked(fields, _safe_to_listen)
