"""Listing keys: pages, prefixes, cursors, gaps, late reads."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.emulators.conftest import kv_emulator
from tests.emulators.kv_api import KvApi, error, ok
from tests.support.examples import examples

KEYS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=6).filter(lambda key: key not in (".", ".."))


def fill(kv: KvApi, count: int) -> list[str]:
    """Write so many keys; their names in order."""
    names = [f"k{number:05}" for number in range(count)]
    for start in range(0, count, 10_000):
        kv.write(**dict.fromkeys(names[start : start + 10_000], "v"))
    return names


def test_25_000_keys(kv: KvApi) -> None:
    """A large namespace is 25 pages of 1,000, each key once and in order; only the last page has no cursor."""
    names = fill(kv, 25_000)
    kv.control("POST", "reset", {"only": ["stats"]})
    pages = kv.pages()
    assert [key["name"] for page in pages for key in page["result"]] == names
    assert {page["result_info"]["count"] for page in pages} == {1_000}
    assert kv.control("GET", "stats")["requests"] == len(pages) == 25


@settings(max_examples=examples(15), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(keys=st.sets(KEYS, min_size=1, max_size=40), prefix=st.text("ab/é", max_size=2))
def test_the_order_is_that_of_bytes(kv: KvApi, keys: set[str], prefix: str) -> None:
    """Keys come in the order of their UTF-8 bytes, over pages of any size, with a prefix or without."""
    kv.control("POST", "reset", {"only": ["data"]})
    kv.use(kv.create("test"))
    kv.write(*({"key": key, "value": ""} for key in keys))
    expected = sorted((key for key in keys if key.startswith(prefix)), key=str.encode)
    assert kv.keys(prefix=prefix) == kv.keys(prefix=prefix, limit=10) == expected


def test_fields(kv: KvApi) -> None:
    """A key shows its name, and its end and its metadata if it has them, as they were given; never its value."""
    metadata = {"b": 1, "a": [None, "é", 1.5]}
    kv.write({"key": "k", "value": "v", "metadata": metadata}, plain="v")
    assert kv.pages()[0]["result"] == [{"name": "k", "metadata": metadata}, {"name": "plain"}]
    assert '"b":1,"a"' in kv.get(kv.at("/keys")).text


@pytest.mark.parametrize(
    "wrong", [{"limit": "9"}, {"limit": "1001"}, {"limit": "x"}, {"cursor": "x"}, {"cursor": "bnVsbA"}]
)
def test_requests_that_are_refused(kv: KvApi, wrong: dict[str, str]) -> None:
    """A limit out of range and a cursor that nobody gave are refused; so is one of another namespace."""
    assert error(kv.get(kv.at("/keys"), params=wrong))[0] == 400
    fill(kv, 11)
    cursor = kv.get(kv.at("/keys"), params={"limit": 10}).json()["result_info"]["cursor"]
    kv.use(kv.create("other"))
    assert error(kv.get(kv.at("/keys"), params={"cursor": cursor}))[0] == 400
    assert error(kv.get(kv.at("/keys"), params={"prefix": "x" * 513}))[0] == 414


def test_a_cursor_outlives_its_key(kv: KvApi) -> None:
    """A cursor represents a place between keys: what is deleted or added around it changes nothing else."""
    names = fill(kv, 25)
    first = kv.get(kv.at("/keys"), params={"limit": 10}).json()
    ok(kv.post(kv.at("/bulk/delete"), json=names[5:12]))
    kv.write(k00002x="before", k00015x="after")
    rest = kv.get(kv.at("/keys"), params={"cursor": first["result_info"]["cursor"]}).json()["result"]
    assert [key["name"] for key in rest] == [*names[12:16], "k00015x", *names[16:]]


def test_the_prefix_is_repeated_by_the_client(kv: KvApi) -> None:
    """A cursor holds no prefix: who does not repeat it gets what is behind."""
    kv.write(**dict.fromkeys([f"a{number:02}" for number in range(12)] + ["b"], "v"))
    cursor = kv.get(kv.at("/keys"), params={"limit": 10, "prefix": "a"}).json()["result_info"]["cursor"]
    rest = kv.get(kv.at("/keys"), params={"limit": 10, "cursor": cursor}).json()["result"]
    assert [key["name"] for key in rest] == ["a10", "a11", "b"]


def test_empty_pages_with_a_cursor() -> None:
    """With `empty-pages`, keys that were deleted or have ended take up room: an empty page is not the end."""
    with kv_emulator(switches={"empty-pages": "on"}) as server, KvApi(server) as kv:
        kv.use(kv.create("test"))
        names = fill(kv, 30)
        kv.write(*({"key": name, "value": "", "expiration_ttl": 60} for name in names[20:25]))
        ok(kv.post(kv.at("/bulk/delete"), json=names[10:20]))
        kv.control("PUT", "clock", {"advance": "61s"})
        pages = kv.pages(limit=10)
        assert [page["result_info"]["count"] for page in pages] == [10, 0, 5, 0]
        assert [key["name"] for page in pages for key in page["result"]] == names[:10] + names[25:]
        kv.control("PUT", "clock", {"advance": "1h"})
        kv.write(new="v")
        assert [page["result_info"]["count"] for page in kv.pages(limit=10)] == [10, 6]


def test_late_reads(kv: KvApi) -> None:
    """With `stale-read` all reads show the state of a while ago, missing keys included; the writes are there in time."""
    kv.control("PUT", "clock", {"now": 1_766_577_600, "frozen": True})
    kv.write(old="1", gone="1")
    kv.control("PUT", "clock", {"advance": "1m"})
    kv.write(old="2", new="2")
    kv.write(old="3")
    ok(kv.delete(kv.value("gone")))

    def seen() -> dict[str, Any]:
        single = {key: kv.get(kv.value(key)).text for key in ("old", "gone", "new") if kv.get(kv.value(key)).is_success}
        bulk = {key: value for key, value in kv.read("old", "gone", "new").items() if value is not None}
        assert single == bulk
        assert kv.keys() == sorted(bulk)
        return bulk

    kv.control("PUT", "faults", {"spec": "stale-read:30s"})
    assert seen() == {"old": "1", "gone": "1"}
    kv.control("PUT", "clock", {"advance": "29s"})
    assert seen() == {"old": "1", "gone": "1"}
    kv.control("PUT", "clock", {"advance": "1s"})
    assert seen() == {"old": "3", "new": "2"}
    kv.control("PUT", "faults", {"spec": "stale-read:40s"})
    assert seen() == {"old": "1", "gone": "1"}
    kv.control("PUT", "faults", "")
    assert seen() == {"old": "3", "new": "2"}
