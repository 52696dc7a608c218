"""One key: raw and multipart bodies, names in raw paths, ends, metadata."""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.emulators.conftest import kv_emulator
from tests.emulators.kv_api import AWKWARD, KvApi, error, ok
from tests.support.examples import examples

NOON = 1_766_577_600  # 2025-12-24T12:00:00Z


def test_bytes_are_kept_and_no_envelope_is_put_around_them(kv: KvApi) -> None:
    """Whatever the content type, the body is the value, JSON included; the answer is the value and nothing else."""
    for content_type in (
        "text/plain",
        "application/json",
        "application/octet-stream",
        "application/x-www-form-urlencoded",
    ):
        body = b'{"value": "x", "metadata": {}}\x00\xff\r\n'
        assert ok(kv.put(kv.value("k"), content=body, headers={"Content-Type": content_type})) == {}
        answer = kv.get(kv.value("k"))
        assert (answer.status_code, answer.content) == (200, body)
        assert "expiration" not in answer.headers
    assert ok(kv.put(kv.value("k"), content=b"")) == {}
    assert kv.get(kv.value("k")).content == b""


def test_missing_keys(kv: KvApi) -> None:
    """A key that is not there is 10009, for its value and its metadata; deleting it succeeds."""
    assert error(kv.get(kv.value("k"))) == (404, 10009, "get: 'key not found'")
    assert error(kv.get(kv.at("/metadata/k"))) == (404, 10009, "get: 'key not found'")
    assert ok(kv.delete(kv.value("k"))) == {}


def test_multipart(kv: KvApi) -> None:
    """Text parts and file parts are read, metadata is JSON, and a value may hold what looks like a boundary."""
    awkward = b"\r\n--x\r\nContent-Disposition: form-data; name=metadata\r\n\r\n{}\r\n\r\n"
    forms: list[tuple[dict[str, Any], bytes, Any]] = [
        ({"value": (None, "text é"), "metadata": (None, '{"a": 1}')}, "text é".encode(), {"a": 1}),
        ({"value": ("upload", awkward), "metadata": ("blob", b'"m"', "application/json")}, awkward, "m"),
        ({"value": ("f", b"")}, b"", None),
        ({"value": (None, "v"), "metadata": (None, "null")}, b"v", None),
    ]
    for files, value, metadata in forms:
        ok(kv.put(kv.value("k"), files=files))
        assert kv.get(kv.value("k")).content == value
        assert ok(kv.get(kv.at("/metadata/k"))) == metadata
        assert kv.pages()[0]["result"] == [{"name": "k"} | ({"metadata": metadata} if metadata is not None else {})]


@settings(max_examples=examples(25), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=st.binary(max_size=200))
def test_any_bytes_survive_a_form(kv: KvApi, value: bytes) -> None:
    """What is uploaded as a file part comes back byte by byte."""
    ok(kv.put(kv.value("k"), files={"value": ("upload", value)}))
    assert kv.get(kv.value("k")).content == value


def test_broken_forms(kv: KvApi) -> None:
    """A form without a value, a boundary or an end is refused, and so is metadata that is not JSON."""
    assert error(kv.put(kv.value("k"), files={"metadata": (None, "{}")}))[:2] == (400, 10012)
    for bad in ("{", "NaN", "", "\x00"):
        answer = kv.put(kv.value("k"), files={"value": (None, "v"), "metadata": (None, bad)})
        assert error(answer) == (400, 10147, "put: 'metadata must be valid json'")
    for content_type in ("multipart/form-data", "multipart/form-data; boundary=x"):
        answer = kv.put(kv.value("k"), content=b"--x\r\n\r\nv", headers={"Content-Type": content_type})
        assert error(answer)[0] == 400
    assert kv.keys() == []


@pytest.mark.parametrize("key", AWKWARD)
def test_names_in_paths_are_decoded_once(kv: KvApi, key: str) -> None:
    """A name that was percent-encoded once is that name, in every route that has it in the path, and literal in JSON."""
    form = {"value": (None, key), "metadata": (None, json.dumps(key))}
    ok(kv.put(kv.value(key), files=form))
    assert kv.get(kv.value(key)).content == key.encode()
    assert ok(kv.get(kv.at(f"/metadata/{quote(key, safe='')}"))) == key
    assert kv.read(key) == {key: key}
    assert kv.keys() == [key]
    ok(kv.delete(kv.value(key)))
    assert kv.keys() == []


def test_characters_that_need_no_encoding(kv: KvApi) -> None:
    """A path may leave `:@!$&'()*+,;=` and `~` as they are: they mean themselves, and `+` is not a space."""
    key = "a:@!$&'()*+,;=~b"
    ok(kv.put(kv.at(f"/values/{key}"), content=b"v"))
    assert kv.keys() == [key]


def raw(kv: KvApi, method: str, path: str) -> tuple[int, Any]:
    """Send a path exactly as it is written."""
    url = kv.base_url
    connection = http.client.HTTPConnection(url.host, url.port, timeout=60)
    connection.putrequest(method, f"/client/v4{path}", skip_accept_encoding=True)
    connection.putheader("Authorization", kv.headers["Authorization"])
    connection.putheader("Content-Length", "0")
    connection.endheaders()
    answer = connection.getresponse()
    document = json.loads(answer.read())
    connection.close()
    return answer.status, document


@pytest.mark.parametrize(("key", "status"), [(".", 400), ("..", 400), ("%2E%2E", 400), ("x" * 513, 414), ("%FF", 400)])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_names_that_are_refused(kv: KvApi, method: str, key: str, status: int) -> None:
    """Dots, 513 bytes and bytes that are not UTF-8 are refused, and the namespace above them stays."""
    kv.write(k="v")
    answered, document = raw(kv, method, kv.at(f"/values/{key}"))
    assert (answered, document["success"]) == (status, False)
    assert kv.keys() == ["k"]


def test_a_client_that_collapses_dots_deletes_the_namespace(kv: KvApi) -> None:
    """This is why such keys are refused before a URL is built: what arrives is a request about what is above."""
    assert ok(kv.delete(kv.at("/values/.."))) == {}
    assert error(kv.get(kv.at()))[1] == 10013


def test_a_write_replaces_everything(kv: KvApi) -> None:
    """A PUT without metadata clears the metadata, and one without an end makes the key permanent."""
    kv.write({"key": "k", "value": "v", "metadata": {"a": 1}, "expiration_ttl": 60})
    ok(kv.put(kv.value("k"), content=b"w"))
    assert kv.read("k", withMetadata=True) == {"k": {"value": "w", "metadata": None}}


def test_ends(kv: KvApi) -> None:
    """A TTL counts from now and wins over a moment; what ends is shown with its end, and is gone when it comes."""
    kv.control("PUT", "clock", {"now": NOON, "frozen": True})
    ok(kv.put(kv.value("ttl"), content=b"", params={"expiration_ttl": 60, "expiration": NOON + 7200}))
    ok(kv.put(kv.value("moment"), content=b"", params={"expiration": f"{NOON + 3600}.0"}))
    assert kv.get(kv.value("ttl")).headers["expiration"] == str(NOON + 60)
    kv.control("PUT", "clock", {"advance": "59s"})
    assert kv.pages()[0]["result"] == [
        {"name": "moment", "expiration": NOON + 3600},
        {"name": "ttl", "expiration": NOON + 60},
    ]
    kv.control("PUT", "clock", {"advance": "1s"})
    assert (kv.keys(), kv.get(kv.value("ttl")).status_code) == (["moment"], 404)
    assert kv.read("ttl", "moment") == {"ttl": None, "moment": ""}


def test_entries_live_for_virtual_days(kv: KvApi) -> None:
    """A key that is written again each day before its end lives on; one that is not ends after its days."""
    kv.control("PUT", "clock", {"now": NOON, "frozen": True})
    week = {"value": "", "expiration_ttl": 7 * 86_400}
    kv.write({"key": "kept", **week}, {"key": "left", **week})
    for day in range(1, 11):
        kv.control("PUT", "clock", {"advance": "1d"})
        kv.write({"key": "kept", **week})
        assert kv.keys() == (["kept", "left"] if day < 7 else ["kept"])
    (kept,) = kv.pages()[0]["result"]
    assert kept["expiration"] == NOON + 17 * 86_400


@pytest.mark.parametrize(
    ("params", "code", "text"),
    [
        ({"expiration_ttl": "59"}, 10034, "Invalid expiration_ttl of 59. Expiration TTL must be at least 60."),
        ({"expiration_ttl": "0"}, 10034, "Invalid expiration_ttl of 0. Please specify integer greater than 0."),
        ({"expiration_ttl": "-1"}, 10034, "Invalid expiration_ttl of -1. Please specify integer greater than 0."),
        ({"expiration_ttl": "1.5"}, 10034, "Invalid expiration_ttl of 1.5. Please specify integer greater than 0."),
        ({"expiration_ttl": ""}, 10034, "Invalid expiration_ttl of . Please specify integer greater than 0."),
        (
            {"expiration": str(NOON)},
            10033,
            f"Invalid expiration of {NOON}. Please specify integer greater than the current number of seconds since the "
            "UNIX epoch.",
        ),
        (
            {"expiration": str(NOON + 59)},
            10033,
            f"Invalid expiration of {NOON + 59}. Expiration times must be at least 60 seconds in the future.",
        ),
    ],
)
def test_ends_that_are_refused(kv: KvApi, params: dict[str, str], code: int, text: str) -> None:
    """An end too soon, in the past, or no number is refused with the service's words, alone and in bulk."""
    kv.control("PUT", "clock", {"now": NOON, "frozen": True})
    assert error(kv.put(kv.value("k"), content=b"v", params=params)) == (400, code, f"put: '{text}'")
    if all(value.isdecimal() for value in params.values()):
        pair = {"key": "k", "value": "v"} | {name: int(value) for name, value in params.items()}
        assert error(kv.put(kv.at("/bulk"), json=[pair])) == (400, code, f"bulk put: '{text}'")
    assert kv.keys() == []


def test_sizes(kv: KvApi) -> None:
    """25 MiB and 1,024 bytes of compact metadata fit; one byte more is 413."""
    value = b"x" * (25 * 1024**2)
    ok(kv.put(kv.value("k"), content=value))
    assert kv.get(kv.value("k")).content == value
    assert error(kv.put(kv.value("k"), content=value + b"x"))[0] == 413
    for text, fits in (("é" * 511, True), ("é" * 511 + "x", False)):
        spaced = f"  {json.dumps(text, ensure_ascii=False)}  "
        answer = kv.put(kv.value("m"), files={"value": (None, ""), "metadata": (None, spaced)})
        assert answer.status_code == (200 if fits else 413)
        assert (
            kv.put(kv.at("/bulk"), json=[{"key": "m", "value": "", "metadata": text}]).status_code == answer.status_code
        )


def test_namespaces_that_do_not_decode() -> None:
    """Where URLs are not decoded, the encoded text is the name; names in bodies are literal as ever."""
    with kv_emulator(switches={"url-encoding": "off"}) as server, KvApi(server) as kv:
        kv.use(kv.create("old"))
        assert ok(kv.get(kv.at()))["supports_url_encoding"] is False
        ok(kv.put(kv.value("a/b"), content=b""))
        kv.write({"key": "c/d", "value": ""})
        assert kv.keys() == ["a%2Fb", "c/d"]
