"""The proxy and the authorities of a store: every connection uses them, and only that store fails without them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from kvsync.app import open_workspace
from kvsync.errors import StoreError
from tests.http.connect_proxy import tunnelling
from tests.stores import cloudflare_service, voximplant_service

HOST = "https://store.invalid"
IDENTITY = "https://identity.invalid"
TYPES = {
    "azure": ("type: azure-appconfig, connection_string: {env: C}", "store.invalid:443"),
    "azure-entra": (
        f"type: azure-appconfig, endpoint: '{HOST}', tenant_id: t, client_id: c, client_secret: {{env: S}}",
        "identity.invalid:443",
    ),
    "cloudflare": (f"type: cloudflare-kv, account_id: '0', token: {{env: S}}, endpoint: '{HOST}'", "store.invalid:443"),
    "apify": (f"type: apify, token: {{env: S}}, endpoint: '{HOST}'", "store.invalid:443"),
    "voximplant": (
        f"type: voximplant, credentials: {{env: V}}, application: a, endpoint: '{HOST}'",
        "store.invalid:443",
    ),
    "etcd": (f"type: etcd, endpoints: ['{HOST}:2379']", "store.invalid:2379"),
    "etcd-user": (
        f"type: etcd, endpoint: '{HOST}:2379', username: u, password: {{env: S}}",
        "store.invalid:2379",
    ),
    "vault": (f"type: vault-kv, address: '{HOST}', token: {{env: S}}", "store.invalid:443"),
    "vault-role": (f"type: vault-kv, address: '{HOST}', role_id: r, secret_id: {{env: S}}", "store.invalid:443"),
}


def configure(folder: Path, *stores: str) -> Path:
    """Write a configuration with these stores, `s0` and so on, each with one entry in `web`."""
    lines = [f"  s{number}: {{{fields}}}\n" for number, fields in enumerate(stores)]
    (folder / "kvsync.yaml").write_text("version: 1\nowner: us\npolicy: {prune: owned}\nstores:\n" + "".join(lines))
    (folder / "state").mkdir(exist_ok=True)
    for number in range(len(stores)):
        (folder / f"state/{number}.yaml").write_text(f"store: s{number}\nnamespace: web\nkeys: {{a: b}}\n")
    return folder / "kvsync.yaml"


async def errors(config: Path, environ: Mapping[str, str]) -> list[str | None]:
    """Plan every target, and return what went wrong in each."""
    async with open_workspace(config, environ=environ) as workspace:
        plan = await workspace.plan()
        return [None if target.error is None else str(target.error) for target in plan.targets]


@pytest.fixture(scope="module")
def key_file() -> str:
    """The key file of a service account."""
    with voximplant_service.Service.serve() as service:
        return Path(service.env["VOXIMPLANT_CREDENTIALS"]).read_text()


@pytest.mark.parametrize("kind", TYPES)
async def test_every_store_type_connects_through_its_proxy(
    kind: str, tmp_path: Path, key_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the environment says: not through its proxy, and not directly."""
    for name, value in {
        "HTTPS_PROXY": "http://127.0.0.1:1",
        "NO_PROXY": "*",
        "AZURE_AUTHORITY_HOST": IDENTITY,
    }.items():
        monkeypatch.setenv(name, value)
    environ = {"C": f"Endpoint={HOST};Id=i;Secret=c2VjcmV0", "S": "secret", "V": key_file}
    fields, expected = TYPES[kind]
    async with tunnelling() as proxy:
        config = configure(tmp_path, f"{fields}, timeout: 2s, proxy: 'http://{proxy.address}'")
        [error] = await errors(config, environ)
    assert set(proxy.seen) == {expected}
    assert error is not None
    assert (
        f"through the proxy http://{proxy.address} (from stores.s0.proxy): the proxy answered with status 403" in error
    )


@pytest.fixture(scope="module")
def secure() -> Any:
    """Workers KV behind a certificate of an authority that no system knows."""
    with cloudflare_service.Service.serve(tls=True) as running:
        yield running


def fields_of(service: cloudflare_service.Service, *more: str, endpoint: str | None = None) -> str:
    """The fields of the store."""
    usual = (
        f"type: cloudflare-kv, account_id: {service.account}, token: {{env: T}}, endpoint: '{endpoint or service.url}'"
    )
    return ", ".join((usual, "create_namespaces: true", *more))


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_secret_proxy_and_an_own_authority(
    host: str, secure: cloudflare_service.Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tunnel with a password, TLS through it to an authority of the store, and the same without the password or the file."""
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    ca, port = f"ca_file: '{secure.env['SSL_CERT_FILE']}'", urlsplit(secure.url).port
    assert port is not None
    async with tunnelling("ann:s3cret-w0rd", ("127.0.0.1", port), host) as proxy:
        environ = {
            "T": secure.token,
            "P": f"http://ann:s3cret-w0rd@{proxy.address}",
            "WRONG": f"http://ann:s3cret-w1rd@{proxy.address}",
        }
        config = configure(
            tmp_path,
            fields_of(secure, ca, "proxy: {env: P}"),
            fields_of(secure, "proxy: {env: P}"),
            fields_of(secure, ca, "proxy: {env: WRONG}"),
        )
        fine, untrusted, refused = await errors(config, environ)
    assert fine is None
    assert untrusted is not None
    assert "not trusted" in untrusted
    assert refused is not None
    assert (
        "the proxy from the environment variable WRONG requires a password (status 407); add user and password"
        in refused
    )
    assert "s3cret" not in untrusted + refused


async def test_a_file_or_a_proxy_that_is_missing_stops_one_store(
    secure: cloudflare_service.Service, tmp_path: Path
) -> None:
    """The message names the file, or the reference; the other store is planned."""
    ca = f"ca_file: '{secure.env['SSL_CERT_FILE']}'"
    (tmp_path / "nothing.pem").write_text("nothing")
    config = configure(
        tmp_path,
        fields_of(secure, ca),
        fields_of(secure, "ca_file: missing.pem"),
        fields_of(secure, "ca_file: nothing.pem"),
        fields_of(secure, ca, "proxy: {env: UNSET}"),
    )
    fine, missing, useless, unset = await errors(config, {"T": secure.token})
    assert fine is None
    assert missing is not None
    assert str(tmp_path / "missing.pem") in missing
    assert "No such file" in missing
    assert useless is not None
    assert str(tmp_path / "nothing.pem") in useless
    assert unset is not None
    assert "the environment variable UNSET is not set" in unset


async def test_an_address_of_ipv6_is_an_endpoint(tmp_path: Path) -> None:
    """In brackets, with a port; the Host header has the brackets too."""
    with cloudflare_service.Service.serve(host="::1") as service:
        assert "[::1]" in service.url
        assert await errors(configure(tmp_path, fields_of(service)), {"T": service.token}) == [None]
        with pytest.raises(StoreError, match=r"\[::1\]:1: Connection refused"):
            async with open_workspace(
                configure(tmp_path, fields_of(service, endpoint="http://[::1]:1")), environ={"T": "t"}
            ) as workspace:
                await workspace.stores["s0"].namespaces()
