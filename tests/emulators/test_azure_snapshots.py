"""Azure App Configuration: snapshots."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from tests.emulators.conftest import Http, azure_emulator


@pytest.fixture
def shop(http: Http) -> Http:
    """Keys a and b, with and without the label prod."""
    http.set("a", "1")
    http.set("a", "2", label="prod", tags={"team": "web"})
    http.set("b", "3", label="prod")
    http.set("b", "4")
    return http


def create(http: Http, name: str = "s", **body: Any) -> httpx.Response:
    """PUT a snapshot; of everything without a label, unless asked otherwise."""
    return http.put(f"/snapshots/{name}", json={"filters": [{"key": "*"}]} | body)


def content(http: Http, name: str = "s") -> str:
    """The values in a snapshot."""
    return "".join(item["value"] for page in http.pages("/kv", snapshot=name) for item in page["items"])


def test_a_snapshot_is_provisioned_and_then_ready(shop: Http) -> None:
    """Creating answers 201 while provisioning, and names the operation; polling that tells when it is ready."""
    made = create(shop, tags={"why": "release"}, retention_period=3600)
    assert (made.status_code, made.json()["status"], made.json()["composition_type"]) == (201, "provisioning", "key")
    assert made.headers["Content-Type"] == "application/vnd.microsoft.appconfig.snapshot+json; charset=utf-8"
    operation = shop.get(made.headers["Operation-Location"]).json()
    assert (operation["status"], operation["error"]) == ("Succeeded", None)
    found = shop.get("/snapshots/s")
    assert found.headers["ETag"] == f'"{made.json()["etag"]}"'
    assert found.headers["Link"] == '</kv?snapshot=s&api-version=2026-04-01>; rel="items"'
    known = {"name": "s", "status": "ready", "items_count": 2, "retention_period": 3600, "tags": {"why": "release"}}
    assert found.json() | known == found.json()
    assert list(found.json()) == [
        *("etag", "name", "status", "filters", "composition_type", "created"),
        *("size", "items_count", "tags", "retention_period"),
    ]
    assert found.json()["filters"] == [{"key": "*"}]
    assert found.json()["size"] == 1000
    assert shop.get("/snapshots/s?$select=name,size").json() == {"name": "s", "size": found.json()["size"]}
    unchanged = shop.get("/snapshots/s", headers={"If-None-Match": found.headers["ETag"]})
    assert (unchanged.status_code, unchanged.content, "Last-Modified" in unchanged.headers) == (304, b"", False)


def test_provisioning_takes_as_long_as_it_is_told_to() -> None:
    """While a snapshot is provisioned it has no content, cannot be archived, and its operation is running."""
    with azure_emulator(anonymous=True, switches={"provisioning": "1h"}) as server, Http(server) as http:
        http.set("a", "1")
        place = create(http).headers["Operation-Location"]
        running = http.get(place)
        assert (running.json()["status"], running.headers["Retry-After"]) == ("Running", "10")
        assert content(http) == ""
        refused = http.patch("/snapshots/s", json={"status": "archived"})
        assert (refused.status_code, refused.json()["type"]) == (409, "https://azconfig.io/errors/invalid-state")
        http.control("PUT", "clock", {"advance": "1h"})
        assert http.get(place).json()["status"] == "Succeeded"
        assert content(http) == "1"


def test_the_content_never_changes(shop: Http) -> None:
    """A snapshot keeps what was there when it was made; an unknown one is an empty list."""
    create(shop)
    shop.set("a", "new")
    shop.delete("/kv/b")
    assert content(shop) == "14"
    assert content(shop, "unknown") == ""
    etag = shop.get("/kv?snapshot=s").headers["ETag"]
    assert shop.get("/kv?snapshot=s", headers={"If-None-Match": etag}).status_code == 304


def test_a_large_snapshot_has_pages(http: Http) -> None:
    """The content of a snapshot is paged as a list is."""
    for number in range(130):
        http.set(f"k{number:03}", "x")
    create(http)
    assert [len(page["items"]) for page in http.pages("/kv", snapshot="s")] == [100, 30]
    assert content(http) == "x" * 130


@pytest.mark.parametrize(
    ("composition", "filters", "values"),
    [
        ("key", [{"key": "*"}, {"key": "*", "label": "prod"}], "23"),
        ("key", [{"key": "*", "label": "prod"}, {"key": "*"}], "14"),
        ("key_label", [{"key": "*", "label": "*"}], "1243"),
        ("key_label", [{"key": "*", "label": "\0,prod", "tags": ["team=web"]}], "2"),
    ],
)
def test_composition(shop: Http, composition: str, filters: list[Any], values: str) -> None:
    """With `key` there is one key-value a key and later filters win, with `key_label` all that any filter matches."""
    create(shop, composition_type=composition, filters=filters)
    assert content(shop) == values


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ({"filters": []}, "filters"),
        ({"filters": [{"key": "*"}] * 4}, "filters"),
        ({"filters": [{}]}, "filters[0].key"),
        ({"filters": [{"key": "*", "label": "a*"}]}, "filters[0].label"),
        ({"filters": [{"key": "*", "label": "a,b"}]}, "filters[0].label"),
        ({"filters": [{"key": "*"}, {"key": "*", "tags": ["x"]}]}, "filters[1].tags"),
        ({"composition_type": "all"}, "composition_type"),
        ({"retention_period": 3599}, "retention_period"),
        ({"retention_period": 90 * 86400 + 1}, "retention_period"),
        ({"tags": {"a": 1}}, "tags[a].value"),
    ],
)
def test_wrong_snapshots(http: Http, body: dict[str, Any], name: str) -> None:
    """A snapshot that makes no sense is refused with a problem that names the member."""
    answer = create(http, **body)
    assert (answer.status_code, answer.json()["name"]) == (400, name)


def test_a_name_is_used_once(shop: Http) -> None:
    """A second snapshot of the same name is refused."""
    create(shop)
    again = create(shop)
    assert again.status_code == 409
    title = "The resource already exists."
    assert (
        again.text
        == f'{{"type":"https://azconfig.io/errors/already-exists","title":"{title}","status":409,"detail":""}}'
    )
    assert shop.put("/snapshots/s", json={"filters": [{"key": "*"}]}, headers={"If-None-Match": "*"}).status_code == 412


def test_archive_recover_and_expire(shop: Http) -> None:
    """An archived snapshot expires when its retention ends, unless it is recovered; conditions are kept."""
    made = create(shop, retention_period=3600)
    etag = made.json()["etag"]
    shop.control("PUT", "clock", {"advance": "1m"})
    archive = {"json": {"status": "archived"}}
    assert shop.patch("/snapshots/s", headers={"If-Match": '"stale"'}, **archive).status_code == 412  # type: ignore[arg-type]
    answer = shop.patch("/snapshots/s", headers={"If-Match": f'"{etag}"'}, **archive)  # type: ignore[arg-type]
    assert answer.headers["Last-Modified"] == made.headers["Last-Modified"]
    archived = answer.json()
    assert archived["status"] == "archived"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}\+00:00", archived["expires"])
    assert archived["etag"] != etag
    assert content(shop) == "14"
    assert "expires" not in shop.patch("/snapshots/s", json={"status": "ready"}).raise_for_status().json()
    shop.control("PUT", "clock", {"advance": "2h"})
    assert shop.get("/snapshots/s").json()["status"] == "ready"
    shop.patch("/snapshots/s", **archive)  # type: ignore[arg-type]
    shop.control("PUT", "clock", {"advance": "2h"})
    assert shop.get("/snapshots/s").status_code == 404
    assert content(shop) == ""
    assert shop.patch("/snapshots/s", json={"status": "failed"}).status_code == 400


def test_lists_of_snapshots(shop: Http) -> None:
    """Snapshots are listed by name, filtered by name and status."""
    for name in ("b", "a1", "a2"):
        create(shop, name)
    shop.patch("/snapshots/a2", json={"status": "archived"})

    def names(query: str) -> list[str]:
        return [item["name"] for item in shop.get(f"/snapshots?{query}").json()["items"]]

    assert names("") == ["a1", "a2", "b"]
    assert names("name=a*") == ["a1", "a2"]
    assert names("status=ready") == ["a1", "b"]
    assert names("status=archived,ready") == names("status=*") == ["a1", "a2", "b"]
    assert shop.get("/snapshots?status=new").status_code == 400


def test_snapshots_need_a_version_that_knows_them(http: Http) -> None:
    """Version 1.0 has no snapshots."""
    answer = http.get("/snapshots?api-version=1.0")
    assert (answer.status_code, answer.json()["name"]) == (400, "api-version")
    assert http.get("/snapshots/none").status_code == 404
