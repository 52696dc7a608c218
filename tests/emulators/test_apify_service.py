"""The Apify emulator as a service: the archive of all records, names of errors, limits, faults."""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from kvsync.emulators.apify.limits import Rates
from kvsync.emulators.apify.problems import Refused
from kvsync.emulators.server import Running
from tests.emulators.apify_api import ApifyApi, data, error
from tests.emulators.conftest import apify_emulator


@contextmanager
def with_store(**switches: str) -> Iterator[ApifyApi]:
    """An emulator with switches, and a store in it."""
    named = {name.replace("_", "-"): value for name, value in switches.items()}
    with apify_emulator(switches=named) as server, ApifyApi(server) as kvs:
        kvs.use(kvs.create("test")["id"])
        yield kvs


def test_the_archive(kvs: ApifyApi) -> None:
    """It has one member per record, named as the key, with its decoded bytes; filters choose, and none is an empty archive."""
    assert kvs.zip() == {}
    kvs.set("a-1", b"\x00\xff")
    kvs.set("a-2", gzip.compress(b"text"), Content_Encoding="gzip")
    kvs.set("...", "dots")
    kvs.set("b.json", "{}", Content_Type="application/json")
    assert kvs.zip() == {"...": b"dots", "a-1": b"\x00\xff", "a-2": b"text", "b.json": b"{}"}
    assert kvs.zip(prefix="a-") == {"a-1": b"\x00\xff", "a-2": b"text"}
    assert kvs.zip(prefix="my-prefix/") == {}


def test_the_archive_is_written_as_a_stream(kvs: ApifyApi) -> None:
    """Sizes stand behind the members, as where a server writes before it knows them."""
    kvs.set("k", "v" * 1000)
    with zipfile.ZipFile(io.BytesIO(kvs.get(kvs.at("/records")).content)) as archive:
        (member,) = archive.infolist()
        assert member.flag_bits & 0x08
        assert member.compress_type == zipfile.ZIP_DEFLATED


def test_what_is_not_documented_of_the_archive_can_be_chosen() -> None:
    """Members may be stored, and keep their content encoding; or there is no archive at all."""
    packed = gzip.compress(b"text")
    with with_store(zip="stored", zip_encoded="kept") as kvs:
        kvs.set("k", packed, Content_Encoding="gzip")
        assert kvs.zip() == {"k": packed}
        with zipfile.ZipFile(io.BytesIO(kvs.get(kvs.at("/records")).content)) as archive:
            assert archive.infolist()[0].compress_type == zipfile.ZIP_STORED
    with with_store(zip="off") as kvs:
        assert kvs.get(kvs.at("/records")).status_code == 501


SEED = {
    400: "invalid-input",
    401: "token-not-valid",
    403: "permission-denied",
    404: "record-not-found",
    405: "method-not-allowed",
    429: "rate-limit-exceeded",
}
DOCS = SEED | {400: "invalid-collection", 401: "token-not-provided", 403: "insufficient-permissions"}


@pytest.mark.parametrize(("generation", "names"), [("seed", SEED), ("docs", DOCS)])
def test_the_statuses_of_the_archive(generation: str, names: dict[int, str]) -> None:
    """Everything that the archive may answer but 200, in both generations of names."""
    with with_store(error_names=generation) as kvs, httpx.Client(base_url=kvs.base_url) as nobody:
        path = kvs.at("/records")
        kvs.put(kvs.at(), json={"generalAccess": "RESTRICTED"}).raise_for_status()
        refusals = [
            kvs.get(path, params={"collection": "none"}),
            nobody.get("/kvsync-emulator~test/records"),
            nobody.get(path),
            kvs.get("/none/records"),
            kvs.delete(path),
        ]
        kvs.control("PUT", "faults", {"spec": "429:1", "times": 1})
        refusals.append(kvs.get(path))
        assert dict(map(error, refusals)) == names
        messages = {answer.status_code: answer.json()["error"]["message"] for answer in refusals}
        assert messages[404] == "Key-value Store was not found"
        assert messages[405].endswith("HTTP methods: OPTIONS,GET")


def test_newer_names() -> None:
    """The newer generation of names is more exact; what both have is the same in both."""
    with with_store(error_names="docs") as kvs, httpx.Client(base_url=kvs.base_url) as nobody:
        kvs.create("taken")
        wrong = {"Authorization": "Bearer wrong"}
        restricted = kvs.create("restricted")["id"]
        kvs.put(f"/{restricted}", json={"generalAccess": "RESTRICTED"}).raise_for_status()
        encoding = {"Content-Encoding": "zstd"}
        assert [
            error(kvs.get("", headers=wrong)),
            error(kvs.put(kvs.at(), content="[")),
            error(kvs.put(kvs.at(), json={"name": "a_b"})),
            error(kvs.put(kvs.at(), json={"name": "taken"})),
            error(kvs.get("", params={"limit": "x"})),
            error(kvs.post("", json={"schema": {}})),
            error(nobody.get(f"/{restricted}/keys", params={"signature": "x"})),
            error(kvs.put(kvs.record("a b"), content="x")),
            error(kvs.put(kvs.record("k"), content="x", headers=encoding)),
        ] == [
            (401, "user-or-token-not-found"),
            (400, "invalid-request"),
            (400, "invalid-value"),
            (409, "name-not-unique"),
            (400, "invalid-parameter"),
            (400, "store-schema-invalid"),
            (403, "invalid-signature"),
            (400, "invalid-record-key"),
            (415, "unsupported-content-encoding"),
        ]


METHODS = [
    ("", "GET,POST", "PUT"),
    ("/~test", "GET,PUT,DELETE", "POST"),
    ("/~test/keys", "GET", "DELETE"),
    ("/~test/records", "GET", "PUT"),
    ("/~test/records/k", "GET,HEAD,PUT,POST,DELETE", "PATCH"),
]


@pytest.mark.parametrize(("path", "methods", "wrong"), METHODS)
def test_methods(kvs: ApifyApi, path: str, methods: str, wrong: str) -> None:
    """A method that a route does not have is refused with those that it has, and OPTIONS lists them."""
    answer = kvs.request(wrong, path)
    assert error(answer) == (405, "method-not-allowed")
    assert answer.json()["error"]["message"].endswith(f"HTTP methods: OPTIONS,{methods}")
    options = kvs.options(path)
    assert (options.status_code, options.headers["allow"]) == (204, f"OPTIONS,{methods}")


@pytest.mark.parametrize(
    "path", ["/v2/none", "/key-value-stores", "/v2/key-value-stores/a/b", "/v2/key-value-stores/a/records/b/c"]
)
def test_paths_that_lead_nowhere(kvs: ApifyApi, path: str) -> None:
    """Any other path is a page that is not found."""
    assert error(kvs.get(kvs.origin + path)) == (404, "page-not-found")


def test_rates() -> None:
    """Each store has 200 record requests and 60 others a second, told in a header; what is refused names no time to wait."""
    with with_store(rate="200/60") as kvs:
        other = kvs.create("other")["id"]
        kvs.control("PUT", "clock", {"now": "2026-01-01T00:00:00Z", "frozen": True})
        records = [kvs.put(kvs.record("k"), content="v") for _ in range(100)]
        records += [kvs.get(kvs.record("k")) for _ in range(101)]
        assert [answer.status_code for answer in records] == [201] * 100 + [200] * 100 + [429]
        assert {answer.headers["x-ratelimit-limit"] for answer in records} == {"200"}
        refused = records[-1]
        assert error(refused) == (429, "rate-limit-exceeded")
        assert "retry-after" not in refused.headers
        others = [kvs.get(kvs.at(path)) for _ in range(20) for path in ("/keys", "/records", "", "/keys")]
        assert [answer.status_code for answer in others] == [200] * 60 + [429] * 20
        assert {answer.headers["x-ratelimit-limit"] for answer in others} == {"60"}
        assert kvs.get("/~test/keys").status_code == 429  # the same store by another name
        assert kvs.get(f"/{other}/keys").status_code == 200
        kvs.control("PUT", "clock", {"advance": "1s"})
        assert kvs.get(kvs.record("k")).status_code == 200
        assert kvs.get(kvs.at("/keys")).status_code == 200


def test_a_user_has_a_limit_too() -> None:
    """All stores together have 250,000 requests a minute; the limits of one store are counted apart."""
    rates = Rates(200, 60)
    for number in range(250_000):
        rates.spend("user", f"store {number // 200}", 0.0, record=True)
    with pytest.raises(Refused) as refused:
        rates.spend("user", "another", 1.0, record=True)
    assert (refused.value.problem.status, "250000" in refused.value.problem.message) == (429, True)
    rates.spend("someone else", "another", 1.0, record=True)
    rates.spend("user", "another", 60.0, record=True)


def test_without_limits() -> None:
    """Without limits there is none to tell; without the switch there are more than a test will meet."""
    with with_store(rate="off") as kvs:
        assert "x-ratelimit-limit" not in kvs.get(kvs.at()).headers
    with with_store() as kvs:
        assert {
            kvs.get(kvs.at()).headers["x-ratelimit-limit"],
            kvs.head(kvs.record("k")).headers["x-ratelimit-limit"],
        } == {
            "6000",
            "20000",
        }


def test_an_account_without_credit() -> None:
    """Where the credit is spent, reading stores, keys and records is refused with 402; the archive and writes go on."""
    with with_store(credit="spent") as kvs:
        kvs.set("k")
        assert [kvs.get(kvs.at(path)).status_code for path in ("", "/keys", "/records/k")] == [402] * 3
        assert kvs.zip() == {"k": b"v"}


def test_the_account(kvs: ApifyApi, apify: Running) -> None:
    """`/v2/users/me` tells who a token belongs to."""
    url = f"{kvs.origin}/v2/users/me"
    assert data(kvs.get(url))["username"] == "kvsync-emulator"
    guest = {"Authorization": f"Bearer {apify.env['APIFY_GUEST_TOKEN']}"}
    assert data(kvs.get(url, headers=guest))["username"] == "kvsync-guest"
    assert error(httpx.get(url)) == (401, "token-not-valid")


def test_users(kvs: ApifyApi) -> None:
    """Everybody may look up a user by id or name; limits and usage are those of the token's own account."""
    users = f"{kvs.origin}/v2/users"
    for name in ("kvsyncEmulatorGst", "kvsync-guest"):
        assert data(httpx.get(f"{users}/{name}"))["username"] == "kvsync-guest"
    assert error(httpx.get(f"{users}/nobody")) == (404, "record-not-found")
    kvs.control("PUT", "clock", {"now": "2026-12-24T00:00:00Z"})
    limits, usage = data(kvs.get(f"{users}/me/limits")), data(kvs.get(f"{users}/me/usage/monthly"))
    month = {"startAt": "2026-12-01T00:00:00.000Z", "endAt": "2027-01-01T00:00:00.000Z"}
    assert limits["monthlyUsageCycle"] == usage["usageCycle"] == month
    assert (limits["limits"]["maxMonthlyUsageUsd"], limits["current"]["monthlyUsageUsd"]) == (100.0, 0.0)
    assert error(httpx.get(f"{users}/me/limits")) == (401, "token-not-valid")


@pytest.mark.parametrize("names", ["seed", "docs"])
def test_texts_of_refusals(names: str) -> None:
    """Texts are those of the older documentation or of the service; the one of a 403 is always that of the service."""
    with with_store(error_names=names) as kvs:

        def text(status: int) -> str:
            kvs.control("PUT", "faults", {"spec": f"{status}:1", "times": 1})
            found: str = kvs.get(kvs.at()).json()["error"]["message"]
            return found

        assert text(403).startswith("Insufficient permissions for the key-value store. Make sure you're passing")
        assert text(401).startswith({"seed": "Authentication token is not valid.", "docs": "User was not"}[names])
        assert text(429).startswith({"seed": "You have exceeded the rate limit. Please", "docs": "You have"}[names])


@pytest.mark.parametrize(
    "status", [400, 401, 402, 403, 404, 408, 409, 413, 415, 418, 429, 499, 500, 502, 503, 504, 599]
)
def test_injected_answers(kvs: ApifyApi, status: int) -> None:
    """A fault answers in the API's envelope, whatever its status, and nothing is done."""
    kvs.control("PUT", "faults", {"spec": f"{status}:1", "times": 1})
    assert error(kvs.put(kvs.record("k"), content="v"))[0] == status
    assert kvs.keys() == []


def test_answers_that_are_lost(kvs: ApifyApi) -> None:
    """With `drop-after-write` the record is there, and nobody said so."""
    kvs.control("PUT", "faults", {"spec": "drop-after-write:1", "times": 1, "methods": ["PUT"]})
    with pytest.raises(httpx.TransportError):
        kvs.put(kvs.record("k"), content="v")
    assert kvs.get(kvs.record("k")).text == "v"
    kvs.control("PUT", "faults", {"spec": "503-after-write:1", "times": 1, "methods": ["DELETE"]})
    assert kvs.delete(kvs.record("k")).status_code == 503
    assert kvs.keys() == []


def test_half_an_archive(kvs: ApifyApi) -> None:
    """`truncate` and `cut` leave an archive that nobody can read: its table is missing."""
    for number in range(20):
        kvs.set(f"k{number}")
    kvs.control("PUT", "faults", {"spec": "truncate:1", "times": 1})
    half = kvs.get(kvs.at("/records"))
    assert half.status_code == 200
    assert not zipfile.is_zipfile(io.BytesIO(half.content))
    kvs.control("PUT", "faults", {"spec": "cut:1", "times": 1})
    with pytest.raises(httpx.RemoteProtocolError):
        kvs.get(kvs.at("/records"))
    assert len(kvs.zip()) == 20


def test_another_writer(kvs: ApifyApi) -> None:
    """`foreign-write` changes the record just before a write to it, and only to it."""
    kvs.set("k")
    kvs.control("PUT", "faults", {"spec": "foreign-write:1", "times": 2})
    assert kvs.put(kvs.record("k"), content="x", headers={"Content-Encoding": "zstd"}).status_code == 415
    assert kvs.get(kvs.record("k")).text.startswith("written by another program")
    kvs.set("k", "mine")
    assert kvs.get(kvs.record("k")).text == "mine"
    assert kvs.keys() == ["k"]


def test_routes_are_counted(kvs: ApifyApi) -> None:
    """Statistics count by route, and not by name."""
    kvs.control("POST", "reset", {"only": ["stats"]})
    kvs.set("k")
    kvs.zip()
    kvs.keys()
    kvs.get(f"{kvs.origin}/nowhere")
    assert kvs.control("GET", "stats")["routes"] == {
        "GET /key-value-stores/{storeId}/keys": 1,
        "GET /key-value-stores/{storeId}/records": 1,
        "GET other": 1,
        "PUT /key-value-stores/{storeId}/records/{recordKey}": 1,
    }
