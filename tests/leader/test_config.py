"""`run.lease` in the configuration, and what replicas would not know of each other."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvsync.app.configuration import read_config
from kvsync.app.reconciler import WorkspaceReconciler
from kvsync.config.model import Credential, CredentialKind, EtcdLease, KubernetesLease, LeaseConfig
from kvsync.errors import InvalidInput
from kvsync.leader.etcd import EtcdLeaseStore
from kvsync.leader.etcd_gateway import Gateway
from kvsync.util.clock import Clock
from tests.cli.conftest import Repo
from tests.support.command import CONFIG
from tests.support.memory_repository import MemoryRepository


def lease(folder: Path, text: str) -> LeaseConfig | None:
    """What it is read as."""
    (folder / "kvsync.yaml").write_text(f"{CONFIG}run: {{lease: {text}}}\n")
    return read_config(folder / "kvsync.yaml", environ={}).run.lease


def test_the_shortest_forms(tmp_path: Path) -> None:
    """Name what keeps the lease; the rest is chosen so that another replica takes over within 15 seconds."""
    assert lease(tmp_path, "{kubernetes: {name: kvsync}}") == LeaseConfig(KubernetesLease("kvsync"), 10, 7, 2)
    assert lease(tmp_path, "{etcd: {endpoint: 'http://localhost:2379', key: a}}") == LeaseConfig(
        EtcdLease(("http://localhost:2379",), "a"), 10, 7, 2
    )


def test_everything_that_may_be_said(tmp_path: Path) -> None:
    """Several endpoints, a user, other times."""
    text = (
        "{etcd: {endpoint: ['https://a:2379', 'http://b:2379'], key: a, username: u, password: {env: P}, "
        "allow_insecure: true}, duration: 15s, renew_within: 12s, retry: 500ms}"
    )
    found = lease(tmp_path, text)
    assert found is not None
    keeper = found.backend
    assert isinstance(keeper, EtcdLease)
    assert (found.duration, found.renew_within, found.retry) == (15, 12, 0.5)
    assert keeper.endpoints == ("https://a:2379", "http://b:2379")
    assert keeper.password is not None
    assert (keeper.password.kind, keeper.password.name) == (CredentialKind.ENV, "P")
    assert isinstance(keeper.password, Credential)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "run.lease: set kubernetes or etcd"),
        ("{kubernetes: {name: a}, etcd: {endpoint: 'https://a', key: a}}", "kubernetes and etcd cannot be combined"),
        ("{kubernetes: {}}", 'run.lease.kubernetes: missing field "name"'),
        ("{kubernetes: {name: A_b}}", "run.lease.kubernetes.name: expected the name of an object"),
        ("{etcd: {key: a}}", 'run.lease.etcd: missing field "endpoint"'),
        ("{etcd: {endpoint: 'http://etcd:2379', key: a}}", "plain http:// lets others on the network take the lease"),
        ("{etcd: {endpoint: 'https://a', key: a, username: u}}", "username and password must be set together"),
        (
            "{etcd: {endpoint: 'https://a', key: a, password: hunter2, username: u}}",
            "secrets are not allowed in this file",
        ),
        ("{kubernetes: {name: a}, duration: 2500ms}", "run.lease.duration: leases use whole seconds"),
        ("{kubernetes: {name: a}, duration: 1s}", "run.lease.duration: "),
        ("{kubernetes: {name: a}, renew_within: 9s}", "run.lease: retry must be shorter than renew_within"),
        ("{kubernetes: {name: a}, retry: 7s}", "run.lease: retry must be shorter than renew_within"),
        ("{kubernets: {name: a}}", 'unknown field "kubernets"'),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    """Every mistake has file, line and column."""
    with pytest.raises(InvalidInput) as refused:
        lease(tmp_path, text)
    assert any(message in str(one) and str(one).startswith("kvsync.yaml:6:") for one in refused.value.problems), refused
    assert "hunter2" not in str(refused.value)


async def test_the_lease_stays_the_same_while_the_daemon_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reload with another lease is refused as a whole: two replicas might lead by two names."""
    repo = MemoryRepository(tmp_path, monkeypatch)
    repo.want({"a": 1})
    repo.configure(more="run: {lease: {kubernetes: {name: a}}}")
    async with repo.open("run") as workspace:
        reconciler = WorkspaceReconciler(workspace, workspace.pass_context, {})
        repo.configure(more="run: {lease: {kubernetes: {name: b}}}")
        with pytest.raises(InvalidInput, match=r"run\.lease cannot change while the daemon runs"):
            await reconciler.reload_config()


def test_outside_of_a_cluster_nothing_is_written(repo: Repo) -> None:
    """`run` says what is missing and does nothing; `plan`, `apply` and `validate` need no cluster; doctor finds it too."""
    repo.configure(**{"policy:": "run: {lease: {kubernetes: {name: kvsync}}}\npolicy:"})
    outside = {"KUBERNETES_SERVICE_HOST": ""}
    for arguments in (("run",), ("run", "--once")):
        done = repo.run(*arguments, env=outside, code=1)
        assert "run.lease.kubernetes works inside a pod" in done.stderr
    assert repo.held() == {}
    repo.run("validate", env=outside)
    repo.run("run", "--once", "--observe", env=outside)
    found = repo.json("doctor", env=outside, code=1)["findings"]
    assert [one["subject"] for one in found if not one["ok"]] == ["lease"]
    assert repo.held() == {}
    repo.run("apply", "--yes", env=outside)
    assert repo.held()


async def test_a_ledger_of_ones_own_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store whose marks only this replica knows is named, where there are replicas."""
    from kvsync.app.ledger_sharing import unshared_ledgers

    repo = MemoryRepository(tmp_path, monkeypatch, kind="memory-ledger")
    async with repo.open() as workspace:
        assert unshared_ledgers(workspace) == []
    repo.configure(more="run: {lease: {kubernetes: {name: a}}}")
    async with repo.open() as workspace:
        assert unshared_ledgers(workspace) == ["main"]


async def test_a_single_pass_behind_another_leader_does_nothing(repo: Repo, etcd: str, key: str) -> None:
    """`run --once` exits with 5 and names the leader, of its own share where there are shares; alone it leads, and releases."""
    repo.configure(**{"policy:": f"run: {{lease: {{etcd: {{endpoint: '{etcd}', key: {key}}}}}}}\npolicy:"})
    other = EtcdLeaseStore(key, "another replica", 600, [Gateway("lease test", etcd, Clock(), 60)])
    try:
        await other.claim()
        refused = repo.run("run", "--once", code=5)
        assert f"lease {key} in etcd: another replica leads; nothing was written" in refused.stderr
        assert repo.held() == {}
        repo.run("run", "--once", "--shard", "1/1")
        assert repo.held()
        await other.release()
        for _ in range(2):  # the second one finds no lease that the first one left
            repo.run("run", "--once")
    finally:
        await other.aclose()


def test_the_password_is_read_and_never_shown(repo: Repo, etcd: str, key: str) -> None:
    """A server that wants no password says so; neither it nor kvsync repeats what it was."""
    user = "username: kvsync, password: {env: ETCD_PASSWORD}"
    repo.configure(**{"policy:": f"run: {{lease: {{etcd: {{endpoint: '{etcd}', key: {key}, {user}}}}}}}\npolicy:"})
    found = repo.json("doctor", env={"ETCD_PASSWORD": "correct-horse"}, code=1)["findings"]
    (wrong,) = [one for one in found if not one["ok"]]
    assert "signing in as kvsync failed" in wrong["detail"]
    assert "authentication is not enabled" in wrong["detail"]
    assert "correct-horse" not in str(found)
    missing = repo.run("run", "--once", code=1)
    assert "the environment variable ETCD_PASSWORD is not set" in missing.stderr
