"""Namespaces, the envelope, and paths that lead nowhere."""

from __future__ import annotations

import re

import httpx
import pytest

from kvsync.emulators.cloudflare import model, namespaces
from kvsync.emulators.server import Running
from tests.emulators.conftest import kv_emulator
from tests.emulators.kv_api import KvApi, error, ok

UNKNOWN = "f" * 32


def test_it_starts_with_no_namespace(cloudflare: Running) -> None:
    """Nothing is there before someone made it, and the list says so in the envelope."""
    with KvApi(cloudflare) as http:
        info = {"page": 1, "per_page": 20, "count": 0, "total_count": 0, "total_pages": 0}
        assert http.get(http.all).json() == {
            "success": True,
            "errors": [],
            "messages": [],
            "result": [],
            "result_info": info,
        }


def test_a_namespace_from_birth_to_end(kv: KvApi) -> None:
    """It has an id of 32 hex digits, is found, renamed and removed with all that it holds, and then is gone for everybody."""
    made = ok(kv.post(kv.all, json={"title": "My Own", "jurisdiction": "eu"}))
    assert re.fullmatch("[0-9a-f]{32}", made["id"])
    assert made == {"id": made["id"], "title": "My Own", "supports_url_encoding": True, "jurisdiction": "eu"}
    kv.use(made["id"])
    assert ok(kv.get(kv.at())) == made
    assert ok(kv.get(kv.all + "/" + kv.namespace.upper())) == made
    assert ok(kv.put(kv.at(), json={"title": "My Own"})) == made
    assert ok(kv.put(kv.at(), json={"title": "Renamed"})) == made | {"title": "Renamed"}
    kv.write(k="v")
    assert ok(kv.delete(kv.at())) == {}
    assert error(kv.get(kv.at())) == (404, 10013, "get namespace: 'namespace not found'")
    kv.use(kv.create("Renamed"))
    assert kv.keys() == []


def test_a_client_finds_its_account(kv: KvApi) -> None:
    """The user, the accounts and the memberships lead a client that knows only its token to the one account."""
    assert ok(kv.get("/user"))["email"] == "emulator@example.com"
    for path in ("/accounts?page=1", "/memberships?page=1"):
        (found,) = ok(kv.get(path))
        assert (found.get("account") or found)["id"] == kv.account
        assert kv.get(path).json()["result_info"]["total_pages"] == 1
    assert ok(kv.get(f"/accounts/{kv.account}"))["id"] == kv.account
    assert error(kv.get(f"/accounts/{UNKNOWN}")) == (403, 10000, "Authentication error")
    with httpx.Client(base_url=str(kv.base_url)) as stranger:
        assert stranger.get("memberships").status_code == 401


def test_titles_are_unique(kv: KvApi) -> None:
    """A title that is taken is refused with 10014 on creating and on renaming; a missing one with 10019."""
    taken = "a namespace with this account ID and title already exists"
    assert error(kv.post(kv.all, json={"title": "test"})) == (400, 10014, f"create namespace: '{taken}'")
    other = kv.create("other")
    assert error(kv.put(f"{kv.all}/{other}", json={"title": "test"})) == (400, 10014, f"rename namespace: '{taken}'")
    for body in (b"{}", b'{"title": ""}', b'{"title": 1}', b"[]", b"not JSON", b""):
        assert error(kv.post(kv.all, content=body)) == (400, 10019, "request is missing a title definition")
    assert error(kv.post(kv.all, json={"title": "x" * 513}))[0] == 400
    assert error(kv.post(kv.all, json={"title": "x", "jurisdiction": "mars"}))[0] == 400


def test_pages_of_namespaces(kv: KvApi) -> None:
    """They are ordered by id or title, up or down, in pages; a page past the end is empty, and wrong requests are refused."""
    for number in range(44):
        kv.create(f"n{number:02}")

    def page(**params: str | int) -> list[str]:
        return [item["title"] for item in ok(kv.get(kv.all, params=params))]

    titles = [f"n{number:02}" for number in range(44)] + ["test"]
    assert page(order="title", per_page=100) == titles
    assert page(order="title", direction="desc", per_page=10, page=2) == titles[::-1][10:20]
    assert page(order="title", page=3) == titles[40:]
    assert page(order="title", page=4) == []
    ids = [item["id"] for item in ok(kv.get(kv.all, params={"per_page": 100}))]
    assert ids == sorted(ids)
    info = kv.get(kv.all, params={"page": 3}).json()["result_info"]
    assert info == {"page": 3, "per_page": 20, "count": 5, "total_count": 45, "total_pages": 3}
    for wrong in ({"page": "0"}, {"page": "x"}, {"per_page": "1001"}, {"order": "size"}, {"direction": "left"}):
        assert error(kv.get(kv.all, params=wrong))[0] == 400


def test_an_account_has_at_most_1000_namespaces(kv: KvApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thousand and first is refused."""
    assert model.MOST_NAMESPACES == 1_000
    monkeypatch.setattr(namespaces, "MOST_NAMESPACES", 3)
    for number in range(2):
        kv.create(str(number))
    assert error(kv.post(kv.all, json={"title": "one more"}))[0] == 400


@pytest.mark.parametrize(
    ("method", "path", "operation"),
    [
        ("GET", "", "get namespace"),
        ("PUT", "", "rename namespace"),
        ("DELETE", "", "remove namespace"),
        ("GET", "/keys", "list keys"),
        ("GET", "/values/k", "get"),
        ("GET", "/metadata/k", "get"),
        ("PUT", "/values/k", "put"),
        ("DELETE", "/values/k", "remove key"),
        ("PUT", "/bulk", "bulk put"),
        ("DELETE", "/bulk", "bulk remove keys"),
        ("POST", "/bulk/delete", "bulk remove keys"),
        ("POST", "/bulk/get", "bulk get keys"),
    ],
)
def test_a_missing_namespace_is_not_a_missing_key(kv: KvApi, method: str, path: str, operation: str) -> None:
    """Every operation in a namespace that is not there says 10013 and its own name; an id that is none says 10011."""
    kv.use(UNKNOWN)
    assert error(kv.request(method, kv.at(path))) == (404, 10013, f"{operation}: 'namespace not found'")
    kv.use("test")
    status, code, message = error(kv.request(method, kv.at(path)))
    assert (status, code) == (400, 10011)
    assert message.startswith("could not parse UUID from request's namespace_id: ")


def test_paths_that_lead_nowhere(kv: KvApi) -> None:
    """Unknown paths and methods, and malformed and foreign accounts, are answered in the envelope."""
    lost = [f"{kv.all}/", kv.at("/values/"), kv.at("/values/a/b"), kv.at("/nothing"), "/zones", "/"]
    for path in lost:
        answer = kv.get(path)
        document = answer.json()
        assert answer.status_code == 404
        assert [item["code"] for item in document["errors"]] == [7003, 7000]
        assert (document["success"], document["result"]) == (False, None)
    assert kv.get(f"{str(kv.base_url).split('/client')[0]}/other").json()["success"] is False
    malformed = kv.get("/accounts/mine/storage/kv/namespaces")
    assert (malformed.status_code, malformed.json()["errors"][0]["code"]) == (400, 7003)
    assert error(kv.get(kv.all.replace(kv.account, UNKNOWN))) == (403, 10000, "Authentication error")
    assert error(kv.patch(kv.at("/keys"))) == (405, 7001, "PATCH not supported for requested URI.")
    assert error(kv.delete(kv.all))[:2] == (405, 7001)


def test_tokens_can_be_verified(kv: KvApi) -> None:
    """A token that is asked about itself is active."""
    for path in ("/user/tokens/verify", f"/accounts/{kv.account}/tokens/verify"):
        assert ok(kv.get(path))["status"] == "active"


def test_the_url_is_the_root_of_the_api() -> None:
    """`url` ends with the version, and `env` holds what wrangler, the SDK and kvsync read; `--token` chooses the token."""
    with kv_emulator(token="chosen") as server, KvApi(server) as http:
        assert server.url.endswith("/client/v4")
        assert server.env["CLOUDFLARE_API_BASE_URL"] == server.env["CLOUDFLARE_BASE_URL"] == server.url
        assert server.env["CLOUDFLARE_API_TOKEN"] == "chosen"
        assert re.fullmatch("[0-9a-f]{32}", server.env["CLOUDFLARE_ACCOUNT_ID"])
        assert ok(http.get(http.all)) == []
        assert http.get("/_emulator/stats").json() == http.control("GET", "stats")
