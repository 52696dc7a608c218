"""Azure App Configuration: signing in with Microsoft Entra ID, with the vendor's library and by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from azure.appconfiguration import AzureAppConfigurationClient, ConfigurationSetting
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from azure.identity import ClientSecretCredential, ManagedIdentityCredential, WorkloadIdentityCredential

from kvsync.emulators.server import Running
from tests.emulators.conftest import Http, azure_emulator

APP_SERVICE = ("IDENTITY_ENDPOINT", "IDENTITY_HEADER")
SIGN_INS = ("secret", "federated token", "app service", "machine")


@pytest.fixture(scope="module")
def directory() -> Iterator[Running]:
    """An emulator that takes tokens and keys only, over TLS, as the vendor's library insists."""
    with azure_emulator(tls=True) as server:
        yield server


@pytest.fixture
def env(directory: Running, monkeypatch: pytest.MonkeyPatch) -> Mapping[str, str]:
    """What the emulator's clients read. The environment of this process has the certificate alone."""
    for name in directory.env:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", directory.env["REQUESTS_CA_BUNDLE"])
    return directory.env


def credential(kind: str, env: Mapping[str, str], client: str, patch: pytest.MonkeyPatch) -> Any:
    """A credential of the vendor's library, unchanged."""
    private = {"authority": env["AZURE_AUTHORITY_HOST"], "disable_instance_discovery": True}
    if kind == "secret":
        return ClientSecretCredential(env["AZURE_TENANT_ID"], client, env["AZURE_CLIENT_SECRET"], **private)
    if kind == "federated token":
        file = env["AZURE_FEDERATED_TOKEN_FILE"]
        return WorkloadIdentityCredential(
            tenant_id=env["AZURE_TENANT_ID"], client_id=client, token_file_path=file, **private
        )
    names = APP_SERVICE if kind == "app service" else ("AZURE_POD_IDENTITY_AUTHORITY_HOST",)
    for name in names:
        patch.setenv(name, env[name])
    return ManagedIdentityCredential(client_id=client)


@pytest.mark.parametrize("kind", SIGN_INS)
def test_the_vendors_library_signs_in(
    kind: str, env: Mapping[str, str], directory: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each way of azure-identity leads to a token that reads and writes, and, for the other application, only reads."""
    for client, may_write in ((env["AZURE_CLIENT_ID"], True), (env["AZURE_APPCONFIG_READER_CLIENT_ID"], False)):
        signed_in = credential(kind, env, client, monkeypatch)
        with signed_in as identity, AzureAppConfigurationClient(directory.url, identity) as sdk:
            setting = ConfigurationSetting(key="k", value=kind)
            if may_write:
                sdk.set_configuration_setting(setting)
            else:
                with pytest.raises(HttpResponseError, match="Forbidden"):
                    sdk.set_configuration_setting(setting)
            found = sdk.get_configuration_setting("k")
            assert found is not None
            assert found.value == kind


def test_the_vendors_library_shows_a_refusal(
    env: Mapping[str, str], directory: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong secret is refused in words that azure-identity passes on."""
    wrong = credential("secret", {**env, "AZURE_CLIENT_SECRET": "wrong"}, env["AZURE_CLIENT_ID"], monkeypatch)
    refused = pytest.raises(ClientAuthenticationError, match="AADSTS7000215: Invalid client secret")
    with wrong as identity, AzureAppConfigurationClient(directory.url, identity) as sdk, refused:
        sdk.get_configuration_setting("k")


def form(env: Mapping[str, str]) -> dict[str, str]:
    """What an application sends to sign in."""
    return {
        "grant_type": "client_credentials",
        "client_id": env["AZURE_CLIENT_ID"],
        "client_secret": env["AZURE_CLIENT_SECRET"],
        "scope": "https://azconfig.io/.default",
    }


@pytest.mark.parametrize(
    ("tenant", "changes", "status", "error", "number"),
    [
        (None, {"scope": ""}, 400, "invalid_request", 900144),
        ("unknown", {}, 400, "invalid_request", 90002),
        (None, {"grant_type": "password"}, 400, "unsupported_grant_type", 70003),
        (None, {"client_id": "unknown"}, 400, "unauthorized_client", 700016),
        (None, {"scope": "https://azconfig.io/read"}, 400, "invalid_scope", 1002012),
        (None, {"client_secret": ""}, 401, "invalid_client", 7000218),
        (None, {"client_assertion": "eyJ.eyJ.x"}, 401, "invalid_client", 700213),
    ],
)
def test_refusals(
    http: Http, azure: Running, tenant: str | None, changes: dict[str, str], status: int, error: str, number: int
) -> None:
    """The authority refuses with the error, number and words that clients look for."""
    path = f"/{tenant or azure.env['AZURE_TENANT_ID']}/oauth2/v2.0/token"
    data = {name: text for name, text in (form(azure.env) | changes).items() if text}
    answer = http.post(path, data=data)
    said = answer.json()
    assert (answer.status_code, said["error"], said["error_codes"]) == (status, error, [number])
    assert said["error_description"].startswith(f"AADSTS{number}: ")


@pytest.mark.parametrize(
    ("headers", "query", "said"),
    [
        ({}, "resource=https://azconfig.io", "metadata header"),
        ({"Metadata": "true"}, "", "'resource' is missing"),
        ({"Metadata": "true"}, "resource=https://azconfig.io&client_id=unknown", "Identity not found"),
    ],
)
def test_refusals_of_the_machine(http: Http, headers: dict[str, str], query: str, said: str) -> None:
    """A machine gives tokens to who may ask it, for an identity that it has."""
    answer = http.get(f"/metadata/identity/oauth2/token?{query}", headers=headers)
    assert answer.status_code == 400
    assert said in answer.json()["error_description"]


def token_for(http: Http, env: Mapping[str, str], scope: str = "https://azconfig.io/.default") -> str:
    """A token of the authority."""
    answer = http.post(f"/{env['AZURE_TENANT_ID']}/oauth2/v2.0/token", data=form(env) | {"scope": scope})
    return str(answer.json()["access_token"])


@pytest.mark.parametrize(
    ("scope", "prepare", "said"),
    [
        ("https://vault.azure.net/.default", lambda _: None, "another audience"),
        ("https://azconfig.io/.default", lambda http: http.control("PUT", "clock", {"skew": "2h"}), "has expired"),
    ],
)
def test_tokens_that_are_refused(
    http: Http, azure: Running, scope: str, prepare: Callable[[Http], Any], said: str
) -> None:
    """A token opens the store that it is for, until it ends."""
    token = token_for(http, azure.env, scope)
    prepare(http)
    answer = http.get("/kv", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 401
    assert said in answer.headers["WWW-Authenticate"]


def test_faults_of_the_authority(http: Http, azure: Running) -> None:
    """Injected faults are answered as the authority answers, and a request for a token does not count as a write."""
    http.control("PUT", "faults", {"spec": "503-after-write:1"})
    assert token_for(http, azure.env)
    http.control("PUT", "faults", {"spec": "429:1"})
    answer = http.post(f"/{azure.env['AZURE_TENANT_ID']}/oauth2/v2.0/token", data=form(azure.env))
    assert (answer.status_code, answer.json()["error"]) == (429, "temporarily_unavailable")
    assert http.control("GET", "stats")["routes"] == {"POST /{tenant}/oauth2/v2.0/token": 2}


def test_the_token_of_the_workload(tmp_path: Path) -> None:
    """With `--data` the file stays and is accepted after a restart; without, it goes with the emulator."""
    with azure_emulator(data=tmp_path) as server:
        kept = Path(server.env["AZURE_FEDERATED_TOKEN_FILE"])
        text = kept.read_text()
    with azure_emulator(data=tmp_path) as server:
        assert (Path(server.env["AZURE_FEDERATED_TOKEN_FILE"]), kept.read_text()) == (kept, text)
    with azure_emulator() as server:
        gone = Path(server.env["AZURE_FEDERATED_TOKEN_FILE"])
        assert gone.exists()
    assert not gone.exists()
