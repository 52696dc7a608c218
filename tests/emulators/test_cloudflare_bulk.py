"""Many keys in one call: limits, whole-batch checks, what fails of a batch."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from tests.emulators.conftest import kv_emulator
from tests.emulators.kv_api import AWKWARD, REFUSED, KvApi, error, ok


def test_all_routes_of_bulk(kv: KvApi) -> None:
    """Pairs go in by PUT, out by POST, and away by either of two routes; missing keys count as deleted."""
    pairs = [{"key": key, "value": key} for key in AWKWARD]
    assert kv.write(*pairs) == {"successful_key_count": len(AWKWARD), "unsuccessful_keys": []}
    assert kv.read(*AWKWARD) == {key: key for key in AWKWARD}
    assert kv.keys() == sorted(AWKWARD, key=str.encode)
    some, others = list(AWKWARD[:5]), list(AWKWARD[5:])
    assert ok(kv.post(kv.at("/bulk/delete"), json=[*some, "none"]))["successful_key_count"] == 6
    assert ok(kv.request("DELETE", kv.at("/bulk"), json=others))["unsuccessful_keys"] == []
    assert kv.keys() == []


@pytest.mark.parametrize(
    "bad",
    [
        *({"key": key, "value": ""} for key in REFUSED),
        {"key": "k"},
        {"value": "v"},
        {"key": 1, "value": "v"},
        {"key": "k", "value": {"a": 1}},
        {"key": "k", "value": None},
        {"key": "k", "value": "AA=", "base64": True},
        {"key": "k", "value": "A A=", "base64": True},
        {"key": "k", "value": "v", "base64": "yes"},
        {"key": "k", "value": "v", "expiration_ttl": 59},
        {"key": "k", "value": "v", "expiration": 1},
        {"key": "k", "value": "v", "expiration_ttl": "soon"},
        {"key": "\ud800", "value": "v"},
        {"key": "k", "value": "\ud800"},
        {"key": "k", "value": "v", "metadata": "\ud800"},
        {"key": "good", "value": "another value"},
        "k",
    ],
)
def test_one_bad_pair_refuses_the_batch(kv: KvApi, bad: Any) -> None:
    """Everything is checked before anything is written: one bad pair anywhere, and nothing was done."""
    body = json.dumps([{"key": "good", "value": "v"}, bad])  # ASCII: half a surrogate pair is sent as it is written
    status, code, message = error(kv.put(kv.at("/bulk"), content=body))
    assert (status, code) in {(400, 10012), (400, 10022), (400, 10033), (400, 10034)}
    assert message.startswith("bulk put: '")
    assert kv.keys() == []


@pytest.mark.parametrize("body", [b"", b"{}", b"null", b"[NaN]", b"[" * 10_000, b"\xff", b'{"key": "k", "value": "v"}'])
def test_bodies_that_are_not_arrays(kv: KvApi, body: bytes) -> None:
    """A body that is not the JSON that is wanted is refused, whatever the route."""
    for method, path in (("PUT", "/bulk"), ("DELETE", "/bulk"), ("POST", "/bulk/delete"), ("POST", "/bulk/get")):
        assert error(kv.request(method, kv.at(path), content=body))[0] == 400


def test_equal_pairs_collapse(kv: KvApi) -> None:
    """The same pair twice is one; the same key with two values is refused by name."""
    pair = {"key": "k", "value": "v"}
    assert kv.write(pair, {"key": "k", "value": "dg==", "base64": True})["successful_key_count"] == 1
    status, code, message = error(kv.put(kv.at("/bulk"), json=[pair, pair | {"metadata": 1}]))
    assert (status, code) == (400, 10012)
    assert "received duplicate key with different values" in message


def test_counts(kv: KvApi) -> None:
    """10,000 pairs or keys are taken, 10,001 are refused in the service's words; 1 to 100 keys are got at once."""
    pairs = [{"key": f"{number:05}", "value": "v"} for number in range(10_001)]
    text = "received 10001 key/value pairs, but max allowed per request is: 10000"
    assert error(kv.put(kv.at("/bulk"), json=pairs)) == (400, 10012, f"bulk put: '{text}'")
    assert kv.write(*pairs[:10_000])["successful_key_count"] == 10_000
    names = [pair["key"] for pair in pairs]
    text = "received 10001 keys, but max allowed per request is: 10000"
    assert error(kv.post(kv.at("/bulk/delete"), json=names)) == (400, 10012, f"bulk remove keys: '{text}'")
    assert len(kv.read(*names[:100])) == 100
    for keys, words in (
        (names[:101], "You can request a maximum of 100 keys"),
        ([], "You must request a minimum of 1 key"),
    ):
        answer = kv.post(kv.at("/bulk/get"), json={"keys": keys})
        assert error(answer) == (400, 10029, f"bulk get keys: '{words}'")
    assert ok(kv.post(kv.at("/bulk/delete"), json=names[:10_000]))["successful_key_count"] == 10_000


@pytest.mark.parametrize("key", REFUSED)
def test_names_are_checked_when_deleting_and_getting(kv: KvApi, key: str) -> None:
    """A name that cannot be is refused in bodies, too, with nothing done."""
    kv.write(k="v")
    assert error(kv.post(kv.at("/bulk/delete"), json=["k", key]))[0] == 400
    assert error(kv.post(kv.at("/bulk/get"), json={"keys": ["k", key]}))[0] == 400
    assert kv.keys() == ["k"]


def test_getting_in_bulk(kv: KvApi) -> None:
    """Values come as text or as JSON, with metadata and end when wanted, and null for what is missing."""
    kv.write({"key": "a", "value": '{"n":  1}', "metadata": {"m": [1]}}, {"key": "e", "value": "", "metadata": 0})
    assert kv.read("a", "none") == {"a": '{"n":  1}', "none": None}
    assert kv.read("a", "none", type="json") == {"a": {"n": 1}, "none": None}
    assert kv.read("a", "e", "none", withMetadata=True, type="text") == {
        "a": {"value": '{"n":  1}', "metadata": {"m": [1]}},
        "e": {"value": "", "metadata": 0},
        "none": None,
    }


@pytest.mark.parametrize(("value", "kind"), [(b"\xff\xfe", "text"), (b"\xff", "json"), (b"no JSON", "json")])
def test_one_value_spoils_them_all(kv: KvApi, value: bytes, kind: str) -> None:
    """One value that is not of the wanted kind fails the whole call, and names no key."""
    kv.write({"key": "bad", "value": base64.b64encode(value).decode(), "base64": True}, good="1")
    answer = kv.post(kv.at("/bulk/get"), json={"keys": ["good", "bad"], "type": kind})
    text = f"bulk get keys: 'At least one of the requested keys corresponds to a non-{kind} value'"
    assert error(answer) == (400, 10029, text)


def test_requests_that_are_refused(kv: KvApi) -> None:
    """A type that there is not, no keys, and more than 25 MiB of values are refused."""
    assert error(kv.post(kv.at("/bulk/get"), json={"keys": ["k"], "type": "xml"}))[:2] == (400, 10029)
    assert error(kv.post(kv.at("/bulk/get"), json={}))[:2] == (400, 10029)
    for key in "ab":
        ok(kv.put(kv.value(key), content=b"x" * (13 * 1024**2)))
    assert error(kv.post(kv.at("/bulk/get"), json={"keys": ["a", "b"]}))[0] == 413


@pytest.mark.parametrize(("switch", "expected"), [("written", True), ("unwritten", False), ("mixed", None)])
def test_a_share_of_a_batch_fails(switch: str, expected: bool | None) -> None:
    """`partial-bulk` reports a share of the keys as unsuccessful under success; they were written, or not, or some."""
    names = [f"{number:03}" for number in range(200)]
    with kv_emulator(switches={"unsuccessful": switch}, seed=3) as server, KvApi(server) as kv:
        kv.use(kv.create("test"))
        kv.control("PUT", "faults", {"spec": "partial-bulk:0.2"})
        result = kv.write(**dict.fromkeys(names, "v"))
        failed = result["unsuccessful_keys"]
        assert 20 <= len(failed) <= 60
        assert result["successful_key_count"] == 200 - len(failed)
        kept = set(kv.keys())
        assert set(names) - set(failed) <= kept
        there = {name in kept for name in failed}
        assert there == ({True, False} if expected is None else {expected})
        kv.control("PUT", "faults", "")
        assert kv.write(**dict.fromkeys(failed, "v"))["unsuccessful_keys"] == []
        kv.control("PUT", "faults", {"spec": "partial-bulk:1"})
        result = ok(kv.post(kv.at("/bulk/delete"), json=names))
        assert result == {"successful_key_count": 0, "unsuccessful_keys": names}


def test_large_batches_may_run_into_the_edge() -> None:
    """With `bulk-timeout` a batch of more pairs is answered with a page and 524, and done all the same."""
    with kv_emulator(switches={"bulk-timeout": "100", "bulk-bytes": "20000"}) as server, KvApi(server) as kv:
        kv.use(kv.create("test"))
        names = [f"{number:03}" for number in range(101)]
        kv.write(**dict.fromkeys(names[:100], "v"))
        answer = kv.put(kv.at("/bulk"), json=[{"key": name, "value": "w"} for name in names])
        assert (answer.status_code, answer.headers["Content-Type"]) == (524, "text/html; charset=UTF-8")
        assert kv.read("000", "100") == {"000": "w", "100": "w"}
        assert error(kv.put(kv.at("/bulk"), json=[{"key": "k", "value": "x" * 20_000}]))[0] == 413
