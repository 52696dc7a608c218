"""What only Vault has: versions, custom metadata, soft deletes, logins; all against a real OpenBao."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from kvsync.config.model import Credential, CredentialKind
from kvsync.errors import AuthError, PermanentError, TransientError
from kvsync.http.client import Client
from kvsync.http.model import Request, Response
from kvsync.model.entry import Content, Identity, Mark
from kvsync.planning.marks import MarkSigner
from kvsync.stores.base import Precondition, Store, Write
from kvsync.stores.extensions import locate
from kvsync.testing import FakeClock
from tests.http.script_server import Exchange, says, serving
from tests.stores.emulated import changes, outcomes
from tests.stores.vault_service import VaultRepo, VaultService, vault_store
from tests.support.openbao import Bao, running_bao

GREETING = Identity("greeting")
SECRET_ID = Credential(CredentialKind.ENV, "SECRET_ID")
FREELY = "{prune: owned, adopt: never, guard: {max_delete_pct: 100, max_update_pct: 100}}"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bao]:
    with running_bao(tmp_path_factory.mktemp("bao")) as server:
        yield server


@pytest.fixture
def bao(running: Bao) -> Bao:
    """An empty OpenBao."""
    running.clear()
    return running


@pytest.fixture
def repo(bao: Bao, tmp_path: Path) -> VaultRepo:
    return VaultRepo(tmp_path, VaultService(bao), policy=FREELY)


@pytest.fixture
async def store(bao: Bao) -> AsyncIterator[Store]:
    opened = vault_store(bao.url)
    yield opened
    await opened.aclose()


def creation(value: str = "Hello", **fields: Any) -> Write:
    return Write(GREETING, Precondition.ABSENT, Content(value.encode()), Mark("conformance", b"f" * 16), **fields)


async def _listed(store: Store) -> dict[Identity, Any]:
    snapshot = await store.observe("web", MarkSigner("conformance", await locate(store, "web")))
    assert snapshot is not None
    return dict(snapshot.entries)


# What a secret looks like


async def test_secrets_have_the_members_that_others_expect(repo: VaultRepo, bao: Bao) -> None:
    """A JSON object is the secret itself, anything else its member `value`; the second plan is empty."""
    await repo.settle({"db": "{json: {user: app, password: s3cret}}", "key": "hunter2", "port": "{json: 5432}"})
    assert bao.get("web/db") == {"user": "app", "password": "s3cret"}
    assert bao.get("web/key") == {"value": "hunter2"}
    assert bao.get("web/port") == {"value": "5432"}
    assert changes(await repo.plan_all()) == []


@pytest.mark.parametrize(
    "text",
    [
        '{"value":"x"}',
        '{"n":12345678901234567890123}',
        '{"n":1.10}',
        '{"b": 1, "a": 2}',
        '{"a":{"b":[1,true,null]}}',
        "{}",
    ],
)
async def test_every_text_comes_back(store: Store, text: str) -> None:
    """Also where it looks like a secret, and where the server would change its numbers."""
    await store.write("web", [creation(text)])
    found = (await store.read("web", [GREETING]))[GREETING]
    assert found.content == Content(text.encode())


async def test_values_are_sensitive(repo: VaultRepo) -> None:
    """No value is in a plan, although no file says that it is sensitive; nor is the token."""
    repo.want({"greeting": "hunter2-before"})
    await repo.apply()
    repo.want({"greeting": "hunter2-after"})
    for output in ("text", "json", "markdown"):
        shown = repo.command("plan", "-o", output)
        assert "hunter2" not in shown.stdout + shown.stderr
        assert repo.environ()["VAULT_TOKEN"] not in shown.stdout + shown.stderr
    assert json.loads(repo.command("plan", "-o", "json").stdout)["targets"][0]["changes"][0]["sensitive"]


# Versions


async def test_custom_metadata_of_others_stays(repo: VaultRepo, bao: Bao) -> None:
    """Creating, changing and deleting leave the members of other programs as they are."""
    await repo.settle({"greeting": "Hello"})
    bao.mark("web/greeting", team="web")
    await repo.settle({"greeting": "Hello again"})
    repo.want("")
    await repo.apply()
    found = bao.metadata("web/greeting")
    assert found is not None
    assert found["custom_metadata"]["team"] == "web"


async def test_deletes_can_be_undone(repo: VaultRepo, bao: Bao) -> None:
    """A delete hides the current version and destroys none; another create is a new version on top."""
    await repo.settle({"greeting": "Hello", "other": "x"})
    await repo.settle({"other": "x"})
    assert bao.get("web/greeting") is None
    bao.ask("POST", "secret/undelete/web/greeting", {"versions": [1]})
    assert bao.get("web/greeting") == {"value": "Hello"}
    await repo.settle({"other": "x"})
    assert bao.get("web/greeting") is None
    await repo.settle({"greeting": "back", "other": "x"})
    found = bao.metadata("web/greeting")
    assert found is not None
    assert found["current_version"] == 2
    assert found["versions"]["1"]["deletion_time"]
    assert not found["versions"]["1"]["destroyed"]


async def test_a_newer_version_survives_a_delete(store: Store, bao: Bao, monkeypatch: pytest.MonkeyPatch) -> None:
    """What another program writes right before a delete stays readable, and the delete is a conflict."""
    await store.write("web", [creation()])
    seen = (await store.read("web", [GREETING]))[GREETING]
    send = Client.send

    async def overtaken(self: Client, call: Request, *, once: bool = False) -> Response:
        if "/delete/" in call.target:
            bao.put("web/greeting", {"value": "theirs"})
        return await send(self, call, once=once)

    monkeypatch.setattr(Client, "send", overtaken)
    (result,) = await store.write("web", [Write(GREETING, Precondition.UNCHANGED, etag=seen.etag)])
    assert result.status == "conflict"
    assert bao.get("web/greeting") == {"value": "theirs"}


async def test_the_version_that_another_program_takes_is_theirs(store: Store, bao: Bao) -> None:
    """A mark that was noted for a version to come does not make that version ours when another program writes it."""
    await store.write("web", [creation("ours")])
    noted = bao.metadata("web/greeting")
    assert noted is not None
    text = noted["custom_metadata"]["kvsync"]
    bao.remove("web/greeting")
    bao.ask("POST", "secret/metadata/web/greeting", {"custom_metadata": {"kvsync": text, "kvsync-next": text}})
    bao.put("web/greeting", {"value": "theirs"})
    assert (await _listed(store))[GREETING].mark is None
    assert (await store.read("web", [GREETING]))[GREETING].mark is None


_SAMPLE = {("nothing", 4), ("ours", 3)}
"""Cases of a kill that are tried wherever tests run."""


class _KilledError(BaseException):
    """Ends a test's process, as far as kvsync can tell."""


@pytest.mark.parametrize(
    ("start", "step"),
    [
        pytest.param(start, step, marks=() if (start, step) in _SAMPLE else pytest.mark.system)
        for start in ("nothing", "ours", "ours, drifted")
        for step in range(1, 6)
    ],
)
async def test_a_kill_between_two_requests_loses_nothing(
    repo: VaultRepo, bao: Bao, monkeypatch: pytest.MonkeyPatch, step: int, start: str
) -> None:
    """Killed after any request of a write: another machine, which never adopts, brings the entry to the files; what another
    program wrote next to it stays."""
    if start != "nothing":
        await repo.settle({"greeting": "before"})
    if "drifted" in start:
        bao.put("web/greeting", {"value": "by hand"})
    bao.put("web/foreign", {"value": "theirs"})
    repo.want({"greeting": "after"})
    send, count = Client.send, 0

    async def killed(self: Client, call: Request) -> Response:
        nonlocal count
        answer = await send(self, call)
        count += "greeting" in call.target
        if count == step:
            raise _KilledError
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(Client, "send", killed)
        with suppress(_KilledError):
            await repo.attempt()
    await repo.converge(machine="elsewhere")
    assert bao.get("web/greeting") == {"value": "after"}
    assert bao.get("web/foreign") == {"value": "theirs"}
    repo.want("")
    await repo.attempt("third", approved=True)
    assert bao.get("web/greeting") is None
    assert bao.get("web/foreign") == {"value": "theirs"}


async def test_a_lifetime_is_the_servers(store: Store, bao: Bao) -> None:
    """An entry that ends is a version with a deletion time; the next version without an end has none."""
    await store.write("web", [creation(expires_at=time.time() + 3600)])
    found = (await _listed(store))[GREETING]
    assert abs(found.expires_at - time.time() - 3600) < 10
    await store.write("web", [Write(GREETING, Precondition.UNCHANGED, Content(b"stays"), None, None, found.etag)])
    metadata = bao.metadata("web/greeting")
    assert metadata is not None
    assert metadata["versions"]["2"]["deletion_time"] == ""


# Signing in, and what goes wrong


async def test_an_approle_signs_in_again(bao: Bao) -> None:
    """A token of a login is replaced after it was revoked; a wrong secret id is reported without being shown."""
    role, secret = _approle(bao)
    secrets = {"SECRET_ID": secret}
    clock = FakeClock(time.time())
    store = vault_store(bao.url, clock=clock, secrets=secrets, role_id=role, secret_id=SECRET_ID)
    assert (await store.write("web", [creation()]))[0].status == "done"
    for accessor in bao.ask("GET", "auth/token/accessors", query="?list=true")["data"]["keys"]:
        found = bao.ask("POST", "auth/token/lookup-accessor", {"accessor": accessor})
        if "web" in found["data"]["policies"]:
            bao.ask("POST", "auth/token/revoke-accessor", {"accessor": accessor})
    clock.advance(60)
    assert set(await store.read("web", [GREETING])) == {GREETING}
    await store.aclose()
    wrong = vault_store(bao.url, secrets={"SECRET_ID": "not-the-secret-id"}, role_id=role, secret_id=SECRET_ID)
    with pytest.raises(AuthError, match="signing in at auth/approle/login was refused") as refused:
        await wrong.read("web", [GREETING])
    assert "not-the-secret-id" not in str(refused.value)
    await wrong.aclose()


async def test_a_pod_signs_in_with_its_service_account(bao: Bao, tmp_path: Path) -> None:
    """OpenBao lets a pod in whose token its cluster confirms: with the token that the file holds at the moment, again once the
    login has expired. A token that the cluster does not confirm is refused, and not shown."""
    pods = {_pod_token(number): "system:serviceaccount:shop:kvsync" for number in (1, 2)}
    clock, file = FakeClock(time.time()), tmp_path / "token"
    async with serving(partial(_review, pods)) as cluster:
        _kubernetes(bao, cluster.origin)
        store = vault_store(bao.url, clock=clock, secrets=File(file), kubernetes_role="web", kubernetes_token=POD_TOKEN)
        for number, token in enumerate(pods):
            file.write_text(token)
            assert (await store.write("web", [replace(creation(), identity=Identity(f"from-{number}"))]))[
                0
            ].status == "done"
            assert len(cluster.seen) == number + 1
            for accessor in bao.ask("GET", "auth/token/accessors", query="?list=true")["data"]["keys"]:
                found = bao.ask("POST", "auth/token/lookup-accessor", {"accessor": accessor})
                if found["data"]["path"] == "auth/kubernetes/login":
                    bao.ask("POST", "auth/token/revoke-accessor", {"accessor": accessor})
            clock.advance(3600)
        file.write_text(_pod_token(3))
        with pytest.raises(AuthError, match="signing in at auth/kubernetes/login was refused") as refused:
            await store.read("web", [GREETING])
        assert _pod_token(3) not in str(refused.value)
        await store.aclose()


async def test_a_refusal_is_not_an_absence(bao: Bao) -> None:
    """A token without permission, a mount that is not there and one of another kind are errors, never an empty listing."""
    role, secret = _approle(bao)
    restricted = vault_store(bao.url, secrets={"SECRET_ID": secret}, role_id=role, secret_id=SECRET_ID)
    with pytest.raises(AuthError, match=r"permission denied.*policies do not allow this on secret/"):
        await restricted.observe("mail", MarkSigner("conformance", restricted.place("mail")))
    await restricted.aclose()
    invalid = vault_store(bao.url, secrets={"VAULT_TOKEN": "s.nobody"})
    with pytest.raises(AuthError) as refused:
        await locate(invalid, "web")
    assert "s.nobody" not in str(refused.value)
    await invalid.aclose()
    for mount, said in (("nowhere", "refused|no handler"), ("cubbyhole", "needs KV version 2")):
        store = vault_store(bao.url, token=Credential(CredentialKind.ENV, "VAULT_TOKEN"), mount=mount)
        with pytest.raises((AuthError, PermanentError), match=said):
            await locate(store, "web")
        await store.aclose()


async def test_a_sealed_server_is_reported(tmp_path: Path) -> None:
    """A server that is sealed is neither a wrong credential nor an empty store, and `doctor` says so."""
    with running_bao(tmp_path) as server:
        store = vault_store(server.url)
        assert all(check.ok for check in await store.check())
        server.ask("PUT", "sys/seal")
        with pytest.raises(TransientError, match="is sealed; unseal it"):
            await store.write("web", [creation()])
        assert "server" in {check.check for check in await store.check() if not check.ok}
        await store.aclose()


async def test_outcomes_of_a_pass(repo: VaultRepo, bao: Bao) -> None:
    """Foreign secrets of our names are refused, and what others changed of ours is drift."""
    bao.put("web/taken", {"value": "theirs"})
    repo.want({"greeting": "Hello", "taken": "ours"})
    assert outcomes(await repo.apply()) == {"greeting": "applied", "taken": "refused"}
    bao.put("web/greeting", {"value": "by hand"})
    assert changes(await repo.plan_all()) == [("update", "drifted", "greeting")]
    bao.delete("web/greeting")
    assert changes(await repo.plan_all()) == [("create", "missing", "greeting")]


def _allow(bao: Bao) -> None:
    """The policy `web`, which lets its tokens use the namespace `web`."""
    rules = [("metadata", "create,read,update,patch,list"), ("data", "create,read,update"), ("delete", "update")]
    lines = [
        f'path "secret/{kind}/web/*" {{ capabilities = {json.dumps(rights.split(","))} }}' for kind, rights in rules
    ]
    lines.append('path "secret/detailed-metadata/web/*" { capabilities = ["list", "scan"] }')
    bao.ask("PUT", "sys/policies/acl/web", {"policy": "\n".join(lines)})


def _approle(bao: Bao) -> tuple[str, str]:
    """A role that may use the namespace web; gives role id and secret id."""
    _allow(bao)
    if "approle/" not in bao.ask("GET", "sys/auth")["data"]:
        bao.ask("POST", "sys/auth/approle", {"type": "approle"})
    bao.ask("POST", "auth/approle/role/web", {"token_policies": "web", "token_ttl": "1h"})
    role = bao.ask("GET", "auth/approle/role/web/role-id")["data"]["role_id"]
    return role, bao.ask("POST", "auth/approle/role/web/secret-id")["data"]["secret_id"]


POD_TOKEN = Credential(CredentialKind.FILE, "token")


class File(dict[str, str]):
    """Credentials in a file, read each time."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self._file = file

    def __getitem__(self, _name: str) -> str:
        return self._file.read_text()


def _pod_token(number: int) -> str:
    """A token of the service account `kvsync` in the namespace `shop`, as a cluster signs it."""
    claims = {
        "iss": "kubernetes/serviceaccount",
        "sub": "system:serviceaccount:shop:kvsync",
        "kubernetes.io/serviceaccount/namespace": "shop",
        "kubernetes.io/serviceaccount/service-account.name": "kvsync",
        "kubernetes.io/serviceaccount/service-account.uid": "0d4b0d52-0000-4000-8000-000000000001",
        "kubernetes.io/serviceaccount/secret.name": f"token-{number}",
    }
    return jwt.encode(claims, _cluster_key(), algorithm="RS256")


@cache
def _cluster_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _kubernetes(bao: Bao, cluster: str) -> None:
    """Let the service account `kvsync` of a cluster in."""
    key = _cluster_key().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    config = {"kubernetes_host": cluster, "pem_keys": [key], "token_reviewer_jwt": _pod_token(0)}
    role = {"bound_service_account_names": ["kvsync"], "bound_service_account_namespaces": ["shop"]}
    _allow(bao)
    bao.ask("POST", "sys/auth/kubernetes", {"type": "kubernetes"})
    bao.ask("POST", "auth/kubernetes/config", {**config, "disable_local_ca_jwt": True, "kubernetes_ca_cert": "unused"})
    bao.ask("POST", "auth/kubernetes/role/web", {**role, "token_policies": ["web"], "token_ttl": "1h"})


async def _review(pods: Mapping[str, str], exchange: Exchange) -> None:
    """Answer a review of a token as the API server of a cluster does."""
    review = json.loads(exchange.body)
    name = pods.get(review["spec"]["token"])
    user: dict[str, Any] = {"username": name, "uid": "0d4b0d52-0000-4000-8000-000000000001", "groups": []}
    review["status"] = {"authenticated": True, "user": user} if name else {"authenticated": False, "error": "unknown"}
    await says(201, json.dumps(review).encode(), Content_Type="application/json")(exchange)
