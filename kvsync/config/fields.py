"""Field tables of `kvsync.yaml`: names, types, help texts and defaults."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, Final

from kvsync.config.authors import AUTHORS_FIELDS
from kvsync.config.git import SOURCE_FIELDS
from kvsync.config.lease import lease
from kvsync.config.limits import JOURNAL_FIELDS, LIMIT_FIELDS
from kvsync.config.model import ReloadMode
from kvsync.config.notify import channels
from kvsync.config.policy import ROOT_POLICY_FIELDS
from kvsync.config.schemas import SCHEMA_FIELDS
from kvsync.config.sops import SOPS_FIELDS
from kvsync.config.stores import StoreTypes, stores
from kvsync.config.values import cron, host_and_port, is_loopback, listen, timezone, url
from kvsync.config.waves import WAVE_FIELDS
from kvsync.yaml import nodes
from kvsync.yaml.credential import credential
from kvsync.yaml.fields import (
    OMITTED,
    Decoder,
    Field,
    Problems,
    ScalarDecoder,
    at,
    boolean,
    checked,
    choice,
    duration,
    glob,
    integer,
    list_of,
    map_of,
    one_of,
    path,
    quoted,
    record,
    text,
)
from kvsync.yaml.variables import VARIABLE_NAME

ENVIRONMENT_NAME: Final = r"[A-Za-z0-9_-]+"  # it stands between dots in file names

_OFTEN: Final = 0.01
"""Seconds; an interval shorter than this is a mistake."""


def _version() -> Decoder:
    def read(written: str, plain: bool) -> int:
        if written != "1" or not plain:
            raise ValueError("this release of kvsync supports version 1")
        return 1

    return ScalarDecoder("version 1", read, {"const": 1})


def _state_glob() -> Decoder:
    def check(written: str, node: nodes.Node, problems: Problems, what: str) -> None:
        pure = PurePosixPath(written)
        if pure.is_absolute() or ".." in pure.parts:
            message = "state files must be in the folder of the configuration or below it"
            problems.add(at(what, message), node, "use a relative pattern without ..")

    return checked(glob(), check)


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
        "deny", cron(), help="Cron expression that opens a window in which nothing is applied; deny wins over allow."
    ),
    Field("allow", cron(), help="Cron expression that opens a window outside of which nothing is applied."),
    Field("for", duration(minimum=1), required=True, help="How long the window stays open."),
    Field("timezone", timezone(), default="UTC", help="The time zone of the cron expression (UTC)."),
)

RUN_FIELDS: Final = (
    Field("every", duration(minimum=_OFTEN), default=OMITTED, help="Time between passes (5m, unless cron is given)."),
    Field("cron", cron(), default=OMITTED, help="Start of passes as a cron expression, instead of every."),
    Field(
        "jitter",
        duration(),
        help="Maximum random delay of a pass, so that daemons do not all start at once (a tenth of every, 0s with cron).",
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
    Field("lease", lease(), help="Lease for several replicas; only the replica that holds it writes."),
)


DEFAULT_STATE_FILES: Final = ("state/**/*.yaml",)

POSTGRESQL_FIELDS: Final = (
    Field(
        "dsn",
        credential(),
        required=True,
        help="Connection string: postgresql://USER@HOST:PORT/DATABASE?sslmode=verify-full, with a password.",
    ),
)
"""Everything that `state.postgresql` may hold."""

STATE_FIELDS: Final = (
    Field(
        "files",
        one_of(list_of(_state_glob(), least=1), _state_glob()),
        default=DEFAULT_STATE_FILES,
        help="Patterns of the files with the desired state, relative to this file (state/**/*.yaml).",
    ),
    Field(
        "postgresql",
        record(POSTGRESQL_FIELDS),
        help="Database that keeps journal, ledger, approvals and pauses for all replicas; state_dir keeps caches only.",
    ),
)
"""Everything that `state` may hold as a mapping."""


def config_fields(store_types: StoreTypes) -> tuple[Field, ...]:
    """Everything that `kvsync.yaml` may hold. `store_types` are those that its stores may be of."""
    return (
        Field("version", _version(), required=True, help="Version of this format: 1."),
        Field(
            "owner",
            text("[A-Za-z0-9._-]{1,64}", "1 to 64 of A-Z a-z 0-9 . _ -"),
            required=True,
            help="Id that marks every entry kvsync writes; kvsync deletes only entries with this mark.",
        ),
        Field(
            "owner_key",
            one_of(list_of(credential(), least=1), credential()),
            help="Secret that signs marks and ledgers, the same on all machines of the owner; in a list, the first signs.",
        ),
        Field(
            "state",
            one_of(list_of(_state_glob(), least=1), _state_glob(), record(STATE_FIELDS)),
            default=DEFAULT_STATE_FILES,
            help="Patterns of the files with the desired state, relative to this file (state/**/*.yaml); "
            "or a mapping of files and postgresql, where a database keeps the state.",
        ),
        Field(
            "source",
            record(SOURCE_FIELDS),
            help="Source of the state files, if it is not the folder of this file; state is then relative to it.",
        ),
        Field("state_dir", path(), default=".kvsync", help="Folder of journal, ledger, cache and lock (.kvsync)."),
        Field(
            "environments",
            list_of(text(ENVIRONMENT_NAME, "the name of an environment: A-Z a-z 0-9 _ -")),
            default=(),
            help="Environments that overlay files can name: kvsync.prod.yaml and state/web.prod.yaml belong to prod.",
        ),
        Field("environment", text(), help="The current environment; --env overrides it."),
        Field(
            "vars",
            map_of(text(empty=True), VARIABLE_NAME),
            default={},
            help="Variables, as name: text, for `${name}` in this file and in templates of state files.",
        ),
        Field("stores", stores(store_types), required=True, help="The stores, by name."),
        Field("policy", record(ROOT_POLICY_FIELDS), required=True, help="What kvsync may do; prune is required."),
        Field(
            "schemas",
            list_of(record(SCHEMA_FIELDS)),
            default=(),
            help="JSON Schemas that the values of some keys must match.",
        ),
        Field(
            "waves",
            list_of(record(WAVE_FIELDS)),
            default=(),
            help="Waves of targets, first to last: the next one begins once the one before is in sync.",
        ),
        Field("sops", record(SOPS_FIELDS), help="How files encrypted with SOPS are decrypted."),
        Field("limits", record(LIMIT_FIELDS), help="Limits for reading the state files, and for what stores answer."),
        Field("journal", record(JOURNAL_FIELDS), help="How many runs the journal keeps, and for how long."),
        Field(
            "run",
            checked(
                checked(record(RUN_FIELDS), _one_trigger, {"not": {"required": ["every", "cron"]}}), _safe_to_listen
            ),
            default=OMITTED,
            help="The daemon: when it makes passes, and when it may apply.",
        ),
        Field(
            "authors",
            record(AUTHORS_FIELDS),
            help="What state files may do; by default, they can only make the policy stricter.",
        ),
    )
