"""The store type `vault-kv`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from kvsync.config.model import StoreConfig
from kvsync.config.values import url
from kvsync.model.capabilities import Capabilities
from kvsync.model.entry import Actual, Identity, Target
from kvsync.model.health import DoctorCheck
from kvsync.model.place import Place, origin_of
from kvsync.model.snapshot import Snapshot, snapshot_of
from kvsync.planning.marks import MarkSigner
from kvsync.stores.base import StoreContext, Write, WriteResult
from kvsync.stores.option_rules import NotBoth, OneOf
from kvsync.stores.remote_store import Connection, PrefixNamespaces
from kvsync.stores.single_calls import SingleCallStore
from kvsync.yaml.credential import credential
from kvsync.yaml.fields import Field, path, text

if TYPE_CHECKING:
    from kvsync.stores.vault_kv.remote import Remote

KEY_FORMAT: Final = "{namespace}/{key}"
"""How identities become paths where the configuration does not say."""

_SEGMENT: Final = r"(?!\.{1,2}(?:/|$))[^/\x00-\x1f\x7f]+"
_SET_ADDRESS: Final = "set address: the URL of the server, such as https://vault.example.com:8200"
_WAYS: Final = ("token", "role_id", "kubernetes_role")


class VaultKvStore(PrefixNamespaces, SingleCallStore["Remote"]):
    """Secrets of one mount; a namespace is what the paths begin with."""

    key_format = KEY_FORMAT
    options = (
        Field("address", url(), help="Base URL of the server, such as https://vault.example.com:8200."),
        Field("mount", text(), default="secret", help="Path of the KV version 2 engine (secret)."),
        Field("token", credential(), help="Token to use, instead of signing in."),
        Field("role_id", text(), help="Role id of an AppRole."),
        Field("secret_id", credential(), help="Secret id of the AppRole."),
        Field("kubernetes_role", text(), help="Role to sign in with as a Kubernetes service account."),
        Field("kubernetes_token", credential(), help="Token of the service account (the one of the pod)."),
        Field("auth_mount", text(), help="Path of the authentication method (approle or kubernetes)."),
        Field("vault_namespace", text(), help="Namespace of Vault Enterprise or OpenBao."),
        Field("ca", path(), help="PEM file with the certificate authorities that sign the server's certificate."),
    )
    option_rules = (OneOf((("address",), ("endpoint",)), _SET_ADDRESS), NotBoth("ca_file", "ca"))
    capabilities = Capabilities(
        type="vault-kv",
        namespace="a path prefix in a mount",
        labels=False,
        content_type=False,
        tags=False,
        metadata=False,
        binary=False,
        min_ttl=5,
        max_key=400,
        key_pattern=f"{_SEGMENT}(?:/{_SEGMENT})*",
        max_value=500_000,
        batch=1,
        read_batch=1000,
        read_page=1,
        page=10_000,
        concurrency=16,
        values_in_listing=False,
        sensitive=True,
    )

    def __init__(self, config: StoreConfig, context: StoreContext) -> None:
        super().__init__(config, context)
        check_options(config)

    def place(self, namespace: str) -> Place:
        """The server and the mount by their addresses."""
        options = self.config.options
        named = [("address", origin_of(str(options.get("address") or self.config.endpoint)))]
        named += [("namespace", options["vault_namespace"])] if options.get("vault_namespace") else []
        named.append(("mount", options["mount"].strip("/")))
        return Place(self.config.type, tuple(named), self._keys.scope(namespace), is_resolved=False)

    async def locate(self, namespace: str, *, writing: bool = False) -> Place:
        """The mount by the id that the server gave it when it was created."""
        found, offline = await self._client().mount(refresh=writing), self.place(namespace)
        detail = " ".join(value for _, value in offline.parts)
        return replace(offline, parts=(("mount", found),), is_resolved=True, detail=detail)

    async def observe(self, namespace: str, signer: MarkSigner, token: str | None = None) -> Snapshot | None:
        """Everything in `namespace`, without values."""
        from kvsync.stores.vault_kv.secrets import must_be_read, to_actual

        secrets = await self._client().list_secrets(self._keys.prefix(namespace), f"listing {namespace}")
        named = {self._keys.decode(namespace, path): (path, secret) for path, secret in secrets.items()}
        live = {one: found for one, found in named.items() if one is not None and found[1].is_live}
        unread = [one for one, (_, secret) in live.items() if must_be_read(secret)]
        entries = {one: to_actual(one, secret, None) for one, (_, secret) in live.items()}
        entries |= await self.read(namespace, unread)
        return snapshot_of(Target(self.config.name, namespace), entries.values(), signer)

    async def namespaces(self) -> Sequence[str]:
        """What the paths begin with, as far as the key format tells."""
        paths = await self._client().list_paths("", "listing namespaces")
        return self._keys.namespaces_of(paths)

    async def _examine(self, remote: Remote) -> Sequence[DoctorCheck]:
        from kvsync.stores.vault_kv.doctor import examine

        return await examine(remote)

    async def _read_one(self, namespace: str, identity: Identity, name: str) -> Actual | None:
        """Metadata and value are read until both are of one version."""
        return await self._client().entry(identity, name)

    async def _write_one(self, namespace: str, name: str, write: Write) -> WriteResult:
        """On top of the version that was seen."""
        from kvsync.stores.vault_kv.writing import make

        return await make(self._client(), name, write)

    def _connect(self, connection: Connection) -> Remote:
        from kvsync.stores.vault_kv.remote import Remote

        return Remote(connection)


def check_options(config: StoreConfig) -> None:
    """Raise ValueError for options that do not go together."""
    options: Mapping[str, Any] = config.options
    given = [name for name in _WAYS if options.get(name) is not None]
    if len(given) != 1:
        found = f"{' and '.join(given)} cannot be combined" if given else "no credentials are configured"
        raise ValueError(f"{found}; set token, or role_id with secret_id, or kubernetes_role")
    if (options.get("secret_id") is None) is (options.get("role_id") is not None):
        raise ValueError("set both role_id and secret_id")
