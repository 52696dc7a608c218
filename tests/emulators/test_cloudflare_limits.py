"""Who may ask and how often; the service's ways to fail; what outlives a restart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from kvsync.emulators.model import Options
from kvsync.emulators.server import Running
from kvsync.errors import UsageError
from tests.emulators.conftest import KV, kv_emulator, process
from tests.emulators.kv_api import KvApi, error, ok

NOON = 1_766_577_600  # 2025-12-24T12:00:00Z


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, (401, 9106)),
        ({"Authorization": "Bearer wrong"}, (401, 10000)),
        ({"Authorization": "Bearer"}, (400, 6003)),
        ({"Authorization": "Basic eDp5"}, (400, 6003)),
        ({"X-Auth-Email": "emulator@example.com"}, (401, 9106)),
        ({"X-Auth-Email": "emulator@example.com", "X-Auth-Key": "short"}, (400, 6003)),
        ({"X-Auth-Email": "emulator@example.com", "X-Auth-Key": "0" * 37}, (403, 9103)),
    ],
)
def test_who_is_not_known(cloudflare: Running, headers: dict[str, str], expected: tuple[int, int]) -> None:
    """Missing, malformed and wrong credentials are distinguished, in the envelope, also where there is no route."""
    with KvApi(cloudflare, headers=headers) as http:
        for path in (http.all, "/nowhere"):
            assert error(http.get(path))[:2] == expected


def test_both_kinds_of_credentials_open(cloudflare: Running) -> None:
    """A bearer token opens, and so does the older pair of mail address and global key."""
    env = cloudflare.env
    legacy = {"X-Auth-Email": env["CLOUDFLARE_EMULATOR_EMAIL"], "X-Auth-Key": env["CLOUDFLARE_EMULATOR_API_KEY"]}
    for headers in ({"Authorization": f"bearer {env['CLOUDFLARE_API_TOKEN']}"}, legacy):
        with KvApi(cloudflare, headers=headers) as http:
            assert ok(http.get(http.all)) == []


def test_a_token_that_may_only_read(kv: KvApi) -> None:
    """It reads, also in bulk, and meets 403 on POST and 405 on PUT and DELETE, as the service has it."""
    kv.write(k="v")
    kv.headers["Authorization"] += "-reader"
    assert (kv.keys(), kv.read("k"), kv.get(kv.value("k")).text) == (["k"], {"k": "v"}, "v")
    assert error(kv.post(kv.at("/bulk/delete"), json=["k"])) == (403, 10000, "Authentication error")
    text = "PUT method not allowed for the api_token authentication scheme"
    assert error(kv.put(kv.at("/bulk"), json=[{"key": "k", "value": ""}])) == (405, 10000, text)
    assert error(kv.delete(kv.at()))[:2] == (405, 10000)
    assert kv.read("k") == {"k": "v"}


def test_anonymous() -> None:
    """With `--anonymous` no credential is needed, but a wrong one is still wrong."""
    with kv_emulator(anonymous=True) as server, KvApi(server, authorized=False) as http:
        assert ok(http.get(http.all)) == []
        assert http.get(http.all, headers={"Authorization": "Bearer wrong"}).status_code == 401


def test_the_budget_of_requests() -> None:
    """Every answer tells what is left; who exceeds it is refused everything, with the wait, for a whole period."""
    with kv_emulator(switches={"rate": "5"}) as server, KvApi(server) as http:
        http.control("PUT", "clock", {"now": NOON, "frozen": True})
        answers = [http.get(http.all) for _ in range(5)]
        assert [answer.headers["Ratelimit"] for answer in answers] == [
            f'"default";r={left};t=300' for left in (4, 3, 2, 1, 0)
        ]
        assert answers[0].headers["Ratelimit-Policy"] == '"default";q=5;w=300'
        http.control("PUT", "clock", {"advance": "290s"})
        refused = http.get(http.all)
        assert error(refused) == (429, 971, "Please wait and consider throttling your request speed")
        assert refused.headers["Retry-After"] == "300"
        http.control("PUT", "clock", {"advance": "299.5s"})
        assert http.get(http.all).headers["Retry-After"] == "1"
        http.control("PUT", "clock", {"advance": "1s"})
        assert http.get(http.all).headers["Ratelimit"] == '"default";r=4;t=300'


def test_other_budgets() -> None:
    """The period can be chosen, and with `off` there is no budget and nothing is said of one."""
    with kv_emulator(switches={"rate": "1/2s"}) as server, KvApi(server) as http:
        assert [http.get(http.all).status_code for _ in range(2)] == [200, 429]
    with kv_emulator(switches={"rate": "off"}) as server, KvApi(server) as http:
        assert "Ratelimit" not in http.get(http.all).headers


def test_one_write_a_second_for_each_key() -> None:
    """With `key-rate` a second write of a key within a second is throttled; in bulk it is one of the unsuccessful keys."""
    with kv_emulator(switches={"key-rate": "on"}) as server, KvApi(server) as kv:
        kv.control("PUT", "clock", {"now": NOON, "frozen": True})
        kv.use(kv.create("test"))
        ok(kv.put(kv.value("a"), content=b"1"))
        refused = kv.put(kv.value("a"), content=b"2")
        assert (error(refused)[:2], refused.headers["Retry-After"]) == ((429, 971), "1")
        assert kv.delete(kv.value("a")).status_code == 429
        assert kv.write(a="3", b="3") == {"successful_key_count": 1, "unsuccessful_keys": ["a"]}
        assert kv.read("a", "b") == {"a": "1", "b": "3"}
        kv.control("PUT", "clock", {"advance": "1s"})
        assert kv.write(a="4", b="4")["unsuccessful_keys"] == []


def test_the_free_plan() -> None:
    """It has 1,000 writes a day, each pair of a batch one of them, and as many lists, until midnight UTC."""
    with kv_emulator(switches={"plan": "free"}) as server, KvApi(server) as kv:
        kv.control("PUT", "clock", {"now": NOON, "frozen": True})
        kv.use(kv.create("test"))
        kv.write(**{str(number): "v" for number in range(999)})
        text = "your account has reached the free usage limit for this operation for today"
        assert error(kv.put(kv.at("/bulk"), json=[{"key": k, "value": "v"} for k in "ab"])) == (429, 10048, text)
        ok(kv.put(kv.value("one"), content=b"more"))
        refused = kv.put(kv.value("two"), content=b"more")
        assert (refused.status_code, refused.headers["Retry-After"]) == (429, str(12 * 3600))
        assert kv.get(kv.value("one")).text == "more"
        kv.control("PUT", "clock", {"advance": "12h"})
        ok(kv.put(kv.value("two"), content=b"more"))


@pytest.mark.parametrize("status", [403, 502, 504, 524])
def test_pages_of_the_edge(kv: KvApi, status: int) -> None:
    """What comes from the edge is a page for people, without an envelope; nothing was done."""
    kv.control("PUT", "faults", {"spec": f"{status}:1"})
    answer = kv.put(kv.value("k"), content=b"v")
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "text/html; charset=UTF-8")
    assert answer.text.startswith("<!DOCTYPE html>")
    assert answer.headers["CF-RAY"].partition("-")[0] in answer.text
    kv.control("PUT", "faults", "")
    assert kv.keys() == []


@pytest.mark.parametrize(
    ("status", "code"), [(401, 10000), (500, 10001), (503, 10001), (413, 10001), (429, 971), (200, 971)]
)
def test_failures_in_the_envelope(kv: KvApi, status: int, code: int) -> None:
    """Other failures are JSON, also the one that hides under 200; 429 says how long to wait."""
    kv.control("PUT", "faults", {"spec": f"{status}:1"})
    answer = kv.put(kv.value("k"), content=b"v")
    assert error(answer)[:2] == (status, code)
    assert answer.headers.get("Retry-After") == ("1" if status == 429 else None)
    kv.control("PUT", "faults", "")
    assert kv.keys() == []


def test_the_wait_of_injected_throttling() -> None:
    """`retry-after` chooses what an injected 429 tells clients to wait."""
    with kv_emulator(switches={"retry-after": "0s"}, fault="429:1") as server, KvApi(server) as http:
        assert http.get(http.all).headers["Retry-After"] == "0"


def test_lost_answers(kv: KvApi) -> None:
    """A bulk write whose answer is lost, on the way or at the edge, was done."""
    kv.control("PUT", "faults", {"spec": "drop-after-write:1", "methods": ["PUT"]})
    with pytest.raises(httpx.TransportError):
        kv.write(a="1")
    kv.control("PUT", "faults", {"spec": "524-after-write:1", "methods": ["PUT"]})
    assert kv.put(kv.at("/bulk"), json=[{"key": "b", "value": "1"}]).status_code == 524
    assert kv.read("a", "b") == {"a": "1", "b": "1"}


def test_foreign_writers(kv: KvApi) -> None:
    """`foreign-write` changes a key just before it is written, or one of the keys of a batch before they are."""
    kv.control("PUT", "faults", {"spec": "foreign-write:1,429-after-write:1"})
    kv.put(kv.value("k"), content=b"ours")
    assert kv.read("k") == {"k": "ours"}
    kv.control("PUT", "faults", {"spec": "foreign-write:1,partial-bulk:1"})
    for _ in range(2):
        kv.put(kv.at("/bulk"), json=[{"key": "bad", "value": "v", "expiration_ttl": 1}])
    assert kv.keys() == ["k"]
    ok(kv.post(kv.at("/bulk/get"), json={"keys": ["k"]}))
    kv.control("PUT", "faults", {"spec": "foreign-write:1"})
    kv.delete(kv.value("k"))
    ok(kv.request("DELETE", kv.at("/bulk"), json=[]))
    assert kv.keys() == []


def test_a_foreign_write_in_the_middle_of_a_batch() -> None:
    """Where a key of a batch fails and is not written, the other writer's value is what stays."""
    switches = {"unsuccessful": "unwritten"}
    with kv_emulator(switches=switches, fault="foreign-write:1,partial-bulk:1") as server, KvApi(server) as kv:
        kv.use(kv.create("test"))
        kv.write(a="ours", b="ours")
        kv.control("PUT", "faults", "")
        (foreign,) = (value for value in kv.read("a", "b").values() if value is not None)
        assert foreign.startswith("written by another program")


def test_statistics_by_method_and_route(kv: KvApi) -> None:
    """Requests are counted by method and route, names taken out of it, the methods of one route apart."""
    kv.write(k="v")
    kv.read("k")
    kv.get(kv.value("a/b"))
    kv.get("/nowhere")
    root = "/accounts/{account_id}/storage/kv/namespaces"
    assert kv.control("GET", "stats")["routes"] == {
        f"POST {root}": 1,
        f"PUT {root}/{{namespace_id}}/bulk": 1,
        f"POST {root}/{{namespace_id}}/bulk/get": 1,
        f"GET {root}/{{namespace_id}}/values/{{key_name}}": 1,
        "GET other": 1,
    }


def test_a_killed_process_loses_nothing_it_answered(tmp_path: Path) -> None:
    """With `--data`, namespaces, values, metadata and ends survive SIGKILL, and what was deleted stays deleted."""
    folder = tmp_path / "data"
    with (
        process("--data", str(folder), type_=KV) as (child, ready),
        KvApi(Running(Options(KV), ready["url"], ready["env"])) as kv,
    ):
        kv.use(kv.create("test"))
        removed = kv.create("removed")
        pair = {"key": "k", "value": "AP8=", "base64": True, "metadata": {"a": 1}, "expiration_ttl": 3600}
        kv.write(pair, gone="v", kept="")
        before = kv.pages()
        ok(kv.delete(kv.value("gone")))
        ok(kv.delete(f"{kv.all}/{removed}"))
        namespace, account = kv.namespace, kv.account
        child.kill()
        child.wait(60)
    with kv_emulator(data=folder) as server, KvApi(server) as kv:
        assert kv.account == account
        assert [item["id"] for item in ok(kv.get(kv.all))] == [namespace]
        kv.use(namespace)
        (after,) = kv.pages()
        assert after["result"] == [key for key in before[0]["result"] if key["name"] != "gone"]
        assert kv.get(kv.value("k")).content == b"\x00\xff"
        kv.control("POST", "reset")
    with kv_emulator(data=folder) as server, KvApi(server) as kv:
        assert ok(kv.get(kv.all)) == []


@pytest.mark.parametrize(
    ("switches", "message"),
    [
        ({"rate": "many"}, "switch rate needs a number"),
        ({"rate": "5/soon"}, "not a duration"),
        ({"retry-after": "soon"}, "not a duration"),
        ({"bulk-timeout": "-1"}, "switch bulk-timeout needs a number"),
        ({"plan": "gold"}, "switch plan is one of paid, free"),
    ],
)
def test_wrong_switches_are_explained(switches: dict[str, Any], message: str) -> None:
    """An emulator that cannot be started as requested says why."""
    with pytest.raises(UsageError, match=message), kv_emulator(switches=switches):
        pass
