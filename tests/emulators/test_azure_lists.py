"""Azure App Configuration: lists, filters, pages and their etags, revisions, and states of the past."""

from __future__ import annotations

import pytest

from tests.emulators.conftest import Http


@pytest.fixture
def shop(http: Http) -> Http:
    """A few key-values with and without labels and tags."""
    http.set("app%2Fa", "1")
    http.set("app%2Fa", "2", label="prod", tags={"team": "web", "tier": ""})
    http.set("app%2Fb", "3", label="dev", tags={"team": "web", "none": None})
    http.set("other", "4", label="prod", tags={"a=b": "c,d"})
    http.set("star*,\\", "5")
    return http


@pytest.mark.parametrize(
    ("key", "label", "values"),
    [
        (None, None, "12345"),
        ("*", "*", "12345"),
        ("app/*", None, "123"),
        ("app/a", None, "12"),
        ("app/a,other", None, "124"),
        (None, "\0", "15"),
        (None, "prod", "24"),
        (None, "\0,prod", "1245"),
        (None, "d*", "3"),
        ("app/*", "prod", "2"),
        ("star\\*\\,\\\\", None, "5"),
        ("star\\**", None, "5"),
        ("st\\ar*", None, "5"),
        ("*thing", None, "12345"),
        ("App/a", None, ""),
    ],
)
def test_filters(shop: Http, key: str | None, label: str | None, values: str) -> None:
    """Keys and labels are filtered by equality, prefix, up to five values, and the null label; case counts."""
    asked = {name: text for name, text in (("key", key), ("label", label)) if text is not None}
    assert "".join(item["value"] for page in shop.pages("/kv", **asked) for item in page["items"]) == values


@pytest.mark.parametrize(
    ("tags", "values"),
    [
        (["team=web"], "23"),
        (["team=web", "tier="], "2"),
        (["none=\0"], "3"),
        (["a\\=b=c\\,d"], "4"),
        (["team=We"], ""),
        (["absent="], ""),
    ],
)
def test_tag_filters(shop: Http, tags: list[str], values: str) -> None:
    """Tags are filtered by exact value, empty and null among them, and several filters must all hold."""
    assert "".join(item["value"] for item in shop.get("/kv", params={"tags": tags}).json()["items"]) == values


def test_tags_need_a_version_that_knows_them(shop: Http) -> None:
    """Older versions ignore the tag filter: on lists before 2023-11-01, on a single key-value before 2024-09-01."""
    assert len(shop.get("/kv?api-version=2023-10-01&tags=team=web").json()["items"]) == 5
    assert len(shop.get("/kv?api-version=2023-11-01&tags=team=web").json()["items"]) == 2
    assert shop.get("/kv/other?label=prod&tags=team=web&api-version=2023-11-01").status_code == 200
    assert shop.get("/kv/other?label=prod&tags=team=web&api-version=2024-09-01").status_code == 404


@pytest.mark.parametrize(
    ("name", "text", "detail"),
    [
        ("key", "a*b", "key(1): Invalid character"),
        ("key", "abc\\", "key(3): Invalid character"),
        ("key", "abc,x*", "key(5): Invalid character"),
        ("label", "a,b,c,d,e,f", "Too many values. Maximum supported is 5"),
        ("tags", "team", "Invalid tag filter"),
        ("tags", "a=b=c", "Invalid tag filter with multiple '=' separators."),
        ("tags", "=b", "Invalid tag filter with null or empty tag name."),
    ],
)
def test_wrong_filters(http: Http, name: str, text: str, detail: str) -> None:
    """A filter that makes no sense is a problem that names the parameter and what is wrong with it."""
    answer = http.get("/kv", params={name: text})
    assert (answer.status_code, answer.json()["name"], answer.json()["detail"]) == (400, name, detail)


def test_a_wrong_name_of_labels(http: Http) -> None:
    """The filter of labels is called `label` in problems, and nothing follows the members of the service."""
    answer = http.get("/labels?name=test'@*$!%25")
    assert answer.json() == {
        "type": "https://azconfig.io/errors/invalid-argument",
        "title": "Invalid request parameter 'label'",
        "name": "label",
        "detail": "label(6): Invalid character",
        "status": 400,
    }


def test_six_tag_filters_are_too_many(http: Http) -> None:
    """A request may have five tag filters."""
    assert http.get("/kv", params={"tags": ["a=b"] * 5}).status_code == 200
    assert http.get("/kv", params={"tags": ["a=b"] * 6}).status_code == 400


def fill(http: Http, count: int) -> None:
    """Make keys k000, k001, …"""
    for number in range(count):
        http.set(f"k{number:03}")


def test_pages(http: Http) -> None:
    """A page has 100 items and links to the next in header and body, with all filters; a full one links on to an empty one."""
    fill(http, 200)
    http.set("other")
    pages = http.pages("/kv", key="k*", **{"$select": "key"})
    assert [len(page["items"]) for page in pages] == [100, 100, 0]
    assert [item for page in pages for item in page["items"]] == [{"key": f"k{number:03}"} for number in range(200)]
    first = http.get("/kv?key=k*")
    assert first.headers["Link"] == f'<{first.json()["@nextLink"]}>; rel="next"'
    assert first.headers["Content-Type"] == "application/vnd.microsoft.appconfig.kvset+json; charset=utf-8"
    assert "@nextLink" not in pages[2]


def test_page_etags(http: Http) -> None:
    """An unchanged page answers 304 with its link and without a body; a changed one answers 200, and the others stay 304."""
    fill(http, 150)
    first = http.get("/kv")
    second = http.get(first.json()["@nextLink"])
    etags = [page.headers["ETag"] for page in (first, second)]
    assert [f'"{page.json()["etag"]}"' for page in (first, second)] == etags
    same = http.get("/kv", headers={"If-None-Match": etags[0]})
    assert (same.status_code, same.content, same.headers["Link"]) == (304, b"", first.headers["Link"])
    http.set("k120", "changed")
    assert http.get("/kv", headers={"If-None-Match": etags[0]}).status_code == 304
    changed = http.get(first.json()["@nextLink"], headers={"If-None-Match": etags[1]})
    assert changed.status_code == 200
    assert changed.headers["ETag"] != etags[1]
    assert http.get("/kv", headers={"If-Match": '"another"'}).status_code == 412
    for path in ("/kv", "/revisions"):
        assert http.get(path, headers={"If-Match": "another"}).status_code == 200  # without quotes it is not an etag
    assert http.head("/kv").headers["ETag"] == etags[0]


@pytest.mark.parametrize("change", ["value", "lock", "delete", "insert"])
def test_every_change_shows_in_the_page_etag(http: Http, change: str) -> None:
    """A write, a lock, a delete and an insert each change the etag of their page."""
    fill(http, 3)
    before = http.head("/kv").headers["ETag"]
    changes = {"value": ("PUT", "kv/k001"), "lock": ("PUT", "locks/k001"), "delete": ("DELETE", "kv/k001")}
    method, path = changes.get(change, ("PUT", "kv/k0015"))
    http.request(method, path, json={"value": "new"}).raise_for_status()
    assert http.head("/kv").headers["ETag"] != before


def test_page_etags_do_not_depend_on_fields_and_need_their_version(http: Http) -> None:
    """`$Select` leaves page etags as they are; version 1.0 has none and never answers 304."""
    fill(http, 2)
    etag = http.get("/kv").headers["ETag"]
    assert http.get("/kv?$select=key").headers["ETag"] == etag
    old = http.get("/kv?api-version=1.0", headers={"If-None-Match": etag})
    assert old.status_code == 200
    assert "ETag" not in old.headers
    assert "etag" not in old.json()


def test_an_empty_list_has_an_etag(http: Http) -> None:
    """Nothing is something that can stay unchanged, too."""
    etag = http.get("/kv?key=none").headers["ETag"]
    assert http.get("/kv?key=none", headers={"If-None-Match": etag}).status_code == 304


def test_order(http: Http) -> None:
    """Lists are in the order of keys, then labels, the null label first."""
    for key, label in (("b", "x"), ("B", None), ("b", None), ("a", "z"), ("b", "A")):
        http.set(key, label=label)
    found = [(item["key"], item["label"]) for item in http.get("/kv").json()["items"]]
    assert found == [("B", None), ("a", "z"), ("b", None), ("b", "A"), ("b", "x")]


def test_keys_and_labels(shop: Http) -> None:
    """Keys and labels are listed once each; the null label as null; both can be filtered."""
    keys, labels = shop.get("/keys"), shop.get("/labels")
    assert [item["name"] for item in keys.json()["items"]] == ["app/a", "app/b", "other", "star*,\\"]
    assert [item["name"] for item in labels.json()["items"]] == [None, "dev", "prod"]
    assert keys.headers["Content-Type"] == "application/vnd.microsoft.appconfig.keyset+json; charset=utf-8"
    assert labels.headers["Content-Type"] == "application/vnd.microsoft.appconfig.labelset+json; charset=utf-8"
    assert shop.get("/keys?name=app/*").json()["items"] == [{"name": "app/a"}, {"name": "app/b"}]
    assert shop.get("/labels?name=%00").json()["items"] == [{"name": None}]


def test_many_labels_have_pages(http: Http) -> None:
    """Labels are paged like everything else."""
    for number in range(130):
        http.set("k", label=f"l{number:03}")
    pages = http.pages("/labels")
    assert [len(page["items"]) for page in pages] == [100, 30]
    assert [item["name"] for page in pages for item in page["items"]] == [f"l{number:03}" for number in range(130)]


def test_revisions(http: Http) -> None:
    """Revisions are listed newest first within a key, outlive the delete, and do not tell the delete itself."""
    for value in ("1", "2", "3"):
        http.set("a", value)
    http.set("b", "4")
    http.delete("/kv/a")
    http.set("a", "5")
    assert [item["value"] for item in http.get("/revisions").json()["items"]] == ["5", "3", "2", "1", "4"]
    assert [item["value"] for item in http.get("/revisions?key=b").json()["items"]] == ["4"]
    etag = http.get("/revisions").headers["ETag"]
    assert http.get("/revisions", headers={"If-None-Match": etag}).status_code == 304


def test_revisions_of_one_key_have_pages(http: Http) -> None:
    """A page of revisions may end within a key, and the next one goes on there."""
    for number in range(130):
        http.set("a", str(number))
    http.set("b", "last")
    pages = http.pages("/revisions")
    assert [item["value"] for page in pages for item in page["items"]] == [*map(str, range(129, -1, -1)), "last"]


def travel(http: Http, now: str) -> None:
    """Stop the time at a moment."""
    http.control("PUT", "clock", {"now": now, "frozen": True})


def test_time_travel(http: Http) -> None:
    """Accept-Datetime shows the state just before that moment, in every form of date that clients send, and says so."""
    travel(http, "2026-06-01T12:00:00Z")
    http.set("k", "old")
    travel(http, "2026-06-01T13:00:00Z")
    http.set("k", "new")
    http.set("later")
    travel(http, "2026-06-02T00:00:00Z")
    for text in ("Mon, 01 Jun 2026 12:30:00 GMT", "2026-06-01 12:30:00+00:00", "2026-06-01T14:30:00+02:00"):
        answer = http.get("/kv/k", headers={"Accept-Datetime": text})
        assert answer.json()["value"] == "old"
        assert answer.headers["Memento-Datetime"] == "Mon, 01 Jun 2026 12:30:00 GMT"
        assert answer.headers["Link"].endswith('>; rel="original"')
        assert [item["key"] for item in http.get("/kv", headers={"Accept-Datetime": text}).json()["items"]] == ["k"]
        assert http.get("/keys", headers={"Accept-Datetime": text}).json()["items"] == [{"name": "k"}]
        assert len(http.get("/revisions", headers={"Accept-Datetime": text}).json()["items"]) == 1
        assert http.get("/kv/later", headers={"Accept-Datetime": text}).status_code == 404
    exact = {"Accept-Datetime": "Mon, 01 Jun 2026 13:00:00 GMT"}
    assert http.get("/kv/k", headers=exact).json()["value"] == "old"


def test_time_travel_sees_what_was_deleted_and_pages(http: Http) -> None:
    """A key-value that is gone now is seen then; the Link of a page of the past names next and original."""
    travel(http, "2026-06-01T12:00:00Z")
    fill(http, 101)
    travel(http, "2026-06-01T13:00:00Z")
    http.delete("/kv/k000")
    travel(http, "2026-06-02T00:00:00Z")
    then = http.get("/kv", headers={"Accept-Datetime": "2026-06-01T12:30:00Z"})
    assert then.json()["items"][0]["key"] == "k000"
    assert [part.rpartition("rel=")[2] for part in then.headers["Link"].split(", ")] == ['"next"', '"original"']


def test_the_future_is_now(http: Http) -> None:
    """A moment to come, and a date that is none, are answered from the present, without a Memento-Datetime."""
    http.set("k")
    for text in ("2999-01-01T00:00:00Z", "soon", "0001-01-01T00:00:00+14:00"):
        answer = http.get("/kv/k", headers={"Accept-Datetime": text})
        assert answer.status_code == 200
        assert "Memento-Datetime" not in answer.headers


def test_retention_ends(http: Http) -> None:
    """After thirty days old revisions are gone, what was deleted is gone without a trace, and what is there stays."""
    for value in ("1", "2"):
        http.set("a", value)
    http.set("b")
    http.delete("/kv/b")
    assert len(http.get("/revisions").json()["items"]) == 3
    http.control("PUT", "clock", {"advance": "31d"})
    assert [item["value"] for item in http.get("/revisions").json()["items"]] == ["2"]
    assert http.get("/kv/a").json()["value"] == "2"
