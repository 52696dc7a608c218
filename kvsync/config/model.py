"""The configuration as frozen values. Plain data: nothing here opens, reads or resolves anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kvsync.core.model import Policy
from kvsync.document.credential import Credential as Credential
from kvsync.document.credential import CredentialKind as CredentialKind
from kvsync.errors import Origin


@dataclass(frozen=True, slots=True)
class StoreConfig:
    """One configured store. `options` are the type's own, decoded by the fields that the type declares."""

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


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time, opened by a cron expression, in which applying is denied (or alone allowed)."""

    cron: str
    duration: float
    timezone: str = "UTC"
    deny: bool = True


@dataclass(frozen=True, slots=True)
class HookConfig:
    """Who may ask for a pass over HTTP: who knows the secret. `branches` are globs; where they are given, a push to another
    branch is ignored."""

    secret: Credential
    branches: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EtcdLease:
    """A lease that etcd keeps, under `key`; `endpoints` are base URLs, tried in turn."""

    endpoints: tuple[str, ...]
    key: str
    username: str | None = None
    password: Credential | None = None


@dataclass(frozen=True, slots=True)
class KubernetesLease:
    """A lease that the cluster which kvsync runs in keeps; `namespace` None: the pod's own."""

    name: str
    namespace: str | None = None


@dataclass(frozen=True, slots=True)
class LeaseConfig:
    """Several replicas, one of which writes: the one that holds the lease. Times in seconds: it ends `duration` after it was
    last renewed, a leader that could not renew it for `renew_within` stops writing, and it is claimed every `retry`."""

    keeper: EtcdLease | KubernetesLease
    duration: float = 10
    renew_within: float = 7
    retry: float = 2


@dataclass(frozen=True, slots=True)
class RunConfig:
    """The daemon. Times in seconds; `every` None and `cron` None means that only changes and timers trigger a pass. `token`
    is what requests to `listen` must show."""

    every: float | None = 300
    cron: str | None = None
    jitter: float | None = None
    deep_every: float | None = None
    watch: bool = True
    debounce: float = 0.3
    windows: tuple[Window, ...] = ()
    listen: str | None = None
    token: Credential | None = None
    hook: HookConfig | None = None
    lease: LeaseConfig | None = None


@dataclass(frozen=True, slots=True)
class Config:
    """`kvsync.yaml`, read. `root` is the folder the file lies in; `state_dir` is absolute."""

    file: Path
    root: Path
    owner: str
    state: tuple[str, ...]
    state_dir: Path
    stores: Mapping[str, StoreConfig]
    environments: tuple[str, ...] = ()
    environment: str | None = None
    policy: Policy = field(default_factory=Policy)
    run: RunConfig = field(default_factory=RunConfig)
