"""Records of the Apify emulator: bytes, content types, encodings, schemas, listings, signed and redirected reads."""

from __future__ import annotations

import gzip
import zlib
from typing import Any

import brotli
import httpx
import pytest

from kvsync.emulators.server import Running
from tests.emulators.apify_api import AWKWARD, REFUSED, ApifyApi, data, error
from tests.emulators.conftest import apify_emulator

TEXT = b"long enough to be worth it " * 50
ENCODED = {
    "gzip": gzip.compress(TEXT),
    "deflate": zlib.compress(TEXT),
    "br": brotli.compress(TEXT),
    "identity": TEXT,
    "": TEXT,
}


def test_a_record(kvs: ApifyApi) -> None:
    """PUT and POST answer 201 with the record's place; GET and HEAD know bytes and content type; DELETE never minds."""
    for method in ("PUT", "POST"):
        headers = {"Content-Type": "text/x; a=b"}
        answer = kvs.request(method, kvs.record("k"), content=method, headers=headers)
        assert (answer.status_code, answer.json()) == (201, {})
        assert answer.headers["location"] == f"{kvs.origin}/v2/key-value-stores/{kvs.store}/records/k"
        found = kvs.get(kvs.record("k"))
        assert (found.status_code, found.text, found.headers["content-type"]) == (200, method, "text/x; a=b")
    head = kvs.head(kvs.record("k"))
    assert (head.status_code, head.content, head.headers["content-type"]) == (200, b"", "text/x; a=b")
    assert [kvs.delete(kvs.record("k")).status_code for _ in range(2)] == [204, 204]
    assert kvs.head(kvs.record("k")).status_code == 404
    missing = kvs.get(kvs.record("k"))
    assert error(missing) == (404, "record-not-found")
    assert missing.json()["error"]["message"] == "Record was not found"
    assert kvs.get("/none/records/k").json()["error"]["message"] == "Key-value Store was not found"
    assert kvs.delete("/none/records/k").status_code == 404


def test_without_a_content_type(kvs: ApifyApi) -> None:
    """What is sent without a content type is bytes; an empty record is a record."""
    kvs.set("k", b"")
    found = kvs.get(kvs.record("k"))
    assert (found.content, found.headers["content-type"]) == (b"", "application/octet-stream")


def test_attachment(kvs: ApifyApi) -> None:
    """`attachment` names a file; without it there is none."""
    kvs.set("k", "v")
    dispositions = [kvs.get(kvs.record("k"), params={"attachment": value}) for value in ("1", "true", "0")]
    shown = [answer.headers.get("content-disposition") for answer in dispositions]
    assert shown == ['attachment; filename="k"'] * 2 + [None]


@pytest.mark.parametrize("key", AWKWARD)
def test_keys_that_are_allowed(kvs: ApifyApi, key: str) -> None:
    """A key has 1 to 256 of the allowed characters, and is itself wherever it appears."""
    kvs.set(key, key)
    assert kvs.get(kvs.record(key)).text == key
    assert kvs.keys() == [key]
    assert kvs.zip() == {key: key.encode()}


@pytest.mark.parametrize("encoded", REFUSED)
def test_keys_that_are_not_allowed(kvs: ApifyApi, encoded: str) -> None:
    """Other keys are refused by every method, `.` and `..` among them."""
    for method in ("GET", "PUT", "POST", "DELETE"):
        answer = kvs.request(method, kvs.at(f"/records/{encoded}"), content=b"v" if method[0] == "P" else None)
        assert error(answer) == (400, "invalid-record-key")
    assert kvs.keys() == []


@pytest.mark.parametrize("encoding", ENCODED)
def test_encodings(kvs: ApifyApi, encoding: str) -> None:
    """A record is stored as it was uploaded, served so to who accepts its encoding, and decoded to who does not."""
    headers = {"Content-Encoding": encoding} if encoding else {}
    kvs.put(kvs.record("k"), content=ENCODED[encoding], headers=headers).raise_for_status()
    assert data(kvs.get(kvs.at("/keys")))["items"][0]["size"] == len(ENCODED[encoding])
    shown = "" if encoding == "identity" else encoding
    for accept in ("gzip, deflate, br", "*", encoding or "gzip"):
        with kvs.stream("GET", kvs.record("k"), headers={"Accept-Encoding": accept}) as answer:
            assert b"".join(answer.iter_raw()) == ENCODED[encoding]
            assert answer.headers.get("content-encoding", "") == shown
    for accept in ("identity", "zstd", "", "gzip;q=0, deflate; q=0, br;q=0.0"):
        answer = kvs.get(kvs.record("k"), headers={"Accept-Encoding": accept})
        assert (answer.content, "content-encoding" in answer.headers) == (TEXT, False)


def test_what_is_not_what_it_says(kvs: ApifyApi) -> None:
    """Bytes that do not have the encoding they name come back as they are, with its name."""
    kvs.set("k", b"plain", Content_Encoding="gzip")
    with kvs.stream("GET", kvs.record("k")) as answer:
        assert (b"".join(answer.iter_raw()), answer.headers["content-encoding"]) == (b"plain", "gzip")


def test_bare_deflate(kvs: ApifyApi) -> None:
    """A deflate stream without its frame, as some programs send it, is understood too."""
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    kvs.set("k", packer.compress(TEXT) + packer.flush(), Content_Encoding="deflate")
    assert kvs.get(kvs.record("k")).content == TEXT


@pytest.mark.parametrize("encoding", ["zstd", "compress", "gzip, br", "x"])
def test_encodings_that_are_not_known(kvs: ApifyApi, encoding: str) -> None:
    """Any other encoding is refused with 415."""
    answer = kvs.put(kvs.record("k"), content=b"x", headers={"Content-Encoding": encoding})
    assert error(answer) == (415, "unsupported-content-encoding")
    assert kvs.keys() == []


def test_records_that_are_too_large(kvs: ApifyApi) -> None:
    """A record of 9 MiB is taken, one of a byte more is not; a switch sets another limit."""
    kvs.set("k", bytes(9_437_184))
    answer = kvs.put(kvs.record("l"), content=bytes(9_437_185))
    assert error(answer) == (413, "request-too-large")
    assert "9437184 bytes, actual length: 9437185 bytes" in answer.json()["error"]["message"]
    with apify_emulator(switches={"largest-record": "10"}) as server, ApifyApi(server) as small:
        small.use(small.create("test")["id"])
        small.set("k", b"x" * 10)
        assert error(small.put(small.record("k"), content=b"x" * 11)) == (413, "request-too-large")


def test_html_may_be_guarded() -> None:
    """With `html=guarded`, HTML is altered unless it is an attachment, and refused when it is encoded."""
    with apify_emulator(switches={"html": "guarded"}) as server, ApifyApi(server) as kvs:
        kvs.use(kvs.create("test")["id"])
        kvs.set("k", "<p>", Content_Type="text/html; charset=utf-8")
        altered, raw = (kvs.get(kvs.record("k"), params={"attachment": value}).text for value in ("0", "1"))
        assert (raw, altered.endswith("<p>"), altered == "<p>") == ("<p>", True, False)
        headers = {"Content-Type": "text/html", "Content-Encoding": "gzip"}
        assert error(kvs.put(kvs.record("k"), content=ENCODED["gzip"], headers=headers)) == (400, "invalid-input")


def test_pages_of_keys(kvs: ApifyApi) -> None:
    """Keys come in the order of their bytes, with their sizes; the last page has null, and a start key need not exist."""
    names = ["b", "B", "a.1", "a-1", "a", "c"]
    for name in names:
        kvs.set(name, name)
    first = data(kvs.get(kvs.at("/keys"), params={"limit": 2}))
    assert [item["key"] for item in first.pop("items")] == sorted(names)[:2] == ["B", "a"]
    truncated = {"count": 2, "limit": 2, "exclusiveStartKey": None, "isTruncated": True, "nextExclusiveStartKey": "a"}
    assert first == truncated
    last = data(kvs.get(kvs.at("/keys"), params={"limit": 4, "exclusiveStartKey": "a"}))
    assert [(item["key"], item["size"]) for item in last.pop("items")] == [("a-1", 3), ("a.1", 3), ("b", 1), ("c", 1)]
    assert last == {
        "count": 4,
        "limit": 4,
        "exclusiveStartKey": "a",
        "isTruncated": False,
        "nextExclusiveStartKey": None,
    }
    assert kvs.keys(exclusiveStartKey="a-0") == ["a-1", "a.1", "b", "c"]
    assert kvs.keys(exclusiveStartKey="zzz") == []
    assert data(kvs.get(kvs.at("/keys"), params={"limit": 5000}))["limit"] == 1000
    for wrong in ("x", "-1", "1.5", "¹"):
        assert error(kvs.get(kvs.at("/keys"), params={"limit": wrong})) == (400, "invalid-input")


def test_prefixes(kvs: ApifyApi) -> None:
    """A prefix limits every page; one that no key may have finds nothing, and is not a mistake."""
    for name in ("a-1", "a-2", "a-3", "b-1"):
        kvs.set(name)
    assert kvs.keys(prefix="a-", limit=1) == ["a-1", "a-2", "a-3"]
    assert kvs.keys(prefix="a-", exclusiveStartKey="a-1") == ["a-2", "a-3"]
    assert kvs.keys(prefix="my-prefix/") == []


def test_keys_that_come_and_go_under_the_paging(kvs: ApifyApi) -> None:
    """A page goes on behind the last key, even if that is gone; what comes in front of it is not seen."""
    for name in "bdf":
        kvs.set(name)
    page = data(kvs.get(kvs.at("/keys"), params={"limit": 2}))
    kvs.delete(kvs.record("d")).raise_for_status()
    for name in "ae":
        kvs.set(name)
    assert kvs.keys(exclusiveStartKey=page["nextExclusiveStartKey"]) == ["e", "f"]


SCHEMA: dict[str, Any] = {
    "actorKeyValueStoreSchemaVersion": 1,
    "title": "Schema",
    "collections": {
        "limits": {
            "title": "Limits",
            "keyPrefix": "limit-",
            "contentTypes": ["application/json"],
            "jsonSchema": {"type": "object", "properties": {"rps": {"type": "integer"}}, "required": ["rps"]},
        },
        "logo": {"title": "Logo", "key": "LOGO", "contentTypes": ["image/png", "image/svg+xml; charset=utf-8"]},
    },
}


def test_collections(kvs: ApifyApi) -> None:
    """A record must be what every collection that has its key asks for, also under a content encoding."""
    kvs.use(kvs.create("schema", SCHEMA)["id"])
    json, png = {"Content-Type": "application/json; charset=utf-8"}, {"Content-Type": "Image/PNG"}
    kvs.put(kvs.record("limit-a"), content=b'{"rps": 1}', headers=json).raise_for_status()
    packed = json | {"Content-Encoding": "gzip"}
    kvs.put(kvs.record("limit-b"), content=gzip.compress(b'{"rps": 1}'), headers=packed).raise_for_status()
    kvs.put(kvs.record("LOGO"), content=b"x", headers=png).raise_for_status()
    kvs.put(kvs.record("free"), content=b"x").raise_for_status()
    refused: list[tuple[str, bytes, dict[str, str]]] = [
        ("limit-c", b'{"rps": "many"}', json),
        ("limit-c", gzip.compress(b"{}"), packed),
        ("limit-c", b"{", json),
        ("limit-c", b"not compressed", packed),
        ("limit-c", b'{"rps": 1}', png),
        ("LOGO", b"x", {}),
    ]
    for key, body, headers in refused:
        assert error(kvs.put(kvs.record(key), content=body, headers=headers)) == (400, "invalid-input")
    assert kvs.keys() == ["LOGO", "free", "limit-a", "limit-b"]
    assert kvs.keys(collection="limits") == list(kvs.zip(collection="limits")) == ["limit-a", "limit-b"]
    assert kvs.keys(collection="logo") == ["LOGO"]
    assert kvs.keys(collection="limits", prefix="limit-b") == ["limit-b"]
    for path in ("/keys", "/records"):
        assert error(kvs.get(kvs.at(path), params={"collection": "none"})) == (400, "invalid-input")


def test_a_schema_points_into_itself_alone(kvs: ApifyApi) -> None:
    """A reference to another document is not followed: a record that would need it is refused."""
    here = {"$defs": {"n": {"type": "integer"}}, "$ref": "#/$defs/n"}
    there = {"$ref": "http://127.0.0.1:9/schema.json"}
    collections = {name: {"key": name, "jsonSchema": schema} for name, schema in (("here", here), ("there", there))}
    kvs.use(kvs.create("pointers", {"actorKeyValueStoreSchemaVersion": 1, "collections": collections})["id"])
    headers = {"Content-Type": "application/json"}
    statuses = [kvs.put(kvs.record(name), content=b"1", headers=headers).status_code for name in collections]
    assert statuses == [201, 400]


def test_hostile_documents(kvs: ApifyApi) -> None:
    """What is nested too deeply, or holds half a character, is answered and not stumbled over."""
    assert error(kvs.put(kvs.at(), content="[" * 100_000)) == (400, "invalid-input")
    half = kvs.put(kvs.at(), content='{"title": "\\ud800"}')
    assert (half.status_code, kvs.get(kvs.at()).status_code) == (200, 200)
    answer = kvs.put(kvs.record("k"), content=b"x", headers={b"Content-Type": b"text/\xe9"})
    assert error(answer) == (400, "invalid-input")


WRONG_SCHEMAS: list[Any] = [
    [],
    {},
    {"actorKeyValueStoreSchemaVersion": 2},
    {"actorKeyValueStoreSchemaVersion": 1, "collections": []},
    {"actorKeyValueStoreSchemaVersion": 1, "collections": {"c": 1}},
    {"actorKeyValueStoreSchemaVersion": 1, "collections": {"c": {}}},
    {"actorKeyValueStoreSchemaVersion": 1, "collections": {"c": {"key": "a", "keyPrefix": "b"}}},
    {"actorKeyValueStoreSchemaVersion": 1, "collections": {"c": {"key": "a", "contentTypes": "text/html"}}},
    {"actorKeyValueStoreSchemaVersion": 1, "collections": {"c": {"key": "a", "jsonSchema": {"type": 7}}}},
    {"actorKeyValueStoreSchemaVersion": 1, "collections": {"c": {"key": "a", "jsonSchema": 7}}},
]


@pytest.mark.parametrize("schema", WRONG_SCHEMAS)
def test_schemas_that_are_none(kvs: ApifyApi, schema: Any) -> None:
    """A schema that is not valid is refused, and no store is made."""
    assert error(kvs.post("", params={"name": "new"}, json={"schema": schema})) == (400, "invalid-input")
    assert kvs.get("/~new").status_code == 404


def test_signatures(kvs: ApifyApi, apify: Running) -> None:
    """A signature opens what it was made for, without a token, and nothing else; expired ones open nothing."""
    kvs.set("k", "v")
    kvs.set("l", "w")
    kvs.put(kvs.at(), json={"generalAccess": "RESTRICTED"}).raise_for_status()
    store = data(kvs.get(kvs.at()))
    record = data(kvs.get(kvs.at("/keys")))["items"][0]["recordPublicUrl"]
    with httpx.Client() as nobody:
        assert nobody.get(record).text == "v"
        assert nobody.head(record).status_code == 200
        assert nobody.get(store["keysPublicUrl"]).json()["data"]["count"] == 2
        assert nobody.get(store["recordsPublicUrl"] + "&prefix=k").status_code == 200
        signed, listing = (url.partition("?")[2] for url in (record, store["keysPublicUrl"]))
        wrong = [
            ("/records/l", signed),
            ("/keys", signed),
            ("/records/k", listing),
            ("", listing),
            ("/records/k", "signature="),
            *(("/keys", f"signature={text}") for text in ("MC4w", "%C3%A9", "MA", "MC54Lnk")),
        ]
        for path, query in wrong:
            answer = nobody.get(f"{kvs.origin}/v2/key-value-stores/{kvs.store}{path}?{query}")
            assert error(answer) == (403, "permission-denied")
        assert error(nobody.put(record, content="x")) == (401, "token-not-valid")
        assert error(nobody.delete(record)) == (401, "token-not-valid")


@pytest.mark.parametrize("mode", ["on", "strict"])
def test_redirected_reads(mode: str) -> None:
    """A read is redirected to a place that needs no token, and gives the record as it was stored; HEAD is not."""
    with apify_emulator(switches={"redirects": mode}) as server, ApifyApi(server) as kvs:
        kvs.use(kvs.create("test")["id"])
        kvs.put(kvs.at(), json={"generalAccess": "RESTRICTED"}).raise_for_status()
        kvs.set("k", ENCODED["gzip"], Content_Encoding="gzip", Content_Type="text/x")
        answer = kvs.get(kvs.record("k"), headers={"Accept-Encoding": "gzip"})
        assert (answer.status_code, answer.content) == (302, b"")
        place = answer.headers["location"].replace("localhost", "127.0.0.1")
        assert ("localhost" in answer.headers["location"]) == (mode == "strict")
        found = httpx.get(place)
        assert (found.content, found.headers["content-type"]) == (TEXT, "text/x")
        forwarded = kvs.get(place).status_code
        assert forwarded == (400 if mode == "strict" else 200)
        assert kvs.get(kvs.record("k")).content == TEXT  # what must be decoded does not come from storage
        assert kvs.head(kvs.record("k"), headers={"Accept-Encoding": "gzip"}).status_code == 200
        assert kvs.get(kvs.record("none")).status_code == 404
        kvs.delete(kvs.record("k")).raise_for_status()
        assert httpx.get(place).status_code == 404
        assert kvs.control("GET", "stats")["routes"]["GET /_storage/{storeId}/{recordKey}"] == 3
