"""Azure App Configuration: who may ask."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import format_datetime

import httpx
import pytest

from kvsync.emulators.azure.auth import Authenticator, Credential, content_hash, signature
from kvsync.emulators.azure.problems import Refused
from kvsync.emulators.azure.query import VERSIONS
from kvsync.emulators.model import Request
from kvsync.emulators.server import Running
from tests.emulators.conftest import Http, azure_emulator

HEADERS = "x-ms-date;host;x-ms-content-sha256"
SECRET = "a3ZzeW5jLXRlc3Qtc2VjcmV0LTAxMjM0NTY3ODlhYmNkZWY="
BODY = '{"value": "héllo", "content_type": null, "tags": {"env": "prod"}}'.encode()
VECTORS = [
    ("GET", "/kv?api-version=2023-11-01&key=app%2F%2A&label=%00", b"", "6mBcJbar4r10duAovqGmqPk6dBTAebWyASV/hZPwrhw="),
    (
        "PUT",
        "/kv/app%2Fdb%2Fhost?api-version=2023-11-01&label=prod",
        BODY,
        "HMJ0DAj2GxI1NuEEkTgO7ae8eA0x6KisCyZPMsJxsXw=",
    ),
    (
        "DELETE",
        "/kv/app%2Fdb%2Fhost?api-version=2023-11-01&label=prod",
        b"",
        "VEjqJA5z5wUcUa1FqIDvks9RyqVKk6CSCpbBslyRMJk=",
    ),
]


@pytest.mark.parametrize(("method", "target", "body", "signed"), VECTORS)
def test_known_signatures(method: str, target: str, body: bytes, signed: str) -> None:
    """The signatures that the official SDK makes at a fixed moment are accepted, and no other."""
    headers = {
        "x-ms-date": "Fri, 11 May 2018 18:48:36 GMT",
        "host": "kvsync-test.azconfig.io",
        "x-ms-content-sha256": content_hash(body),
        "Authorization": f"HMAC-SHA256 Credential=kvsync-id-1&SignedHeaders={HEADERS}&Signature={signed}",
    }
    authenticator = Authenticator((Credential("kvsync-id-1", SECRET),))
    now = datetime(2018, 5, 11, 18, 48, 36, tzinfo=UTC).timestamp()
    assert signature(SECRET, Request(method, target, headers, body), HEADERS.split(";")) == signed
    authenticator.check(Request(method, target, headers, body), now)
    for request in (Request(method, target + "&x", headers, body), Request(method, target, headers, body + b" ")):
        with pytest.raises(Refused):
            authenticator.check(request, now)
    for skew in (-901, 901):
        with pytest.raises(Refused):
            authenticator.check(Request(method, target, headers, body), now + skew)


@pytest.fixture(scope="module")
def guarded() -> Iterator[Running]:
    """An emulator that asks for credentials."""
    with azure_emulator(token="good") as server:
        yield server


class Signed(httpx.Auth):
    """Signs with the access key of a connection string, in one of the forms that clients use."""

    def __init__(self, connection_string: str, separator: str = "&", headers: str = HEADERS, date: str = "") -> None:
        self.parts = dict(part.split("=", 1) for part in connection_string.split(";"))
        self.separator, self.headers = separator, headers
        self.date = date or format_datetime(datetime.now(UTC), usegmt=True)

    def auth_flow(self, request: httpx.Request) -> Iterator[httpx.Request]:  # type: ignore[override]
        """Add date, hash and signature."""
        request.headers.setdefault("x-ms-content-sha256", content_hash(request.content))
        request.headers["x-ms-date" if "x-ms-date" in self.headers else "Date"] = self.date
        values = ";".join(request.headers[name] for name in self.headers.split(";"))
        text = f"{request.method}\n{request.url.raw_path.decode()}\n{values}".encode()
        signed = base64.b64encode(hmac.digest(base64.b64decode(self.parts["Secret"]), text, hashlib.sha256)).decode()
        fields = (f"Credential={self.parts['Id']}", f"SignedHeaders={self.headers}", f"Signature={signed}")
        request.headers["Authorization"] = f"HMAC-SHA256 {self.separator.join(fields)}"
        yield request


def owner(server: Running) -> str:
    """The connection string that may write."""
    return server.env["AZURE_APPCONFIG_CONNECTION_STRING"]


@pytest.mark.parametrize("version", VERSIONS)
def test_access_keys_open_every_version(guarded: Running, version: str) -> None:
    """A signed write and a signed list with awkward filters are accepted in all api-versions."""
    with Http(guarded, version, auth=Signed(owner(guarded))) as http:
        assert http.put("/kv/a%2Fb?label=x%20y", json={"value": "1"}).status_code == 200
        assert http.get("/kv?key=a%2F*&label=%00,x y&%24select=key").status_code == 200


@pytest.mark.parametrize(
    ("separator", "headers", "date"),
    [
        (",", HEADERS, ""),
        ("&", "host;x-ms-content-sha256;x-ms-date", ""),
        ("&", "x-ms-date;host;x-ms-content-sha256;accept", ""),
        ("&", "date;host;x-ms-content-sha256", ""),
        ("&", HEADERS, "%b, %d %Y %H:%M:%S.%f GMT"),
    ],
)
def test_forms_of_signing(guarded: Running, separator: str, headers: str, date: str) -> None:
    """The client chooses separators, order, further signed headers, and the form of the date."""
    with Http(
        guarded, auth=Signed(owner(guarded), separator, headers, f"{datetime.now(UTC):{date}}" if date else "")
    ) as http:
        assert http.get("/kv").status_code == 200


@pytest.mark.parametrize(
    ("auth", "description"),
    [
        ({"headers": "host;x-ms-content-sha256"}, "Date is required as a signed header"),
        ({"headers": "x-ms-date;host"}, "x-ms-content-sha256 is required as a signed header"),
        ({"headers": HEADERS + ";x-none"}, "Signed request header 'x-none' is not provided"),
        ({"date": "Mon, 01 Jan 2024 00:00:00 GMT"}, "The access token has expired"),
        ({"date": "yesterday"}, "Invalid access token date"),
    ],
)
def test_wrong_signing_is_explained(guarded: Running, auth: dict[str, str], description: str) -> None:
    """What is wrong with a signed request is said in WWW-Authenticate, with an empty body."""
    fields = {"headers": HEADERS} | auth
    bare = fields["headers"].replace(";x-none", "")
    signed = Signed(owner(guarded), headers=bare, date=fields.get("date", ""))
    with Http(guarded) as http:
        request = http.build_request("GET", "/kv?api-version=1.0")
        request = next(iter(signed.auth_flow(request)))
        request.headers["Authorization"] = request.headers["Authorization"].replace(bare, fields["headers"])
        answer = http.send(request)
    challenge = f'HMAC-SHA256 error="invalid_token" error_description="{description}", Bearer'
    assert (answer.status_code, answer.content) == (401, b"")
    assert answer.headers["WWW-Authenticate"] == challenge


def test_wrong_keys_and_bodies(guarded: Running) -> None:
    """An unknown id, a wrong secret and a body that was changed on the way are distinguished."""
    good = owner(guarded)

    def refusal(connection_string: str, **headers: str) -> str:
        with Http(guarded, auth=Signed(connection_string)) as http:
            return http.put("/kv/k", json={}, headers=headers).headers["WWW-Authenticate"].split('"')[3]

    assert refusal(good.replace("Id=", "Id=x")) == "Invalid Credential"
    assert refusal(good.replace("Secret=a3Z", "Secret=b3Z")) == "Invalid Signature"
    assert refusal(good, **{"x-ms-content-sha256": content_hash(b"other")}) == "Invalid request content hash"


def test_bearer_tokens(guarded: Running) -> None:
    """The configured token opens, another does not, and nothing at all is met with both schemes."""
    with Http(guarded) as http:
        assert http.get("/kv", headers={"Authorization": "Bearer good"}).status_code == 200
        wrong = http.get("/kv", headers={"Authorization": "Bearer bad"})
        assert wrong.status_code == 401
        assert (
            'Bearer error="invalid_token", error_description="Authorization token failed validation"'
            in wrong.headers["WWW-Authenticate"]
        )
        nothing = http.get("/kv")
        assert (nothing.status_code, nothing.headers["WWW-Authenticate"]) == (401, "HMAC-SHA256, Bearer")
        assert nothing.headers["Sync-Token"]


def test_readers_may_not_write(guarded: Running) -> None:
    """A read-only access key and a token with the reader role read, and are refused writes with 403."""
    reader = Signed(guarded.env["AZURE_APPCONFIG_READER_CONNECTION_STRING"])
    for options in ({"auth": reader}, {"headers": {"Authorization": "Bearer good-reader"}}):
        with Http(guarded, **options) as http:
            assert http.get("/kv").status_code == 200
            assert http.put("/kv/k", json={}).status_code == 403


def test_access_keys_can_be_switched_off() -> None:
    """A store that allows no access keys answers 401 and says so."""
    with azure_emulator(switches={"access-keys": "off"}) as server, Http(server, auth=Signed(owner(server))) as http:
        answer = http.get("/kv")
        assert (answer.status_code, answer.headers["WWW-Authenticate"].split('"')[3]) == (
            401,
            "Authentication scheme disabled",
        )


def test_skew_makes_signatures_old(guarded: Running) -> None:
    """A server whose clock is wrong refuses signatures as expired and shows its time in Date; virtual time does neither."""
    with Http(guarded, auth=Signed(owner(guarded))) as http:
        http.control("PUT", "clock", {"advance": "40d"})
        assert http.get("/kv").status_code == 200
        http.control("PUT", "clock", {"skew": "20m"})
        refused = http.get("/kv")
        http.control("POST", "reset")
    assert "expired" in refused.headers["WWW-Authenticate"]
    assert datetime.strptime(refused.headers["Date"], "%a, %d %b %Y %H:%M:%S %Z").replace(tzinfo=UTC) > datetime.now(
        UTC
    )
