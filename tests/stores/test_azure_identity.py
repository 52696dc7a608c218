"""Proving who we are to App Configuration: signatures, tokens, their renewal, and what `doctor` says when it fails."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from kvsync.config.model import Credential, CredentialKind
from kvsync.errors import AuthError, PermanentError, StoreError
from kvsync.http.model import Request
from kvsync.model.entry import Content, Identity, Mark
from kvsync.model.health import DoctorCheck
from kvsync.stores.azure_appconfig.auth import ConnectionString, HmacKey
from kvsync.stores.base import Precondition, Store, Write, WriteStatus
from kvsync.stores.extensions import locate
from kvsync.testing import FakeClock
from kvsync.util.clock import Clock, StoreClock
from tests.http.script_server import ScriptServer, is_silent, resets, says, serving
from tests.stores.azure_service import SECRET, Service, azure_store
from tests.stores.signing import signer

TOKEN = "kvsync-emulator-token"


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """No identity but the one that a test brings."""
    for name in (
        *("AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_CLIENT_SECRET", "AZURE_FEDERATED_TOKEN_FILE"),
        *("AZURE_AUTHORITY_HOST", "AZURE_POD_IDENTITY_AUTHORITY_HOST", "IDENTITY_ENDPOINT", "IDENTITY_HEADER"),
    ):
        monkeypatch.delenv(name, raising=False)


# Access keys


VECTORS = (
    "Endpoint=https://kvsync-test.azconfig.io;Id=kvsync-id-1;Secret=a3ZzeW5jLXRlc3Qtc2VjcmV0LTAxMjM0NTY3ODlhYmNkZWY="
)
PUT_BODY = '{"value": "héllo", "content_type": null, "tags": {"env": "prod"}}'.encode()


@pytest.mark.parametrize(
    ("method", "target", "body", "signature"),
    [
        (
            "GET",
            "/kv?api-version=2023-11-01&key=app%2F%2A&label=%00",
            b"",
            "6mBcJbar4r10duAovqGmqPk6dBTAebWyASV/hZPwrhw=",
        ),
        (
            "PUT",
            "/kv/app%2Fdb%2Fhost?api-version=2023-11-01&label=prod",
            PUT_BODY,
            "HMJ0DAj2GxI1NuEEkTgO7ae8eA0x6KisCyZPMsJxsXw=",
        ),
        (
            "DELETE",
            "/kv/app%2Fdb%2Fhost?api-version=2023-11-01&label=prod",
            b"",
            "VEjqJA5z5wUcUa1FqIDvks9RyqVKk6CSCpbBslyRMJk=",
        ),
    ],
)
async def test_signatures(method: str, target: str, body: bytes, signature: str) -> None:
    """A request is signed as the vendor's own SDK signs it."""
    key = HmacKey(lambda: ConnectionString.parse(VECTORS), FakeClock(1526064516))
    headers = await key.sign(Request(method, target, "signing", body=body), "kvsync-test.azconfig.io")
    assert headers["x-ms-date"] == "Fri, 11 May 2018 18:48:36 GMT"
    assert headers["Authorization"] == (
        f"HMAC-SHA256 Credential=kvsync-id-1&SignedHeaders=x-ms-date;host;x-ms-content-sha256&Signature={signature}"
    )


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "no Endpoint and no Id and no Secret"),
        ("Endpoint=https://x.azconfig.io;Id=a", "no Secret"),
        ("Endpoint=x.azconfig.io;Id=a;Secret=c2VjcmV0", "not a URL"),
        ("Endpoint=https://x.azconfig.io/?a=b;Id=a;Secret=c2VjcmV0", "not a URL"),
        ("Endpoint=https://.azconfig.io;Id=a;Secret=c2VjcmV0", "not a host name"),
        ("Endpoint=https://x.azconfig.io:99999;Id=a;Secret=c2VjcmV0", "the port is not a number"),
        ("Endpoint=https://[::1;Id=a;Secret=c2VjcmV0", "the Endpoint in the connection string"),
        ("Endpoint=https://x.azconfig.io;Id=a;Secret=hidden!", "not base64"),
        ("Endpoint=https://x.azconfig.io;Id=a;Secret=hidde", "not base64"),
    ],
)
def test_connection_strings_that_are_none(text: str, complaint: str) -> None:
    """A connection string that is not whole is refused with what is missing, and nothing of it is repeated."""
    with pytest.raises(ValueError, match=complaint) as caught:
        ConnectionString.parse(text)
    assert "hidde" not in str(caught.value)


def test_parts_in_any_order() -> None:
    """The parts may come in any order and case, and the secret may hold equals signs."""
    one = ConnectionString.parse("secret=c2VjcmV0PT0=;ID=a; Endpoint=https://x.azconfig.io/ ")
    assert (one.endpoint, one.id, one.secret) == ("https://x.azconfig.io", "a", b"secret==")
    assert "c2VjcmV0" not in repr(one)
    assert "secret==" not in repr(one)


async def test_a_rotated_key_is_found(service: Service) -> None:
    """When the key is refused, the connection string is read again, and the call goes on with the new one."""
    env = dict(service.env)
    env[SECRET.name] = env[SECRET.name].replace("Id=kvsync-emulator", "Id=retired")
    store = azure_store(env)
    with pytest.raises(AuthError, match="does not recognise the Id"):
        await store.observe("web", signer(store))
    env[SECRET.name] = service.env[SECRET.name]
    assert await store.observe("web", signer(store)) is not None
    await store.aclose()


async def test_plain_http_is_refused_beyond_this_machine() -> None:
    """A connection string that would send everything unencrypted over a network is refused, unless that is asked for."""
    env = {SECRET.name: "Endpoint=http://config.example.com;Id=a;Secret=c2VjcmV0"}
    with pytest.raises(PermanentError, match="allow_insecure"):
        await locate(azure_store(env), "web")


async def test_the_endpoint_can_be_given_apart(service: Service) -> None:
    """`endpoint` wins over the one in the connection string, for private links; what is signed is where it goes."""
    env = {SECRET.name: service.env[SECRET.name].replace(service.url, "https://name.azconfig.io")}
    store = azure_store(env, endpoint=service.url)
    assert await store.observe("web", signer(store)) is not None
    await store.aclose()


@pytest.mark.parametrize(
    ("options", "fields", "complaint"),
    [
        ({}, {}, "set connection_string, or endpoint"),
        ({"connection_string": SECRET, "client_id": "x"}, {}, "cannot be combined"),
        ({"client_secret": SECRET}, {"endpoint": "https://x.azconfig.io"}, "needs client_id and tenant_id"),
    ],
)
def test_options_that_do_not_go_together(options: Mapping[str, Any], fields: Mapping[str, Any], complaint: str) -> None:
    """What cannot work is reported when the configuration is read."""
    with pytest.raises(ValueError, match=complaint):
        azure_store({}, options=options, **fields)


# Entra ID


def grants(token: str = TOKEN, seconds: float = 3600, **more: Any) -> Any:
    return says(200, json.dumps({"access_token": token, "expires_in": seconds, **more}).encode())


@pytest.fixture
async def authority() -> AsyncIterator[ScriptServer]:
    """An identity service; tests replace its acts."""
    async with serving(grants()) as server:
        yield server


APPLICATION = {
    "client_id": "app-1",
    "tenant_id": "tenant-1",
    "client_secret": Credential(CredentialKind.ENV, "CLIENT_SECRET"),
}


def entra_store(service: Service, options: Mapping[str, Any] | None = None, clock: FakeClock | None = None) -> Store:
    env = {"CLIENT_SECRET": "application-secret"}
    return azure_store(env, clock, options=options or {}, endpoint=service.url)


async def test_a_client_secret(service: Service, authority: ScriptServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """An application signs in with its secret, once for many calls, also where nothing may be written."""
    monkeypatch.setenv("AZURE_AUTHORITY_HOST", authority.origin)
    env = {"CLIENT_SECRET": "application-secret"}
    store = azure_store(env, options=APPLICATION, endpoint=service.url, read_only=True)
    for _ in range(3):
        assert await store.observe("web", signer(store)) is not None
    await store.aclose()
    (asked,) = authority.seen
    assert asked.line == "POST /tenant-1/oauth2/v2.0/token HTTP/1.1"
    assert parse_qs(asked.body.decode()) == {
        "grant_type": ["client_credentials"],
        "client_id": ["app-1"],
        "client_secret": ["application-secret"],
        "scope": ["https://azconfig.io/.default"],
    }


async def test_a_federated_workload(
    service: Service, authority: ScriptServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A workload signs in with the token that its platform puts into a file, read again each time."""
    file = tmp_path / "token"
    file.write_text("assertion-1\n")
    for name, value in (
        *(("AZURE_CLIENT_ID", "app-2"), ("AZURE_TENANT_ID", "tenant-2"), ("AZURE_FEDERATED_TOKEN_FILE", str(file))),
        ("AZURE_AUTHORITY_HOST", authority.origin),
    ):
        monkeypatch.setenv(name, value)
    authority.acts = [grants(seconds=100)]
    clock = FakeClock(time.time())
    store = entra_store(service, clock=clock)
    await store.observe("web", signer(store))
    file.write_text("assertion-2\n")
    clock.advance(60)
    await store.observe("web", signer(store))
    await store.aclose()
    forms = [parse_qs(asked.body.decode()) for asked in authority.seen]
    assert [form["client_assertion"] for form in forms] == [["assertion-1"], ["assertion-2"]]
    assert forms[0]["client_id"] == ["app-2"]


@pytest.mark.parametrize("kind", ["machine", "app service"])
async def test_a_managed_identity(
    service: Service, authority: ScriptServer, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Without anything else, the identity of the machine or of the app service signs in."""
    authority.acts = [
        says(200, json.dumps({"access_token": TOKEN, "expires_on": str(int(time.time()) + 9999)}).encode())
    ]
    if kind == "machine":
        monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", authority.origin)
    else:
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{authority.origin}/msi/token")
        monkeypatch.setenv("IDENTITY_HEADER", "header-secret")
    store = entra_store(service, {"client_id": "identity-3"})
    assert await store.observe("web", signer(store)) is not None
    await store.aclose()
    (asked,) = authority.seen
    parts = urlsplit(asked.line.split()[1])
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    assert (query["resource"], query["client_id"]) == ("https://azconfig.io", "identity-3")
    if kind == "machine":
        assert (parts.path, asked.headers["metadata"]) == ("/metadata/identity/oauth2/token", "true")
    else:
        assert (parts.path, asked.headers["x-identity-header"]) == ("/msi/token", "header-secret")


async def test_a_token_is_renewed_before_it_ends(
    service: Service, authority: ScriptServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token is used until shortly before its end, and a new one is there in time."""
    monkeypatch.setenv("AZURE_AUTHORITY_HOST", authority.origin)
    clock = FakeClock(time.time())
    store = entra_store(service, APPLICATION, clock)
    for advance, asked in ((0, 1), (3000, 1), (350, 2), (10, 2)):
        clock.advance(advance)
        await store.observe("web", signer(store))
        assert len(authority.seen) == asked
    await store.aclose()


async def test_a_refused_token_is_replaced_once(
    service: Service, authority: ScriptServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the store refuses a token, another one is fetched and the call made again; when that is refused too, it ends."""
    monkeypatch.setenv("AZURE_AUTHORITY_HOST", authority.origin)
    authority.acts = [grants("stale"), grants(TOKEN), grants("stale"), grants("stale too"), grants("stale as well")]
    store = entra_store(service, APPLICATION)
    content = Content(b"v")
    write = Write(Identity("a"), Precondition.ABSENT, content, Mark("me", b""))
    assert (await store.write("web", [write]))[0].status is WriteStatus.DONE
    await store.aclose()
    store = entra_store(service, APPLICATION)
    with pytest.raises(AuthError, match="does not accept the token"):
        await store.observe("web", signer(store))
    await store.aclose()


async def test_many_calls_share_one_token(
    service: Service, authority: ScriptServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many calls want a token at the same moment, it is asked for once."""
    monkeypatch.setenv("AZURE_AUTHORITY_HOST", authority.origin)
    store = entra_store(service, APPLICATION)
    await asyncio.gather(*(store.read("web", [Identity(f"key-{number}")]) for number in range(20)))
    await store.aclose()
    assert len(authority.seen) == 1


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (
            says(
                401,
                b'{"error": "invalid_client", "error_description": "AADSTS7000215: Invalid client secret.\\nTrace"}',
            ),
            "AADSTS7000215: Invalid client secret",
        ),
        (says(400, b'{"error": "invalid_request"}'), "invalid_request"),
        (says(200, b'{"token": "of another kind"}'), "contains no token"),
    ],
)
async def test_a_refused_application(
    service: Service, authority: ScriptServer, monkeypatch: pytest.MonkeyPatch, answer: Any, complaint: str
) -> None:
    """What the identity service says of a wrong secret or name is passed on, without the secret, and stops the store."""
    monkeypatch.setenv("AZURE_AUTHORITY_HOST", authority.origin)
    authority.acts = [answer]
    store = entra_store(service, APPLICATION)
    with pytest.raises(AuthError, match=complaint) as caught:
        await store.observe("web", signer(store))
    assert "application-secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
    await store.aclose()


async def test_no_secret_goes_out_unencrypted(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """An identity service that is named with plain http beyond this machine is not asked."""
    monkeypatch.setenv("AZURE_AUTHORITY_HOST", "http://login.example.com")
    with pytest.raises(PermanentError, match="unencrypted"):
        await locate(entra_store(service, APPLICATION), "web")


# Doctor


async def diagnose(store: Store) -> dict[str, DoctorCheck]:
    try:
        return {finding.check: finding for finding in await store.check()}
    finally:
        await store.aclose()


def failed(findings: Mapping[str, DoctorCheck]) -> dict[str, str]:
    return {check: f"{found.detail} ({found.hint})" for check, found in findings.items() if not found.ok}


async def test_a_sound_connection(service: Service) -> None:
    """With nothing wrong, endpoint, clock, credential, reading and writing are all right, and nothing is written."""
    found = await diagnose(azure_store(service.env, read_only=True))
    assert set(found) == {"endpoint", "clock", "credential", "reading", "writing"}
    assert failed(found) == {}
    assert service.values() == {}


@pytest.mark.parametrize(
    ("old", "new", "cause", "words"),
    [
        ("Secret=", "Secret=AAAA", "credential", "Secret in the connection string is wrong"),
        ("Id=kvsync-emulator", "Id=unknown", "credential", "does not recognise the Id"),
    ],
)
async def test_a_wrong_key(service: Service, old: str, new: str, cause: str, words: str) -> None:
    """A wrong secret and a wrong id are distinguished."""
    found = failed(await diagnose(azure_store({SECRET.name: service.env[SECRET.name].replace(old, new)})))
    assert set(found) == {cause}
    assert words in found[cause]


@pytest.mark.parametrize(("skew", "words"), [("20m", "20 minutes behind"), ("-20m", "20 minutes ahead")])
async def test_a_wrong_clock(service: Service, skew: str, words: str) -> None:
    """When it is the clock that makes signatures invalid, that is said, with how far it is off."""
    service.control("PUT", "clock", {"skew": skew})
    found = failed(await diagnose(azure_store(service.env)))
    assert set(found) == {"clock"}
    assert words in found["clock"]


async def test_a_drifting_clock(service: Service) -> None:
    """A clock that is off but not yet refused is warned of."""
    service.control("PUT", "clock", {"skew": "10m"})
    assert set(failed(await diagnose(azure_store(service.env)))) == {"clock"}


async def test_a_key_that_may_only_read(service: Service) -> None:
    """A read-only key reads, and is known not to write."""
    env = {SECRET.name: service.env["AZURE_APPCONFIG_READER_CONNECTION_STRING"]}
    found = failed(await diagnose(azure_store(env)))
    assert set(found) == {"writing"}
    assert "read-only" in found["writing"]


async def test_a_missing_role(service: Service, authority: ScriptServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """An application that may not read, or not write, gets the name of the role it lacks."""
    monkeypatch.setenv("AZURE_AUTHORITY_HOST", authority.origin)
    authority.acts = [grants(f"{TOKEN}-reader")]
    found = failed(await diagnose(entra_store(service, APPLICATION)))
    assert set(found) == {"writing"}
    assert "the application app-1 lacks the role App Configuration Data Owner" in found["writing"]
    service.faults("403:1")
    found = failed(await diagnose(entra_store(service, APPLICATION)))
    assert set(found) == {"permission"}
    assert "App Configuration Data Reader" in found["permission"]


async def test_access_keys_that_are_disabled() -> None:
    """A store that takes no access keys is not mistaken for a wrong key."""
    with Service.serve(switches={"access-keys": "off"}) as strict:
        found = failed(await diagnose(azure_store(strict.env)))
    assert set(found) == {"permission"}
    assert "access keys are disabled" in found["permission"]


async def test_a_wrong_endpoint(service: Service) -> None:
    """Something else that answers, or nobody, is a wrong endpoint and not a wrong key."""
    async with serving(says(200, b"<html>")) as other:
        found = failed(await diagnose(azure_store(service.env, endpoint=other.origin)))
    assert set(found) == {"endpoint"}
    assert "not App Configuration" in found["endpoint"]
    clock = FakeClock(time.time())
    found = failed(await diagnose(azure_store(service.env, clock, endpoint="http://127.0.0.1:9")))
    assert set(found) == {"endpoint"}
    assert "Connection refused" in found["endpoint"]


@pytest.mark.parametrize("act", [resets, is_silent], ids=["reset", "silent"])
async def test_an_endpoint_in_trouble(service: Service, act: Any) -> None:
    """A server that breaks off, or keeps silent, is reported as such."""
    async with serving(act) as other:
        clock = FakeClock(time.time())
        found = failed(await diagnose(azure_store(service.env, clock, endpoint=other.origin, timeout=0.2)))
    assert set(found) == {"endpoint"}


async def test_an_untrusted_certificate() -> None:
    """A certificate that nobody vouches for is reported, with how to name its authority."""
    with Service.serve(tls=True) as hidden:
        found = failed(await diagnose(azure_store(hidden.env)))
    assert set(found) == {"endpoint"}
    assert "SSL_CERT_FILE" in found["endpoint"]


async def test_a_trusted_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the authority in SSL_CERT_FILE, all is well over TLS."""
    with Service.serve(tls=True) as hidden:
        monkeypatch.setenv("SSL_CERT_FILE", hidden.env["SSL_CERT_FILE"])
        assert failed(await diagnose(azure_store(hidden.env))) == {}


async def test_a_spent_quota(service: Service) -> None:
    """A store that throttles even this is distinguished from a broken one."""
    service.faults("429:1")
    found = failed(await diagnose(azure_store(service.env)))
    assert set(found) == {"quota"}


async def test_a_missing_secret(service: Service) -> None:
    """A connection string that cannot be read, or is none, is a matter of the credential."""
    found = failed(await diagnose(azure_store({SECRET.name: "nonsense"})))
    assert set(found) == {"credential"}


async def test_errors_name_the_store(service: Service) -> None:
    """Every message says which store it is about."""
    service.faults("403:1")
    store = azure_store(service.env)
    with pytest.raises(StoreError, match=r"^store settings: "):
        await store.observe("web", signer(store))
    await store.aclose()


@pytest.mark.parametrize(
    ("kind", "body", "said"),
    [
        ("application/problem+json", b'{"title": "The client address 203.0.113.9 is not allowed"}', "203.0.113.9"),
        ("text/html", b"<html><title>Blocked by company policy</title></html>", "Blocked by company policy"),
        ("text/plain", b"", "status 403"),
    ],
)
async def test_a_refusal_is_reported_in_the_servers_words(kind: str, body: bytes, said: str) -> None:
    """A 403 may come from a network rule, a quota or a proxy: it is reported as it was said, and access keys are not blamed."""
    async with serving(says(403, body, Content_Type=kind)) as server:
        env = {SECRET.name: f"Endpoint={server.origin};Id=i;Secret=c2VjcmV0"}
        store = azure_store(env)
        with pytest.raises(AuthError) as caught:
            await store.observe("web", signer(store))
        await store.aclose()
    assert said in str(caught.value)
    assert "disabled" not in str(caught.value)


@pytest.mark.parametrize("skew", ["40d", "-40d"])
async def test_a_machine_whose_clock_is_wrong_signs_with_the_time_of_the_server(service: Service, skew: str) -> None:
    """A clock that is weeks off stops nothing: the refusal tells the time, and the calls are signed again, also those that were
    sent at the same time."""
    service.control("PUT", "clock", {"skew": skew})
    store = azure_store(service.env, StoreClock(Clock()))
    try:
        snapshots = await asyncio.gather(*(store.observe("web", signer(store, "web")) for _ in range(4)))
    finally:
        await store.aclose()
    assert all(one is not None and one.complete for one in snapshots)
