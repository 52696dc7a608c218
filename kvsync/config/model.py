"""Configuration as frozen dataclasses. Nothing here opens, reads or resolves anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum
from pathlib import Path
from typing import Any

from kvsync.config.authority import Authority
from kvsync.config.schemas import SchemaRule
from kvsync.config.sops import SopsConfig
from kvsync.errors import Origin
from kvsync.model.answer_limits import AnswerLimits
from kvsync.model.pass_limits import PassLimits
from kvsync.model.policy import Policy
from kvsync.planning.waves import Wave
from kvsync.util.values import dataclass
from kvsync.yaml.credential import Credential as Credential
from kvsync.yaml.credential import CredentialKind as CredentialKind


@dataclass(frozen=True, slots=True)
class StoreConfig:
    """One configured store. `options` are the options of its type, decoded by the fields that the type declares.
    `private_files` are the files named in the options that no state file may read. `proxy` is a URL, or a reference if it
    contains a password. `ca_file` is relative to the folder of `kvsync.yaml`."""

    name: str
    type: str
    options: Mapping[str, Any]
    endpoint: str | None = None
    timeout: float = 30
    concurrency: int | None = None
    key_format: str | None = None
    allow_insecure: bool = False
    policy: Policy = field(default_factory=Policy)
    origin: Origin | None = None
    private_files: tuple[str, ...] = ()
    proxy: str | Credential | None = None
    ca_file: str | None = None


@dataclass(frozen=True, slots=True)
class GitCredentials:
    """Credentials for a Git server: a user name with a password or token, or the private key of an SSH user.

    `known_hosts` is the path of the file with the keys of SSH servers, relative to the configuration's folder.
    """

    username: str | None = None
    password: Credential | None = None
    ssh_key: Credential | None = None
    known_hosts: str | None = None


@dataclass(frozen=True, slots=True)
class GitVerify:
    """Files with the keys whose signatures on commits are accepted: paths relative to the configuration's folder, one or
    both."""

    allowed_signers: str | None = None
    keyring: str | None = None


@dataclass(frozen=True, slots=True)
class GitSource:
    """A Git repository that the state files come from. Times in seconds, sizes in bytes; `path` is "" for the whole repository,
    `depth` None for the whole history, `symlinks` says whether links in it are followed. `min_commit` is the full id of the
    oldest commit that is acceptable."""

    url: str
    ref: str = "HEAD"
    path: str = ""
    every: float = 60
    timeout: float = 120
    depth: int | None = None
    max_size: int = 2**30
    allow_rewrites: bool = False
    symlinks: bool = False
    credentials: GitCredentials = field(default_factory=GitCredentials)
    verify: GitVerify | None = None
    min_commit: str | None = None


@dataclass(frozen=True, slots=True)
class Window:
    """Maintenance window, opened by a cron expression for `duration` seconds. With `deny`, nothing is applied while it is
    open; without, nothing is applied while it is closed."""

    cron: str
    duration: float
    timezone: str = "UTC"
    deny: bool = True


@dataclass(frozen=True, slots=True)
class HookConfig:
    """Webhook that requests a pass. The sender must know `secret`. `branches` are globs: a push to any other branch is
    ignored; empty: no push is."""

    secret: Credential
    branches: tuple[str, ...] = ()


class NoticeKind(StrEnum):
    """Kinds of notifications about a target."""

    DRIFT = "drift"
    PARKED = "parked"
    FAILED = "failed"
    HEALED = "healed"


class NoticeFormat(StrEnum):
    """Format of a message: kvsync's own JSON, or Slack's."""

    WEBHOOK = "webhook"
    SLACK = "slack"


@dataclass(frozen=True, slots=True)
class ChannelConfig:
    """Notification channel. `url` refers to the address, which is a secret itself, `secret` to what messages are
    signed with. `on` holds the kinds that are wanted; a failure that a retry may end counts after `attempts` in a row.
    `min_interval` and `timeout` are in seconds."""

    url: Credential
    format: NoticeFormat = NoticeFormat.WEBHOOK
    on: tuple[NoticeKind, ...] = tuple(NoticeKind)
    attempts: int = 3
    min_interval: float = 30
    timeout: float = 10
    secret: Credential | None = None
    allow_insecure: bool = False


@dataclass(frozen=True, slots=True)
class EtcdLease:
    """A lease that etcd keeps, under `key`; `endpoints` are base URLs, tried in turn. `certificate` is the one that kvsync
    shows, with its key."""

    endpoints: tuple[str, ...]
    key: str
    username: str | None = None
    password: Credential | None = None
    ca: str | None = None
    certificate: tuple[Credential, Credential] | None = None


@dataclass(frozen=True, slots=True)
class KubernetesLease:
    """A lease that the cluster which kvsync runs in keeps; `namespace` None: the pod's own."""

    name: str
    namespace: str | None = None


@dataclass(frozen=True, slots=True)
class LeaseConfig:
    """Several replicas, one of which writes: the one that holds the lease. Times in seconds: it ends `duration` after it was
    last renewed, a leader that could not renew it for `renew_within` stops writing, and it is claimed every `retry`."""

    backend: EtcdLease | KubernetesLease
    duration: float = 10
    renew_within: float = 7
    retry: float = 2


class ReloadMode(StrEnum):
    """When the daemon loads a changed `kvsync.yaml`."""

    AUTO = "auto"
    MANUAL = "manual"


@dataclass(frozen=True, slots=True)
class RunConfig:
    """The daemon. Times in seconds; `every` None and `cron` None means that only changes and timers trigger a pass. `token`
    is what requests to `listen` must show, `tracing` the base URL of a collector of traces. `max_deletes_per_hour` bounds the
    deletes of all targets together, `connections` those to `listen`."""

    every: float | None = 300
    cron: str | None = None
    jitter: float | None = None
    deep_every: float | None = None
    watch: bool = True
    watch_stores: bool = True
    debounce: float = 0.3
    reload: ReloadMode = ReloadMode.AUTO
    windows: tuple[Window, ...] = ()
    listen: str | None = None
    token: Credential | None = None
    hook: HookConfig | None = None
    notify: tuple[ChannelConfig, ...] = ()
    tracing: str | None = None
    lease: LeaseConfig | None = None
    max_deletes_per_hour: int = 5000
    connections: int = 128


@dataclass(frozen=True, slots=True)
class ReadLimits:
    """Limits for reading the state files. Sizes in bytes; see `kvsync.config.limits` for what each bounds."""

    state_file: int = 10 * 2**20
    value_file: int = 64 * 2**20
    value_files: int = 100_000
    value_bytes: int = 256 * 2**20
    total: int = 2**30
    targets: int = 10_000
    total_targets: int = 100_000
    folder_names: int = 1_000_000
    folder_depth: int = 100
    pattern_steps: int = 2_000_000
    patterns: int = 1_000
    nesting: int = 64
    aliases: int = 100_000
    documents: int = 20_000
    entries: int = 200_000
    expansion: int = 256 * 2**20
    problems: int = 1_000


@dataclass(frozen=True, slots=True)
class JournalLimits:
    """Limits of the journal: number of runs, their age in seconds, and its size in bytes."""

    runs: int = 100_000
    age: float = 90 * 86_400
    size: int = 256 * 2**20


@dataclass(frozen=True, slots=True)
class Config:
    """`kvsync.yaml`, read. `root` is the folder the file lies in; `state_dir` is absolute. The state files lie under `root`, or
    in the repository that `source` names. The first of `owner_keys` signs marks and ledgers, all of them verify; none: plain
    digests. `authority` decides what state files may do. `database` is the connection string of the PostgreSQL database that
    keeps the state; None: `state_dir` does. `variables` are the `vars:` of the file and of its `overlay`, which is None when
    the environment in force has none. `included` are files that complete it. `digest` identifies the texts
    that it was read from."""

    file: Path
    root: Path
    owner: str
    state: tuple[str, ...]
    state_dir: Path
    stores: Mapping[str, StoreConfig]
    environments: tuple[str, ...] = ()
    environment: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    schemas: tuple[SchemaRule, ...] = ()
    waves: tuple[Wave, ...] = ()
    sops: SopsConfig = field(default_factory=SopsConfig)
    overlay: Path | None = None
    policy: Policy = field(default_factory=Policy)
    run: RunConfig = field(default_factory=RunConfig)
    source: GitSource | None = None
    owner_keys: tuple[Credential, ...] = ()
    limits: ReadLimits = field(default_factory=ReadLimits)
    answer_limits: AnswerLimits = field(default_factory=AnswerLimits)
    pass_limits: PassLimits = field(default_factory=PassLimits)
    journal: JournalLimits = field(default_factory=JournalLimits)
    authority: Authority = field(default_factory=Authority)
    database: Credential | None = None
    included: tuple[Path, ...] = ()
    digest: bytes = field(default=b"", compare=False)
