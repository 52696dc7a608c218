"""Azure App Configuration: one key-value, its conditions, its lock, its limits."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from kvsync.emulators.server import Running
from tests.emulators.conftest import Http, in_loop

KV = "application/vnd.microsoft.appconfig.kv+json; charset=utf-8"


def test_a_key_value_comes_back_as_it_was_put(http: Http) -> None:
    """PUT answers with the stored key-value, GET with the same, and both carry ETag, Last-Modified and Sync-Token."""
    body = {"value": "héllo", "content_type": "text/plain", "tags": {"env": "prod", "none": None}}
    put = http.put("/kv/app%2Fgreeting", params={"label": "prod"}, json=body)
    got = http.get("/kv/app%2Fgreeting", params={"label": "prod"})
    assert got.json() == put.json()
    assert got.json() | body == got.json()
    assert (got.json()["key"], got.json()["label"], got.json()["locked"]) == ("app/greeting", "prod", False)
    for answer in (put, got):
        assert answer.headers["Content-Type"] == KV
        assert answer.headers["ETag"] == f'"{answer.json()["etag"]}"'
        assert answer.headers["Last-Modified"].endswith(" GMT")
        assert answer.headers["Sync-Token"].partition(";sn=")[2] == "1"
        assert answer.headers["x-ms-request-id"] == answer.headers["x-ms-correlation-request-id"]
        assert len(answer.json()["etag"]) == 43


def test_the_null_label_is_a_label_of_its_own(http: Http) -> None:
    """A key without a label, also written as NUL, is another key-value than the same key with one."""
    http.set("k", "bare")
    http.set("k", "labelled", label="prod")
    assert http.get("/kv/k").json()["value"] == "bare"
    assert http.get("/kv/k?label=%00").json()["label"] is None
    assert http.get("/kv/k", params={"label": "prod"}).json()["value"] == "labelled"
    assert http.get("/kv/k", params={"label": "dev"}).status_code == 404


def test_put_replaces_the_whole(http: Http) -> None:
    """Members that a PUT leaves out become null or empty; read-only members that are sent back are ignored."""
    http.set("k", "v", content_type="text/plain", tags={"a": "b"})
    found = http.set("k", "w", etag="mine", key="other", locked=True, last_modified="yesterday")
    assert (found["content_type"], found["tags"], found["key"], found["locked"]) == (None, {}, "k", False)


def test_an_equal_put_changes_nothing(http: Http) -> None:
    """A PUT of what is stored keeps the etag and adds no revision; one that differs in a tag makes a new etag."""
    first = http.set("k", "v", tags={"a": "1"})
    assert http.set("k", "v", tags={"a": "1"})["etag"] == first["etag"]
    assert http.set("k", "v", tags={"a": "2"})["etag"] != first["etag"]
    assert len(http.get("/revisions").json()["items"]) == 2


def test_delete_gives_back_what_it_deleted(http: Http) -> None:
    """DELETE answers 200 with the key-value, and 204 without a body when there is none."""
    stored = http.set("k")
    assert http.delete("/kv/k").json() == stored
    again = http.delete("/kv/k")
    assert (again.status_code, again.content, again.headers["Content-Type"]) == (204, b"", KV)


# What a condition says to each method: when the key is missing, and when it is there.
CONDITIONS = [
    ({"If-Match": '"{etag}"'}, (404, 412, 412), (200, 200, 200)),
    ({"If-Match": "{etag}"}, (404, 200, 204), (200, 200, 200)),
    ({"If-Match": "another"}, (404, 200, 204), (200, 200, 200)),
    ({"If-None-Match": "{etag}"}, (404, 200, 204), (200, 200, 200)),
    ({"If-Match": 'W/"{etag}"'}, (404, 412, 412), (200, 200, 200)),
    ({"If-Match": '"another"'}, (404, 412, 412), (412, 412, 412)),
    ({"If-Match": "*"}, (404, 412, 412), (200, 200, 200)),
    ({"If-Match": '"*"'}, (404, 412, 412), (200, 200, 200)),
    ({"If-None-Match": "*"}, (404, 200, 204), (304, 412, 412)),
    ({"If-None-Match": '"{etag}"'}, (404, 200, 204), (304, 412, 412)),
    ({"If-None-Match": '"another"'}, (404, 200, 204), (200, 200, 200)),
]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize(("headers", "missing", "present"), CONDITIONS, ids=[str(row[0]) for row in CONDITIONS])
def test_conditions(
    http: Http, method: str, headers: dict[str, str], missing: tuple[int, ...], present: tuple[int, ...]
) -> None:
    """If-Match and If-None-Match decide as documented, weak or strong, and refuse with an empty body. Text without quotes
    is not an entity tag, and decides nothing."""
    at = ("GET", "PUT", "DELETE").index(method)
    body = {"json": {"value": "new"}} if method == "PUT" else {}
    absent = http.request(method, "/kv/k", headers={k: v.format(etag="x") for k, v in headers.items()}, **body)  # type: ignore[arg-type]
    assert absent.status_code == missing[at]
    http.delete("/kv/k")
    etag = http.set("k", "old")["etag"]
    answer = http.request(method, "/kv/k", headers={k: v.format(etag=etag) for k, v in headers.items()}, **body)  # type: ignore[arg-type]
    assert answer.status_code == present[at]
    if answer.status_code in (304, 412):
        assert answer.content == b""
        assert "Last-Modified" not in answer.headers
        assert http.get("/kv/k").json()["etag"] == etag


def test_head_is_get_without_a_body(http: Http) -> None:
    """HEAD answers with the headers of GET."""
    etag = http.set("k")["etag"]
    answer = http.head("/kv/k")
    assert (answer.status_code, answer.headers["ETag"], answer.content) == (200, f'"{etag}"', b"")


def test_select_limits_the_fields(http: Http) -> None:
    """`$Select`, in any case, limits the fields; empty and `*` are all of them."""
    http.set("k")
    assert set(http.get("/kv/k?$Select=key,label,ETag").json()) == {"key", "label", "etag"}
    assert set(http.get("/kv/k?%24select=value").json()) == {"value"}
    assert set(http.get("/kv?$select=key").json()["items"][0]) == {"key"}
    assert len(http.get("/kv/k?$select=").json()) == len(http.get("/kv/k?$select=*").json()) == 9


def test_a_locked_key_value_refuses_changes(http: Http) -> None:
    """A lock changes the etag once, PUT and DELETE then answer 409 with the service's own words, and unlocking ends it."""
    before = http.set("k")["etag"]
    locked = http.put("/locks/k").json()
    assert locked["locked"] is True
    assert locked["etag"] != before
    assert http.put("/locks/k").json()["etag"] == locked["etag"]
    for refused in (http.put("/kv/k", json={"value": "w"}), http.delete("/kv/k")):
        assert list(refused.json()) == ["type", "title", "name", "detail", "status"]
        assert refused.text.startswith('{"type":"https://azconfig.io/errors/key-locked","title":"Modif')
        assert refused.status_code == 409
        assert refused.headers["Content-Type"] == "application/problem+json; charset=utf-8"
        assert refused.json() == {
            "type": "https://azconfig.io/errors/key-locked",
            "title": "Modifing key 'k' is not allowed",
            "name": "k",
            "detail": "The key is read-only. To allow modification unlock it first.",
            "status": 409,
        }
    assert http.delete("/locks/k").json()["locked"] is False
    http.set("k", "w")


def test_the_precondition_is_checked_before_the_lock(http: Http) -> None:
    """A write with a stale etag to a locked key-value answers 412, one with the right etag 409."""
    http.set("k")
    etag = http.put("/locks/k").json()["etag"]
    assert http.put("/kv/k", json={}, headers={"If-Match": '"stale"'}).status_code == 412
    assert http.put("/kv/k", json={}, headers={"If-Match": f'"{etag}"'}).status_code == 409


def test_locks_keep_conditions(http: Http) -> None:
    """Locking answers 404 without a key-value, and 412 when the condition fails."""
    assert http.put("/locks/k").status_code == 404
    http.set("k")
    assert http.put("/locks/k", headers={"If-Match": '"stale"'}).status_code == 412
    assert http.get("/locks/k").status_code == 405


AWKWARD = ["a/b", "a//b", "a:b", "a*b", "a,b", "a\\b", "a#b", "a?b=c&d", "ключ/é", "emoji🎉", "sp ace", "pl+us", "..."]


@pytest.mark.parametrize("key", AWKWARD)
def test_awkward_keys(http: Http, key: str) -> None:
    """Every legal key can be written, read, listed by an escaped filter and deleted, and is stored character by character."""
    segment = "".join(f"%{byte:02X}" for byte in key.encode())
    http.set(segment, "found")
    assert http.get(f"/kv/{segment}").json()["key"] == key
    escaped = "".join(f"\\{character}" if character in "*,\\" else character for character in key)
    assert http.keys(key=escaped) == [key]
    assert http.delete(f"/kv/{segment}").status_code == 200


def test_slashes_need_no_escape(http: Http) -> None:
    """A raw `/` in the path is part of the key, as the JS SDK sends it."""
    http.set("a%2Fb", "v")
    assert http.get("/kv/a/b").json()["value"] == "v"


@pytest.mark.parametrize("segment", ["a%25b", "%2E", "%2e%2e", "a%0Ab", "a%zz", "%FF"])
def test_refused_keys(http: Http, segment: str) -> None:
    """`%`, dot segments, control characters and what is not UTF-8 are refused."""
    assert http.put(f"/kv/{segment}", json={"value": ""}).status_code == 400


@pytest.mark.parametrize(
    ("key", "label", "body", "name"),
    [
        ("k", "l" * 257, {}, "label"),
        ("k", "l\n", {}, "label"),
        ("k", None, {"tags": {"t" * 257: ""}}, "tags[" + "t" * 256 + "].key"),
        ("k", None, {"tags": {"t": "v" * 257}}, "tags[t].value"),
        ("k", None, {"tags": {"t": 1}}, "tags[t].value"),
        ("k", None, {"tags": []}, "tags"),
        ("k", None, {"value": 30}, "value"),
        ("k", None, {"content_type": "a\x01b"}, "content_type"),
    ],
)
def test_invalid_arguments(http: Http, key: str, label: str | None, body: dict[str, Any], name: str) -> None:
    """What is too long, of the wrong type or has control characters is refused with a problem that names it."""
    answer = http.put(f"/kv/{key}", params={"label": label} if label else None, json=body)
    problem = {"type": "https://azconfig.io/errors/invalid-argument", "title": f"Invalid request parameter '{name}'"}
    assert answer.status_code == 400
    assert answer.json() == problem | {"name": name, "detail": "", "status": 400}


def test_bodies(http: Http) -> None:
    """A body must be a JSON object and say so; both media types of the SDKs are taken."""
    for media in ("application/json", "application/vnd.microsoft.appconfig.kv+json;charset=utf-8"):
        assert http.put("/kv/k", content=b'{"value": "v"}', headers={"Content-Type": media}).status_code == 200
    assert http.put("/kv/k", content=b"{}", headers={"Content-Type": "text/plain"}).status_code == 415
    for content in (b"", b"{", b"[]", b"\xff", b"[" * 100_000, b'{"tags": {"\\ud800": "half a character"}}'):
        assert http.put("/kv/k", content=content).status_code == 400


def test_long_keys(http: Http) -> None:
    """A key may be as long as the limit of a key-value as a whole lets it be."""
    key = "k" * 5_000
    assert http.set(key)["key"] == key
    assert http.delete(f"/kv/{key}x").status_code == 204
    assert http.put(f"/kv/{'k' * 10_240}", json={"value": "v"}).status_code == 413


def test_descriptions(http: Http) -> None:
    """A description is kept and shown from version 2026-04-01 on; a PUT without one clears it, also in an older version."""
    assert http.set("k", "v", description="why")["description"] == "why"
    assert http.get("/kv").json()["items"][0]["description"] == "why"
    assert "description" not in http.get("/kv/k?api-version=2024-09-01").json()
    assert http.set("k", "v")["description"] is None
    http.set("k", "v", description="why")
    http.put("/kv/k?api-version=2024-09-01", json={"value": "v", "description": "old"}).raise_for_status()
    assert http.get("/kv/k").json()["description"] is None


def test_pages_in_a_browser_may_read_answers(azure: Running, http: Http) -> None:
    """Every answer carries the headers of the service for pages; a preflight is answered without a credential or a version."""
    for answer in (http.get("/kv/k"), http.get("/kv"), http.put("/kv/k", json=[])):
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert "Sync-Token" in answer.headers["Access-Control-Expose-Headers"]
    with Http(azure, version=None) as client:
        wanted = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "authorization,x-ms-date"}
        answer = client.options("/kv/k", headers={"Origin": "http://localhost:3000"} | wanted)
    assert answer.status_code == 204
    assert answer.headers["Access-Control-Allow-Headers"] == "authorization,x-ms-date"
    assert "PUT" in answer.headers["Access-Control-Allow-Methods"]


def test_ten_kilobytes_are_the_limit(http: Http) -> None:
    """All attributes together may have 10,240 bytes, and not one more."""
    http.set("key", "é" * 5_118 + "x")
    assert http.put("/kv/key", json={"value": "é" * 5_119}).status_code == 413


@pytest.mark.parametrize(
    ("query", "title", "detail"),
    [
        ("", "API version is not specified", "An API version is required, but was not specified."),
        ("?api-version=2020-01-01", "Unsupported API version", "/kv' does not support the API version '2020-01-01'."),
        ("?api-version=new", "Invalid API version", "/kv' does not support the API version 'new'."),
        (
            "?api-version=1.0&API-Version=2023-10-01",
            "Ambiguous API version",
            "versions were requested: 1.0, 2023-10-01.",
        ),
    ],
)
def test_the_api_version_is_required(azure: Running, query: str, title: str, detail: str) -> None:
    """A missing, unknown, malformed or repeated api-version is a problem with that name."""
    with Http(azure, version=None) as http:
        answer = http.get(f"/kv{query}")
    assert (answer.status_code, answer.json()["title"], answer.json()["name"]) == (400, title, "api-version")
    assert detail in answer.json()["detail"]


def test_wrong_verbs_and_paths(http: Http) -> None:
    """A verb that a resource does not have is 405 and says which it has; a path that leads nowhere is 404."""
    for method, path in (("POST", "/kv/k"), ("PATCH", "/kv/k"), ("PUT", "/kv"), ("DELETE", "/revisions")):
        answer = http.request(method, path)
        assert answer.status_code == 405
        assert "Allow" in answer.headers
    assert http.get("/nothing").status_code == 404


async def test_two_writers_never_both_win() -> None:
    """Of many writers that hold the same etag at the same time, exactly one succeeds, every time."""
    async with in_loop(anonymous=True) as server, httpx.AsyncClient(base_url=server.url, verify=False) as client:
        url = "/kv/counter?api-version=1.0"
        etag = (await client.put(url, json={"value": "0"})).json()["etag"]
        for step in range(5):
            headers = {"If-Match": f'"{etag}"'}
            writes = (client.put(url, json={"value": f"{step}/{n}"}, headers=headers) for n in range(8))
            answers = await asyncio.gather(*writes)
            assert sorted(answer.status_code for answer in answers) == [200] + [412] * 7
            etag = (await client.get(url)).json()["etag"]
        created = await asyncio.gather(
            *(
                client.put("/kv/new?api-version=1.0", json={"value": str(n)}, headers={"If-None-Match": "*"})
                for n in range(8)
            )
        )
        assert sorted(answer.status_code for answer in created) == [200] + [412] * 7
