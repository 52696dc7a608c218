"""Leader election for a workspace: sets up the lease of `run.lease` and blocks writes without it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Final
from uuid import uuid4

from kvsync.app import Workspace
from kvsync.app.revisions import RevisionCheck
from kvsync.config.credentials import resolve
from kvsync.config.model import Config, Credential, CredentialKind, EtcdLease, KubernetesLease, LeaseConfig
from kvsync.errors import LeaseHeld, PermanentError
from kvsync.http.route import Route
from kvsync.http.trust import ClientCertificate
from kvsync.leader.division import DivisionRecord, DivisionWatch
from kvsync.leader.elector import Elector
from kvsync.leader.model import CoordinationStore, Timing
from kvsync.model.shard import Shard

_LONGEST_CALL: Final = 5.0
"""Seconds for one request to the store of the lease."""


def shard_name(shard: Shard | None) -> str:
    """What is added to the name of a lease: replicas of one share elect among themselves."""
    return "" if shard is None else f"-{shard.index}-of-{shard.count}"


def lease_store_of(
    workspace: Workspace, config: LeaseConfig, identity: str, environ: Mapping[str, str]
) -> CoordinationStore:
    """The store of the lease, under the name for this shard of the targets. Connects on first use. Raises PermanentError if
    the configuration cannot work on this machine."""
    import kvsync.http.transport  # noqa: F401 - a claim has seconds to succeed, and on a busy machine importing takes them

    match config.backend:
        case EtcdLease():
            return _etcd(workspace, config, config.backend, identity, environ)
        case KubernetesLease():
            return _kubernetes(workspace, config, config.backend, identity, environ)


@asynccontextmanager
async def leading(workspace: Workspace, environ: Mapping[str, str]) -> AsyncIterator[Elector | None]:
    """The election that this replica takes part in, None where no lease is configured. From here on nothing is written to a
    store unless this replica leads. Raises PermanentError."""
    config = workspace.config.run.lease
    if config is None:
        yield None
        return
    identity = f"{socket.gethostname()}_{uuid4()}"
    store = lease_store_of(workspace, config, identity, environ)
    timing = Timing(config.duration, config.renew_within, config.retry)
    spread = Random()  # noqa: S311 - spreads load, guards nothing
    elector = Elector(store, identity, timing, workspace.clock, spread)
    workspace.pass_context.fence.follow(elector.seconds_left, elector.led_since)
    base, shard = _lease_name(config), shard_name(workspace.pass_context.shard)
    mine = DivisionRecord(base + shard, identity, workspace.config.owner, _stores_digest(workspace.config))
    elector.division = DivisionWatch(store, mine, workspace.clock)
    folder, clock = workspace.state.path, workspace.clock
    workspace.revisions = RevisionCheck(store, identity, folder, clock, records=True)
    try:
        yield elector
    finally:
        await store.aclose()


@asynccontextmanager
async def leading_now(elector: Elector | None) -> AsyncIterator[None]:
    """Lead until the end of the block, for a single pass. Raises LeaseHeld when another replica leads, PermanentError when none
    can, StoreError."""
    if elector is None:
        yield
        return
    await elector.turn()
    if elector.problem is not None:
        raise PermanentError(f"lease {elector.lease.name}: {elector.problem}")
    if not elector.may_write():
        raise LeaseHeld(elector.lease.name, elector.lease.leader)
    renewing = asyncio.ensure_future(elector.run(lambda: None))
    try:
        yield
    finally:
        renewing.cancel()
        await asyncio.gather(renewing, return_exceptions=True)
        await elector.release()


def _lease_name(config: LeaseConfig) -> str:
    return config.backend.key if isinstance(config.backend, EtcdLease) else config.backend.name


def _stores_digest(config: Config) -> str:
    """The same for replicas that write to the same stores."""
    stores = sorted((one.type, one.endpoint or "", repr(sorted(one.options.items()))) for one in config.stores.values())
    return sha256(repr(stores).encode()).hexdigest()[:16]


def _etcd(
    workspace: Workspace, config: LeaseConfig, etcd: EtcdLease, identity: str, environ: Mapping[str, str]
) -> CoordinationStore:
    from kvsync.leader.etcd import EtcdLeaseStore
    from kvsync.leader.etcd_gateway import Gateway, GatewayAccess

    root = workspace.config.root

    def read(secret: Credential) -> str:
        return resolve(secret, root, environ, workspace.redactor)

    key = etcd.key + shard_name(workspace.pass_context.shard)
    name, secret = etcd.username, etcd.password
    user = None if name is None or secret is None else (name, lambda: read(secret))
    certificate = None if etcd.certificate is None else ClientCertificate(*map(read, etcd.certificate))
    route = Route(ca_file=root / Path(etcd.ca).expanduser() if etcd.ca else None, certificate=certificate)
    access = GatewayAccess(user, workspace.redactor.register_token, route)
    where, timeout = f"lease {key} in etcd", _timeout(config)
    gateways = [Gateway(where, url, workspace.clock, timeout, access) for url in etcd.endpoints]
    return EtcdLeaseStore(key, identity, config.duration, gateways)


def _kubernetes(
    workspace: Workspace, config: LeaseConfig, named: KubernetesLease, identity: str, environ: Mapping[str, str]
) -> CoordinationStore:
    from kvsync.leader.in_cluster import in_cluster, own_namespace
    from kvsync.leader.kubernetes import KubernetesLeaseStore, LeaseName

    def token(file: Path) -> str:
        return resolve(Credential(CredentialKind.FILE, str(file)), workspace.config.root, environ, workspace.redactor)

    name = named.name + shard_name(workspace.pass_context.shard)
    client = in_cluster(f"lease {name}", workspace.clock, _timeout(config), environ, token)
    lease = LeaseName(named.namespace or own_namespace(f"lease {name}"), name)
    return KubernetesLeaseStore(lease, identity, config.duration, client, workspace.clock)


def _timeout(config: LeaseConfig) -> float:
    return min(_LONGEST_CALL, config.renew_within / 2)
