"""Stores of the Apify emulator: how they are named, listed, changed, and who may see them."""

from __future__ import annotations

import http.client
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from kvsync.emulators.server import Running
from kvsync.errors import UsageError
from tests.emulators.apify_api import ApifyApi, data, error
from tests.emulators.conftest import apify_emulator, process

MEMBERS = {
    *(
        "id",
        "name",
        "title",
        "userId",
        "username",
        "createdAt",
        "modifiedAt",
        "accessedAt",
        "actId",
        "actRunId",
        "stats",
    ),
    *("consoleUrl", "keysPublicUrl", "recordsPublicUrl", "schema", "generalAccess", "urlSigningSecretKey"),
}


def test_a_store_as_it_is_shown(kvs: ApifyApi) -> None:
    """A new store is answered with 201 and its place, one that exists with 200; all members are there."""
    made = kvs.post("", params={"name": "Shop"})
    assert made.status_code == 201
    store = data(made)
    assert made.headers["location"] == f"{kvs.origin}/v2/key-value-stores/{store['id']}"
    assert set(store) == MEMBERS
    assert len(store["id"]) == 17
    again = kvs.post("", params={"name": "sHOP"})
    assert (again.status_code, data(again)["id"], "location" in again.headers) == (200, store["id"], False)


def test_the_forms_of_a_store_id(kvs: ApifyApi) -> None:
    """An id, a name behind a user's name or id or behind nothing lead to the same store, in capitals or not."""
    store = data(kvs.get(kvs.at()))
    names = [f"{owner}~{name}" for owner in (store["username"], store["userId"], "") for name in ("test", "TEST")]
    encoded = [name.replace("~", "%7E") for name in names]
    assert {data(kvs.get(f"/{name}"))["id"] for name in (store["id"], *names, *encoded)} == {store["id"]}
    for wrong in ("test", "nobody~test", "~none", store["id"].swapcase()):
        assert error(kvs.get(f"/{wrong}")) == (404, "record-not-found")


@pytest.mark.parametrize("name", ["a" * 63, "A-b-3", "7"])
def test_names_that_are_allowed(kvs: ApifyApi, name: str) -> None:
    """A name has letters, digits and hyphens inside, 63 at most."""
    assert kvs.create(name)["name"] == name


@pytest.mark.parametrize("name", ["a" * 64, "-a", "a-", "a_b", "a b", "a.b", "ä", "a~b"])
def test_names_that_are_not_allowed(kvs: ApifyApi, name: str) -> None:
    """Other names are refused, for a new store and for one that exists."""
    assert error(kvs.post("", params={"name": name})) == (400, "invalid-input")
    assert error(kvs.put(kvs.at(), json={"name": name})) == (400, "invalid-input")
    assert data(kvs.get(kvs.at()))["name"] == "test"


def test_changes(kvs: ApifyApi) -> None:
    """A change names what it changes; a name that is taken is refused, null takes a name away, and its old name is free."""
    other = kvs.create("other")
    assert error(kvs.put(kvs.at(), json={"name": "OTHER"})) == (409, "record-not-unique")
    changed = data(kvs.put(kvs.at(), json={"title": "T", "generalAccess": "RESTRICTED"}))
    assert (changed["name"], changed["title"], changed["generalAccess"]) == ("test", "T", "RESTRICTED")
    assert data(kvs.put(kvs.at(), json={"name": "TEST"}))["name"] == "TEST"
    unnamed = data(kvs.put(kvs.at(), json={"name": None}))
    assert (unnamed["name"], unnamed["title"]) == (None, "T")
    assert data(kvs.put(f"/{other['id']}", json={"name": "test"}))["name"] == "test"
    for wrong in ({"generalAccess": "NOBODY"}, {"title": 1}, {"name": 1}):
        assert error(kvs.put(kvs.at(), json=wrong)) == (400, "invalid-input")
    for body in ("[]", "{", '"x"'):
        assert error(kvs.put(kvs.at(), content=body)) == (400, "invalid-input")


def test_lists(kvs: ApifyApi) -> None:
    """Stores are listed oldest first or last, in pages, without a name only when asked; `limit=0` is not a limit."""
    ids = [kvs.store, *(kvs.create(f"s{number}")["id"] for number in range(4))]
    unnamed = kvs.create()["id"]

    def listed(**params: Any) -> tuple[list[str], dict[str, Any]]:
        page = data(kvs.get("", params=params))
        return [item["id"] for item in page.pop("items")], page

    whole = {"total": 5, "offset": 0, "limit": 1000, "count": 5, "desc": False, "unnamed": False}
    assert listed() == listed(limit=0) == (ids, whole)
    assert listed(limit=5000)[1]["limit"] == 1000
    assert listed(desc=1)[0] == ids[::-1]
    assert listed(unnamed=1)[0] == [*ids, unnamed]
    assert listed(offset=1, limit=2) == (ids[1:3], whole | {"offset": 1, "limit": 2, "count": 2})
    assert listed(offset=9)[0] == []
    assert listed(ownership="ownedByMe")[0] == ids
    assert listed(ownership="sharedWithMe")[0] == []
    for wrong in ({"limit": "x"}, {"limit": "-1"}, {"offset": "1.5"}, {"ownership": "mine"}):
        assert error(kvs.get("", params=wrong)) == (400, "invalid-input")


def test_a_removed_store_takes_its_records_with_it(kvs: ApifyApi) -> None:
    """What was in a store that is removed does not come back under its name."""
    kvs.set("k")
    assert (kvs.delete(kvs.at()).status_code, kvs.delete(kvs.at()).status_code) == (204, 404)
    kvs.use(kvs.create("test")["id"])
    assert kvs.keys() == []


def test_unnamed_stores_end(kvs: ApifyApi) -> None:
    """A store without a name is gone seven days after it was last written; a named one stays."""
    kvs.set("k")
    unnamed = kvs.create()["id"]
    kvs.control("PUT", "clock", {"advance": "6d23h"})
    kvs.put(f"/{unnamed}/records/k", content="v").raise_for_status()
    kvs.control("PUT", "clock", {"advance": "6d23h"})
    assert data(kvs.get("", params={"unnamed": 1}))["total"] == 2
    kvs.control("PUT", "clock", {"advance": "2h"})
    assert error(kvs.get(f"/{unnamed}/records/k")) == (404, "record-not-found")
    assert data(kvs.get("", params={"unnamed": 1}))["total"] == 1
    kvs.control("PUT", "clock", {"advance": "4000d"})
    assert kvs.keys() == ["k"]


def test_moments_and_counts(kvs: ApifyApi) -> None:
    """Writes move `modifiedAt`, reads `accessedAt`; requests are counted by kind, and the bytes that are stored."""
    kvs.control("PUT", "clock", {"now": "2026-01-01T00:00:00Z", "frozen": True})
    kvs.set("k", "12345")
    kvs.set("l", "123")
    kvs.control("PUT", "clock", {"advance": "1h"})
    kvs.get(kvs.record("k")).raise_for_status()
    kvs.keys()
    kvs.control("PUT", "clock", {"advance": "1h"})
    kvs.delete(kvs.record("l")).raise_for_status()
    store = data(kvs.get(kvs.at()))
    assert (store["modifiedAt"], store["accessedAt"]) == ("2026-01-01T02:00:00.000Z", "2026-01-01T01:00:00.000Z")
    counts = {"readCount": 1, "writeCount": 2, "deleteCount": 1, "listCount": 1}
    assert store["stats"] == counts | {"s3StorageBytes": 5, "storageBytes": 5}


READ = ("", "/keys", "/records", "/records/k")
RULES = [
    # access of the store, opened by id, opened by name
    ("FOLLOW_USER_SETTING", 200, 403),
    ("ANYONE_WITH_ID_CAN_READ", 200, 403),
    ("ANYONE_WITH_NAME_CAN_READ", 200, 200),
    ("RESTRICTED", 403, 403),
]


@pytest.mark.parametrize(("access", "by_id", "by_name"), RULES)
def test_who_may_read(kvs: ApifyApi, apify: Running, access: str, by_id: int, by_name: int) -> None:
    """Others read by id or by name as the store allows, never see its secret, and never write; the owner may do all."""
    kvs.set("k")
    kvs.put(kvs.at(), json={"generalAccess": access}).raise_for_status()
    with ApifyApi(apify, token="APIFY_GUEST_TOKEN") as guest, ApifyApi(apify, token=None) as nobody:
        for path in READ:
            assert guest.get(f"/{kvs.store}{path}").status_code == by_id
            assert nobody.get(f"/{kvs.store}{path}").status_code == by_id
            assert guest.get(f"/kvsync-emulator~test{path}").status_code == by_name
            assert nobody.get(f"/kvsync-emulator~test{path}").status_code == (by_name if by_name == 200 else 401)
            assert kvs.get(f"/{kvs.store}{path}").status_code == 200
        if by_id == 200:
            assert "urlSigningSecretKey" not in data(guest.get(f"/{kvs.store}"))
            assert "signature" not in data(nobody.get(f"/{kvs.store}/keys"))["items"][0]["recordPublicUrl"]
        for path, method in (("", "PUT"), ("", "DELETE"), ("/records/k", "PUT"), ("/records/k", "DELETE")):
            assert guest.request(method, f"/{kvs.store}{path}").status_code == 403
            assert nobody.request(method, f"/{kvs.store}{path}").status_code == 401
    assert kvs.keys() == ["k"]


def test_stores_belong_to_users(kvs: ApifyApi, apify: Running) -> None:
    """Two users may have stores of the same name, and list their own."""
    with ApifyApi(apify, token="APIFY_GUEST_TOKEN") as guest:
        theirs = guest.create("test")
        assert theirs["id"] != kvs.store
        assert data(guest.get("/~test"))["id"] == theirs["id"] == data(guest.get("/kvsync-guest~test"))["id"]
        assert [item["id"] for item in data(guest.get(""))["items"]] == [theirs["id"]]
        assert data(kvs.get("/~test"))["id"] == kvs.store


def test_an_account_may_be_restricted(tmp_path: Path) -> None:
    """Where the account restricts access, a store that follows it is restricted, one with a rule of its own is not."""
    with apify_emulator(switches={"account-access": "restricted"}) as server, ApifyApi(server) as kvs:
        follows, own = kvs.create("follows")["id"], kvs.create("own")["id"]
        kvs.put(f"/{own}", json={"generalAccess": "ANYONE_WITH_ID_CAN_READ"}).raise_for_status()
        with ApifyApi(server, token=None) as nobody:
            assert [nobody.get(f"/{id_}").status_code for id_ in (follows, own)] == [403, 200]


def test_tokens(kvs: ApifyApi, apify: Running) -> None:
    """A token may stand in the header or in the query; one that may only read may not write; a wrong one opens nothing."""
    kvs.set("k")
    token = apify.env["APIFY_TOKEN"]
    with ApifyApi(apify, token=None) as nobody:
        assert nobody.put(f"/{kvs.store}/records/q", params={"token": token}, content="v").status_code == 201
        assert nobody.get("/~test", params={"token": token}).status_code == 200
        assert error(nobody.get("/~test")) == error(nobody.get("")) == (401, "token-not-valid")
        wrong: list[dict[str, Any]] = [
            {"headers": {"Authorization": value}} for value in ("Bearer wrong", "Basic eDp5", "Bearer")
        ]
        for way in (*wrong, {"params": {"token": "wrong"}}):
            assert error(nobody.request("GET", f"/{kvs.store}", **way)) == (401, "token-not-valid")
    with ApifyApi(apify, token="APIFY_READER_TOKEN") as reader:
        found = data(reader.get("/~test"))
        assert "urlSigningSecretKey" not in found
        for method, path in (("POST", ""), ("PUT", f"/{kvs.store}/records/k"), ("DELETE", f"/{kvs.store}")):
            assert error(reader.request(method, path)) == (403, "permission-denied")


def test_anonymous(tmp_path: Path) -> None:
    """With `--anonymous`, who brings no token is the owner of the account; another token is not accepted any better."""
    with apify_emulator(anonymous=True, token="mine") as server, ApifyApi(server, token=None) as kvs:
        kvs.use(kvs.create("test")["id"])
        kvs.set("k")
        assert server.env["APIFY_TOKEN"] == "mine"
        assert kvs.get("", headers={"Authorization": "Bearer apify_api_kvsyncEmulatorToken"}).status_code == 401


def raw(server: Running, method: str, path: str) -> int:
    """Status of a request whose path goes out as it is written."""
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc)
    connection.request(method, path, headers={"Authorization": f"Bearer {server.env['APIFY_TOKEN']}"})
    status = connection.getresponse().status
    connection.close()
    return status


def test_dot_segments_reach_the_store(kvs: ApifyApi, apify: Running) -> None:
    """`DELETE …/records/..` removes the store, whoever resolves it; `%2E%2E` is a key, and refused."""
    kvs.set("k")
    for encoded in ("%2E%2E", "%2e%2E", ".%2E"):
        assert raw(apify, "DELETE", f"/v2/key-value-stores/{kvs.store}/records/{encoded}") == 400
    assert raw(apify, "DELETE", f"/v2/key-value-stores/{kvs.store}/records/.") == 405
    assert raw(apify, "DELETE", f"/v2/key-value-stores/{kvs.store}/records/") == 405
    assert kvs.keys() == ["k"]
    assert raw(apify, "DELETE", f"/v2/key-value-stores/{kvs.store}/records/..") == 204
    assert kvs.get(kvs.at()).status_code == 404
    kvs.use(kvs.create("test")["id"])
    collapsed = kvs.delete(kvs.at("/records/.."))  # httpx resolves it before it sends
    assert (collapsed.request.url.path, collapsed.status_code) == (f"/v2/key-value-stores/{kvs.store}", 204)
    assert kvs.get(kvs.at()).status_code == 404


def test_a_killed_process_loses_nothing_it_answered(tmp_path: Path) -> None:
    """With `--data`, stores and records survive SIGKILL with all that belongs to them; what was removed stays away."""
    with process("--data", str(tmp_path), type_="apify") as (child, ready):
        headers = {"Authorization": f"Bearer {ready['env']['APIFY_TOKEN']}"}
        with httpx.Client(base_url=f"{ready['url']}/v2/key-value-stores", headers=headers) as kvs:
            kvs.post("", params={"name": "gone"}).raise_for_status()
            kvs.put("/~gone/records/k", content="v").raise_for_status()
            kvs.delete("/~gone").raise_for_status()
            kvs.post("", params={"name": "Kept"}).raise_for_status()
            kvs.put("/~kept/records/k", content=b"\xff\x00", headers={"Content-Type": "image/x"}).raise_for_status()
            kvs.put("/~kept/records/l", content="v").raise_for_status()
            kvs.delete("/~kept/records/l").raise_for_status()
            before = data(kvs.put("/~kept", json={"title": "T"}))
        child.kill()
        child.wait(60)
    with process("--data", str(tmp_path), type_="apify") as (_, ready):
        assert set(ready["env"]) >= {"APIFY_TOKEN", "APIFY_CLIENT_BASE_URL"}
        with httpx.Client(base_url=f"{ready['url']}/v2/key-value-stores", headers=headers) as kvs:
            found = data(kvs.get("/~kept"))
            same = MEMBERS - {"keysPublicUrl", "recordsPublicUrl"}  # the port is another
            assert {name: found[name] for name in same} == {name: before[name] for name in same}
            record = kvs.get("/~kept/records/k")
            assert (record.content, record.headers["content-type"]) == (b"\xff\x00", "image/x")
            assert [item["key"] for item in data(kvs.get("/~kept/keys"))["items"]] == ["k"]
            assert kvs.get("/~gone").status_code == 404


@pytest.mark.parametrize(
    "switches", [{"rate": "200"}, {"rate": "fast/60"}, {"largest-record": "9MB"}, {"zip": "fast"}, {"none": "1"}]
)
def test_switches_that_make_no_sense(switches: dict[str, str]) -> None:
    """A switch that is not known, or has a value that makes no sense, is a usage error."""
    with pytest.raises(UsageError, match="switch"), apify_emulator(switches=switches):
        pass
