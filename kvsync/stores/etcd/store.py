"""The store type `etcd`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from math import ceil
from typing import TYPE_CHECKING, Final

from kvsync.config.model import StoreConfig
from kvsync.config.tls import TLS_FIELDS
from kvsync.config.values import url
from kvsync.errors import PermanentError
from kvsync.model.capabilities import Capabilities
from kvsync.model.entry import Actual, Identity, Target
from kvsync.model.health import DoctorCheck
from kvsync.model.place import Place, origin_of
from kvsync.model.snapshot import Snapshot, snapshot_of
from kvsync.planning.marks import MarkSigner
from kvsync.stores.base import StoreContext, Write, WriteResult, WriteStatus
from kvsync.stores.limits import check_batch
from kvsync.stores.option_rules import NotBoth, OneOf, RequiredTogether
from kvsync.stores.remote_store import Connection, PrefixNamespaces, RemoteStore
from kvsync.yaml.credential import credential
from kvsync.yaml.fields import Field, duration, list_of, one_of, record, text

if TYPE_CHECKING:
    from kvsync.stores.etcd.entries import KeyedWrite, Pair
    from kvsync.stores.etcd.listing import State
    from kvsync.stores.etcd.remote import Cluster, Remote

KEY_FORMAT: Final = "{namespace}/{key}"
"""How identities become remote keys where the configuration does not say."""

RESERVED: Final = ".kvsync/"
"""What keys of kvsync's own begin with."""

_SET_ENDPOINTS: Final = "set endpoints: a list of URLs such as https://etcd-0.example.com:2379 (or endpoint, for one)"


class EtcdStore(PrefixNamespaces, RemoteStore["Remote"]):
    """Entries of one cluster; a namespace is what the keys begin with."""

    key_format = KEY_FORMAT
    options = (
        Field(
            "endpoints",
            one_of(list_of(url(), least=1), url()),
            help="Base URLs of the members; the next one is tried when one fails.",
        ),
        Field("username", text(), help="The user, if etcd requires authentication."),
        Field("password", credential(), help="The user's password."),
        Field("tls", record(TLS_FIELDS), help="Certificates, if the system's authorities are not enough."),
        Field("timeout", duration(minimum=0.001), default=10.0, help="Timeout of one request (10s)."),
    )
    option_rules = (
        OneOf((("endpoints",), ("endpoint",)), _SET_ENDPOINTS),
        RequiredTogether("username", "password"),
        RequiredTogether("tls.cert", "tls.key"),
        NotBoth("ca_file", "tls.ca"),
    )
    capabilities = Capabilities(
        type="etcd",
        namespace="a key prefix",
        labels=False,
        content_type=False,
        tags=False,
        metadata=False,
        min_ttl=5,
        max_key=4096,
        max_value=1_400_000,
        batch=128,
        max_batch_bytes=1_200_000,
        read_batch=128,
        page=10_000,
        concurrency=4,
    )

    def __init__(self, config: StoreConfig, context: StoreContext) -> None:
        super().__init__(config, context)
        self._located: dict[str, Cluster] = {}

    def remote_key(self, namespace: str, identity: Identity) -> str:
        """The key by the configured format; by default the namespace, a slash, and the key."""
        found = super().remote_key(namespace, identity)
        if found.startswith(RESERVED) or found == RESERVED[:-1]:
            raise ValueError(f"keys that begin with {RESERVED} are reserved for kvsync")
        return found

    def place(self, namespace: str) -> Place:
        """The configured endpoints, which do not say which cluster they belong to."""
        written = self.config.options.get("endpoints") or self.config.endpoint
        urls = (written,) if isinstance(written, str) else written
        origins = ", ".join(sorted(map(origin_of, urls or ())))
        return Place(self.config.type, (("endpoints", origins),), self._keys.scope(namespace), is_resolved=False)

    async def locate(self, namespace: str, *, writing: bool = False) -> Place:
        """The cluster by its own id and the one that kvsync gave it, so that endpoints may come and go."""
        found = await self._client().cluster(writing=writing)
        self._located[namespace] = found
        offline = self.place(namespace)
        detail = offline.parts[0][1]
        if found.id is None:
            return replace(offline, parts=(("cluster", found.cluster),), detail=detail)
        parts = (("cluster", found.cluster), ("id", found.id))
        return replace(offline, parts=parts, is_resolved=True, detail=detail)

    async def observe(self, namespace: str, signer: MarkSigner, token: str | None = None) -> Snapshot | None:
        """Everything in `namespace` at one revision."""
        from kvsync.stores.etcd.listing import changed_since, list_all

        remote, prefix, what = self._client(), self._keys.prefix(namespace).encode(), f"listing {namespace}"
        known = _state_of(token)
        if known is not None and not await changed_since(remote, prefix, known, what):
            return None
        listing = await list_all(remote, prefix, what)
        self._check_cluster(namespace, listing.cluster)
        pairs = self._identified(namespace, listing.pairs)
        entries = await self._entries(pairs, only_marked=True)
        shown = "{}.{}.{}".format(*listing.state)
        return snapshot_of(Target(self.config.name, namespace), entries.values(), signer, token=shown)

    async def read(self, namespace: str, identities: Sequence[Identity]) -> Mapping[Identity, Actual]:
        """These entries, all as of one moment."""
        from kvsync.stores.etcd.listing import read_pairs

        keys = {identity: name.encode() for identity, name in self._named(namespace, identities).items()}
        if not keys:
            return {}
        found = await read_pairs(self._client(), list(keys.values()), f"reading {namespace}")
        pairs = {identity: found[key] for identity, key in keys.items() if key in found}
        return await self._entries(pairs, only_marked=False)

    async def write(self, namespace: str, writes: Sequence[Write]) -> Sequence[WriteResult]:
        """All writes in one transaction, each with its own condition."""
        check_batch(self._where(namespace), writes, self.capabilities)
        refused: dict[int, WriteResult] = {}
        accepted: list[tuple[bytes, Write]] = []
        for index, write in enumerate(writes):
            try:
                accepted.append((self._checked(namespace, write.identity, write.content).encode(), write))
            except ValueError as problem:
                refused[index] = WriteResult(WriteStatus.REJECTED, error=str(problem))
        done = iter(await self._send(namespace, accepted) if accepted else ())
        return [refused[index] if index in refused else next(done) for index in range(len(writes))]

    async def namespaces(self) -> Sequence[str]:
        """What the keys begin with, as far as the key format tells."""
        from kvsync.stores.etcd.listing import list_namespaces

        return await list_namespaces(self._client(), self._keys)

    async def remote_keys(self) -> Sequence[str]:
        """The keys of the cluster. Bytes that are not UTF-8 are surrogates, as in file names."""
        from kvsync.stores.etcd.listing import list_keys

        return [key.decode("utf-8", "surrogateescape") for key in await list_keys(self._client())]

    async def watch(self, namespaces: Collection[str], changed: Callable[[str], None]) -> None:
        """Hear of what other programs write, over one open request."""
        from kvsync.stores.etcd.watch import Watch

        prefixes = {name: self._keys.prefix(name).encode() for name in namespaces}
        await Watch(self._client(), prefixes, changed).run()

    async def _examine(self, remote: Remote) -> Sequence[DoctorCheck]:
        from kvsync.stores.etcd.doctor import examine

        return await examine(remote)

    async def _send(self, namespace: str, writes: Sequence[tuple[bytes, Write]]) -> list[WriteResult]:
        from kvsync.http.etcd import LeaseGoneError, call
        from kvsync.http.failures import confirmed
        from kvsync.stores.etcd.entries import results_of, transaction

        remote, what = self._client(), f"writing to {namespace}"
        known = self._located.get(namespace)
        keyed = await self._with_leases(remote, writes)
        is_secret = any(write.is_sensitive for _, write in writes)
        body = transaction(keyed, None if known is None else known.id)
        try:
            answer = await remote.write("kv/txn", what, body, is_secret=is_secret)
        except LeaseGoneError:
            remote.drop_leases()
            raise
        with confirmed(remote.where, call("kv/txn", what, {}, is_secret=is_secret), answer):
            results = results_of(keyed, answer.data) if answer.data.get("succeeded") else None
            if any(one.status is WriteStatus.DONE for one in results or ()):  # else it is the revision of another write
                remote.note_own(int(answer.data["header"]["revision"]))
        if results is None:
            raise self._elsewhere(namespace, "the id in the key .kvsync is different")
        return results

    async def _with_leases(self, remote: Remote, writes: Sequence[tuple[bytes, Write]]) -> list[KeyedWrite]:
        from kvsync.stores.etcd.entries import KeyedWrite

        ends = {ceil(write.expires_at) for _, write in writes if write.expires_at is not None}
        leases = {end: await remote.lease(end) for end in sorted(ends)}
        return [
            KeyedWrite(key, write, None if write.expires_at is None else leases[ceil(write.expires_at)])
            for key, write in writes
        ]

    def _identified(self, namespace: str, pairs: Sequence[Pair]) -> dict[Identity, Pair]:
        """The keys of the namespace by identity. A key that is not UTF-8 cannot be in a state file, and is left out."""
        found: dict[Identity, Pair] = {}
        for pair in pairs:
            try:
                identity = self._keys.decode(namespace, pair.row.key.decode())
            except UnicodeDecodeError:
                continue
            if identity is not None:
                found[identity] = pair
        return found

    async def _entries(self, pairs: Mapping[Identity, Pair], *, only_marked: bool) -> dict[Identity, Actual]:
        """Keys as entries. Leases that kvsync did not request are looked up; with `only_marked`, not those of entries without
        a mark."""
        from kvsync.stores.etcd.entries import bears_mark, foreign_lease, to_actual
        from kvsync.util.concurrency import gather_or_cancel

        asked = {
            foreign_lease(pair) for pair in pairs.values() if pair.row.lease and (not only_marked or bears_mark(pair))
        }
        leases = sorted(lease for lease in asked if lease is not None)
        remote = self._client()
        ends = dict(zip(leases, await gather_or_cancel(map(remote.lease_end, leases)), strict=True))
        return {identity: to_actual(identity, pair, ends) for identity, pair in pairs.items()}

    def _check_cluster(self, namespace: str, cluster: str) -> None:
        known = self._located.get(namespace)
        if known is not None and known.cluster != cluster:
            raise self._elsewhere(namespace, f"cluster {cluster} answered, not {known.cluster}")

    def _elsewhere(self, namespace: str, why: str) -> PermanentError:
        return PermanentError(
            f"{self._where(namespace)}: the endpoints now reach a different cluster: {why}; correct endpoints, or plan again"
        )

    def _connect(self, connection: Connection) -> Remote:
        from kvsync.stores.etcd.remote import Remote

        return Remote(connection)


def _state_of(token: str | None) -> State | None:
    from kvsync.stores.etcd.listing import State

    try:
        revision, keys, sidecars = map(int, (token or "").split("."))
    except ValueError:
        return None
    return State(revision, keys, sidecars)
