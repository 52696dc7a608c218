"""The manifests for Kubernetes as kubectl renders them: each way of running kvsync, whole."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml

from kvsync.status.metrics import SERIES
from tests.deploy.manifests import FOLDER, OVERLAYS, Resource, check, containers, kubectl, of_kind, pods, rendered

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

SECRETS = "/run/secrets/kvsync/"
INNER = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.169.254/32", "127.0.0.0/8", "fc00::/7", "fe80::/10")
"""Where clusters, private networks and metadata services are."""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return kubectl(tmp_path_factory.mktemp("kubectl"))


@pytest.fixture(params=OVERLAYS)
def overlay(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def resources(program: Path, overlay: str) -> list[Resource]:
    return rendered(program, overlay)


def test_all_of_it_is_as_kubernetes_knows_it(resources: list[Resource]) -> None:
    """What an overlay amounts to holds against the schemas, strictly, and lies in one namespace that is restricted."""
    for resource in resources:
        check(resource)
        assert resource["metadata"].get("namespace", "kvsync") == "kvsync"
    (namespace,) = of_kind(resources, "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_every_pod_is_restricted(resources: list[Resource]) -> None:
    """No root, no capability, no way to more, no writable root, limits, and an image that stays the one it is."""
    for pod in pods(resources):
        context = pod["spec"]["securityContext"]
        assert context["runAsNonRoot"]
        assert context["runAsUser"] > 0
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in containers(pod):
            own = container["securityContext"]
            assert own["capabilities"] == {"drop": ["ALL"]}
            assert own["readOnlyRootFilesystem"]
            assert not own["allowPrivilegeEscalation"]
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
            assert "memory" in container["resources"]["limits"]
            tag = container["image"].rpartition(":")[2]
            assert tag[0].isdigit() or tag[0] == "v"


def test_what_runs_on_is_watched(resources: list[Resource]) -> None:
    """Every container that is to run on has a probe for its start and for its life, kvsync one for its readiness as well."""
    for pod in pods(resources):
        if pod["spec"].get("restartPolicy") == "Never":
            continue
        for container in containers(pod):
            assert {"startupProbe", "livenessProbe"} <= container.keys()
        (kvsync,) = pod["spec"]["containers"]
        assert kvsync["readinessProbe"]["httpGet"]["path"] == "/readyz"


def test_what_is_referred_to_is_there(resources: list[Resource]) -> None:
    """Every mount has its volume, every volume its configuration, every probe its port, every selector its pods."""
    configs = {resource["metadata"]["name"] for resource in of_kind(resources, "ConfigMap")}
    for pod in pods(resources):
        volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]} | claims(resources)
        assert {volume["configMap"]["name"] for volume in volumes.values() if "configMap" in volume} <= configs
        for container in containers(pod):
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes.keys()
            ports = {port["name"] for port in container.get("ports", [])}
            probes = [value for key, value in container.items() if key.endswith("Probe")]
            assert {probe["httpGet"]["port"] for probe in probes} <= ports
    labels = [pod["metadata"]["labels"] for pod in pods(resources)]
    for selector in selectors(resources):
        assert any(selector.items() <= found.items() for found in labels)


def claims(resources: list[Resource]) -> dict[str, Resource]:
    """The volumes that stateful sets claim, by name."""
    templates = [each for found in of_kind(resources, "StatefulSet") for each in found["spec"]["volumeClaimTemplates"]]
    return {each["metadata"]["name"]: each for each in templates}


def selectors(resources: list[Resource]) -> list[dict[str, str]]:
    """The labels that services, budgets and policies look for."""
    found = [resource["spec"]["selector"] for resource in of_kind(resources, "Service")]
    found += [resource["spec"]["selector"]["matchLabels"] for resource in of_kind(resources, "PodDisruptionBudget")]
    return found + [resource["spec"]["podSelector"]["matchLabels"] for resource in of_kind(resources, "NetworkPolicy")]


def test_secrets_are_files(resources: list[Resource]) -> None:
    """No secret comes as a variable or lies in a ConfigMap: all are files of one Secret."""
    for pod in pods(resources):
        for container in containers(pod):
            assert not any("valueFrom" in variable for variable in container.get("env", []))
        (volume,) = [volume for volume in pod["spec"]["volumes"] if "secret" in volume]
        assert volume["secret"]["defaultMode"] == 0o440
    for config in of_kind(resources, "ConfigMap"):
        written = yaml.safe_load(config["data"]["kvsync.yaml"])
        assert all(path.startswith(SECRETS) for path in files(written))


def files(value: Any) -> list[str]:
    """The files that a configuration refers to as secrets."""
    if not isinstance(value, dict):
        return []
    own = [value["file"]] if set(value) == {"file"} else []
    return own + [path for inner in value.values() for path in files(inner)]


def test_the_network_is_closed_but_for_what_it_needs(resources: list[Resource]) -> None:
    """In comes only Prometheus; out goes DNS to the cluster's own, and HTTPS to public addresses: not into the cluster, not to
    the metadata service of a cloud."""
    (policy,) = of_kind(resources, "NetworkPolicy")
    assert set(policy["spec"]["policyTypes"]) == {"Ingress", "Egress"}
    (rule,) = policy["spec"]["ingress"]
    assert rule["ports"] == [{"protocol": "TCP", "port": 9464}]
    for rule in policy["spec"]["egress"]:
        ports = {port["port"] for port in rule["ports"]}
        blocks = [peer["ipBlock"] for peer in rule["to"] if "ipBlock" in peer]
        assert all(peer.keys() == {"namespaceSelector", "podSelector"} or "ipBlock" in peer for peer in rule["to"])
        assert ports in (({53}, {5432}) if not blocks else ({443}, {6443}))
        for block in blocks if 443 in ports else []:
            kept_out = [ip_network(one) for one in block["except"]]
            network = ip_network(block["cidr"])
            inner = [ip_network(one) for one in INNER if ip_network(one).version == network.version]
            assert all(any(one.subnet_of(other) for other in kept_out) for one in inner)  # type: ignore[arg-type]


def test_the_configuration_is_out_of_the_authors_reach(resources: list[Resource]) -> None:
    """kvsync reads its configuration from a ConfigMap, never from a volume that the repository is in."""
    for pod in pods(resources):
        volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
        (kvsync,) = pod["spec"]["containers"]
        (config,) = [variable["value"] for variable in kvsync["env"] if variable["name"] == "KVSYNC_CONFIG"]
        mounts = [mount for mount in kvsync["volumeMounts"] if config.startswith(mount["mountPath"])]
        nearest = max(mounts, key=lambda mount: len(mount["mountPath"]))
        assert "configMap" in volumes[nearest["name"]]
        assert nearest["readOnly"]


def test_only_a_lease_needs_leave_of_the_cluster(resources: list[Resource], overlay: str) -> None:
    """Without a lease the pods hold no token. With one they may do no more than read and write that object, and list the
    others, which say how other replicas divide the work."""
    roles = of_kind(resources, "Role")
    leased = overlay == "high-availability"
    assert [pod["spec"]["automountServiceAccountToken"] for pod in pods(resources)] == [leased]
    assert [rule for role in roles for rule in role["rules"]] == [
        {
            "apiGroups": ["coordination.k8s.io"],
            "resources": ["leases"],
            "resourceNames": ["kvsync"],
            "verbs": ["get", "update"],
        },
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["list"]},
    ][: 2 * leased]
    assert not of_kind(resources, "ClusterRole")


def test_a_deployment_shares_its_state(resources: list[Resource], overlay: str) -> None:
    """Pods of a Deployment are as many as the autoscaler says, by a metric that kvsync has, and keep their state in PostgreSQL;
    all others have a directory of their own."""
    deployments, scalers = of_kind(resources, "Deployment"), of_kind(resources, "HorizontalPodAutoscaler")
    assert bool(deployments) == (overlay == "fleet")
    assert [one["spec"]["scaleTargetRef"]["name"] for one in scalers] == [
        one["metadata"]["name"] for one in deployments
    ]
    for scaler in scalers:
        (metric,) = scaler["spec"]["metrics"]
        assert metric["pods"]["metric"]["name"] in {series.shown_name for series in SERIES}
    for config in of_kind(resources, "ConfigMap"):
        state = yaml.safe_load(config["data"]["kvsync.yaml"])["state"]
        assert isinstance(state, dict) == bool(deployments)


def test_two_replicas_go_with_a_lease(resources: list[Resource], overlay: str) -> None:
    """More than one daemon is never run without the lease that keeps them from writing at the same time."""
    configs = [yaml.safe_load(found["data"]["kvsync.yaml"]) for found in of_kind(resources, "ConfigMap")]
    leased = any("lease" in config["run"] for config in configs)
    assert all((found["spec"]["replicas"] > 1) == leased for found in of_kind(resources, "StatefulSet"))
    if overlay == "high-availability":
        (config,) = of_kind(resources, "ConfigMap")
        assert config["data"]["kvsync.yaml"] == (FOLDER / "overlays" / overlay / "kvsync.yaml").read_text()
        (lease,) = of_kind(resources, "Lease")
        assert lease["metadata"]["name"] == "kvsync"
