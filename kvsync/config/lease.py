"""Decoder of the `run.lease` section."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from kvsync.config.model import EtcdLease, KubernetesLease, LeaseConfig
from kvsync.config.tls import TLS_FIELDS
from kvsync.config.values import is_plain_http, url
from kvsync.yaml import nodes
from kvsync.yaml.credential import credential
from kvsync.yaml.fields import (
    Decoder,
    Field,
    Problems,
    at,
    boolean,
    checked,
    duration,
    list_of,
    one_of,
    record,
    text,
)

_DURATION: Final = 10.0
_RENEW_PART: Final = 0.7
_LEAST: Final = 2
"""Seconds: etcd makes shorter leases this long."""

_LABEL: Final = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_BACKENDS: Final = ("kubernetes", "etcd")

ETCD_LEASE_FIELDS: Final = (
    Field(
        "endpoint",
        one_of(list_of(url(), least=1), url()),
        required=True,
        help="Base URL of etcd, or several that are tried in order.",
    ),
    Field("key", text(), required=True, help="The key that names the leader, such as kvsync/leader."),
    Field("username", text(), help="The user, if etcd requires authentication."),
    Field("password", credential(), help="The user's password."),
    Field("tls", record(TLS_FIELDS), help="Certificates, if the system's authorities are not enough."),
    Field("allow_insecure", boolean(), default=False, help="Allow plain http:// to other machines."),
)

KUBERNETES_LEASE_FIELDS: Final = (
    Field(
        "name",
        text(rf"(?=.{{1,200}}$){_LABEL}(\.{_LABEL})*", "the name of an object: a-z 0-9 - ."),
        required=True,
        help="Name of the Lease object; kvsync creates it.",
    ),
    Field(
        "namespace",
        text(rf"(?=.{{1,63}}$){_LABEL}", "the name of a namespace: a-z 0-9 -"),
        help="Namespace of the Lease object (the namespace of the pod).",
    ),
)

LEASE_FIELDS: Final = (
    Field("kubernetes", record(KUBERNETES_LEASE_FIELDS), help="Lease in the Kubernetes cluster that kvsync runs in."),
    Field("etcd", record(ETCD_LEASE_FIELDS), help="Lease in etcd."),
    Field(
        "duration",
        duration(minimum=_LEAST),
        default=_DURATION,
        help="Time after the last renewal until another replica takes over, in whole seconds (10s).",
    ),
    Field(
        "renew_within",
        duration(),
        help="A leader that could not renew the lease for this long stops writing (0.7 of duration).",
    ),
    Field("retry", duration(minimum=0.05), default=2.0, help="How often the lease is claimed or renewed (2s)."),
)
"""Everything that `run.lease` may hold."""


def lease() -> Decoder:
    """Decoder of the section; `configured_lease` converts its result."""
    return checked(record(LEASE_FIELDS), _check, {"oneOf": [{"required": [name]} for name in _BACKENDS]})


def configured_lease(values: Mapping[str, Any]) -> LeaseConfig:
    """Convert the decoded section to a `LeaseConfig`."""
    etcd, kubernetes, whole = values["etcd"], values["kubernetes"], values["duration"]
    backend = KubernetesLease(**kubernetes) if kubernetes is not None else _etcd(etcd)
    return LeaseConfig(backend, whole, _renew_within(values), values["retry"])


def _etcd(values: Mapping[str, Any]) -> EtcdLease:
    tls = values["tls"] or {}
    shown = (tls["cert"], tls["key"]) if tls.get("cert") and tls.get("key") else None
    user = values["username"], values["password"]
    return EtcdLease(_endpoints(values["endpoint"]), values["key"], *user, tls.get("ca"), shown)


def _endpoints(written: str | tuple[str, ...]) -> tuple[str, ...]:
    return (written,) if isinstance(written, str) else written


def _renew_within(values: Mapping[str, Any]) -> float:
    written: float | None = values["renew_within"]
    return written if written is not None else _RENEW_PART * values["duration"]


def _check(values: Mapping[str, Any], node: nodes.Node, problems: Problems, what: str) -> None:
    if not isinstance(node, nodes.Mapping):
        return
    given = set(_BACKENDS) & set(node.items)
    if len(given) != 1:
        found = "kubernetes and etcd cannot be combined" if given else "kubernetes or etcd is missing"
        problems.add(at(what, "set kubernetes or etcd"), node, found)
    _check_times(values, node, problems, what)
    etcd = values["etcd"]
    if etcd is not None and etcd["endpoint"] is not None:
        _check_etcd(etcd, node.items["etcd"][1], problems, f"{what}.etcd")


def _check_times(values: Mapping[str, Any], node: nodes.Mapping, problems: Problems, what: str) -> None:
    whole, within, retry = values["duration"], _renew_within(values), values["retry"]
    place = next((node.items[name][1] for name in ("renew_within", "retry", "duration") if name in node.items), node)
    if whole != int(whole):
        problems.add(at(f"{what}.duration", "leases use whole seconds"), place)
    if not retry < within <= 0.8 * whole:
        message = "retry must be shorter than renew_within, and renew_within at most 0.8 of duration"
        problems.add(at(what, message), place, "such as duration: 10s, renew_within: 7s, retry: 2s")


def _check_etcd(values: Mapping[str, Any], node: nodes.Node, problems: Problems, what: str) -> None:
    if (values["username"] is None) != (values["password"] is None):
        problems.add(at(what, "username and password must be set together"), node)
    tls = values["tls"] or {}
    if (tls.get("cert") is None) != (tls.get("key") is None):
        problems.add(at(f"{what}.tls", "cert and key must be set together"), node)
    if not values["allow_insecure"] and any(map(is_plain_http, _endpoints(values["endpoint"]))):
        message = "plain http:// lets others on the network take the lease"
        problems.add(at(f"{what}.endpoint", message), node, "write https://, or set allow_insecure: true")
