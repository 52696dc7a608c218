"""Listings: patterns, pages, orders, and pages that slide."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import product
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvsync.emulators import build
from kvsync.emulators.clock import VirtualClock
from kvsync.emulators.model import Emulator, Options, Parts, Request
from kvsync.emulators.storage import Storage
from kvsync.emulators.voximplant.settings import SWITCHES
from tests.emulators.conftest import vox_emulator, vox_with
from tests.emulators.vox_api import DELETE, ITEMS, KEYS, NOON, VoxApi

NAMES = st.text("ab:", min_size=1, max_size=4)


def test_pages(vox: VoxApi) -> None:
    """Ten entries without a count, never more than fifty, a short or empty page at the end; neither total nor cursor."""
    for number in range(60):
        vox.set(f"n:{number:02}", str(number))
    assert [item["value"] for item in vox.call(ITEMS, key="n")] == [str(number) for number in range(10)]
    assert [len(vox.call(ITEMS, key="n", count=50, offset=start)) for start in (0, 50, 60, 100)] == [50, 10, 0, 0]
    assert len(vox.call(KEYS, count=1_000)) == 50
    assert list(vox.ask(ITEMS, key="n").json()) == ["result"]


def test_what_listings_tell(vox: VoxApi) -> None:
    """Items carry value and end; keys the end alone."""
    vox.stop_at(NOON)
    vox.set("a:1", "v", ttl=60)
    assert vox.call(ITEMS, key="a") == [{"key": "a:1", "value": "v", "expires_at": NOON + 60}]
    assert vox.call(KEYS, key="a") == vox.call(KEYS) == [{"key": "a:1", "expires_at": NOON + 60}]


def test_wrong_pages_and_patterns(vox: VoxApi) -> None:
    """Items need a pattern, keys do not; patterns are spelt as keys are; counts and offsets are numbers that make sense."""
    assert vox.code(ITEMS) == 485
    assert vox.code(KEYS, key="a/b") == 496
    assert vox.code(KEYS, key="a" * 201) == 477
    assert [vox.code(KEYS, count=count) for count in ("0", "-1", "many")] == [497, 497, 496]
    assert [vox.code(KEYS, offset=offset) for offset in ("-1", "x")] == [496, 496]


def test_too_large_pages_are_refused() -> None:
    """Switch `count-limit=error`: more than fifty is 497, fifty is not."""
    with vox_with(count_limit="error") as vox:
        assert vox.code(KEYS, count=51) == 497
        assert vox.call(KEYS, count=50) == []


@pytest.mark.parametrize(
    ("match", "found"),
    [
        ("prefix", {"t": ["t", "t:1", "t:a:b", "tester:1"], "t:": ["t:1", "t:a:b"], "t:a": ["t:a:b"]}),
        ("namespace", {"t": ["t", "t:1", "t:a:b"], "t:": ["t", "t:1", "t:a:b"], "t:a": ["t:a:b"]}),
        ("strict", {"t": ["t", "t:1", "t:a:b"], "t:": [], "t:a": []}),
    ],
)
def test_patterns(match: str, found: dict[str, list[str]]) -> None:
    """Switch `match`: a pattern is a prefix, or a namespace of any depth, or what stands before the first colon."""
    with vox_with(match=match) as vox:
        for key in ("t", "t:1", "t:a:b", "tester:1", "other"):
            vox.set(key)
        assert {pattern: sorted(vox.keys(key=pattern)) for pattern in found} == found
        assert len(vox.keys()) == 5


@pytest.mark.parametrize(("order", "expected"), [("insertion", "cab"), ("written", "abc"), ("key", "abc")])
def test_orders(order: str, expected: str) -> None:
    """Switch `order`: that of the first write, of the last one, or of the keys; what is written again goes to the end."""
    with vox_with(order=order) as vox:
        for key in ("d", "c", "a", "b", "c"):
            vox.set(key)
        vox.call(DELETE, key="d")
        assert "".join(vox.keys()) == expected
        vox.set("c")
        vox.set("d")
        assert vox.keys()[-1] == "d"


def test_an_order_of_no_sense() -> None:
    """With `order=random` the seed decides, and it stays the same from page to page."""
    orders = []
    for seed in (1, 1, 2):
        with vox_emulator(switches={"order": "random"}, seed=seed) as server, VoxApi(server) as vox:
            for number in range(20):
                vox.set(f"{number:02}")
            orders.append(vox.keys(size=7))
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == sorted(orders[2]) == [f"{number:02}" for number in range(20)]
    assert orders[0] != sorted(orders[0])


def test_what_expires_slides(vox: VoxApi) -> None:
    """When an entry ends between two pages, those behind it move up, and one of them is on no page."""
    for number in range(6):
        vox.set(f"n:{number}")
    vox.control("PUT", "faults", {"page-expiry": 1, "times": 1})
    first, second = (vox.call(KEYS, key="n", count=3, offset=offset) for offset in (0, 3))
    assert [entry["key"] for entry in first + second] == ["n:0", "n:1", "n:2", "n:4", "n:5"]
    left = vox.keys()
    assert (len(left), "n:3" in left) == (5, True)


def test_what_is_written_slides() -> None:
    """When another writer adds an entry in front between two pages, one of those behind it is on both."""
    with vox_with(order="key") as vox:
        for number in range(4):
            vox.set(f"n:{number}")
        vox.control("PUT", "faults", {"page-write": 1, "times": 1})
        first, second = (vox.call(KEYS, key="n", count=2, offset=offset) for offset in (0, 2))
        assert [entry["key"] for entry in first + second] == ["n:0", "n:1", "n:1", "n:2"]
        assert vox.value("n:+foreign-1") == "written by another program (1)"


def test_only_pages_slide(vox: VoxApi) -> None:
    """Other requests use nothing of such faults up, and what cannot be listed does not slide."""
    vox.control("PUT", "faults", {"page-expiry": 1, "page-write": 1, "times": 2})
    vox.set("k")
    assert vox.value("k") == "v"
    assert vox.code(KEYS, count=0) == 497
    assert (vox.keys(), vox.keys()) == (["k"], ["+foreign-1"])


@pytest.fixture(scope="module")
def bare() -> Iterator[dict[tuple[str, str], Emulator]]:
    """Emulators without a server around them, by order and match."""
    emulators = {}
    for order, match in product(SWITCHES["order"], ("prefix", "namespace")):
        options = Options("voximplant", anonymous=True, switches={"order": order, "match": match})
        emulators[order, match] = build("voximplant", Parts(options, VirtualClock(), Storage(), Random(0)))
    yield emulators
    for emulator in emulators.values():
        emulator.close()


def ask(emulator: Emulator, target: str) -> list[str]:
    """The keys in an answer."""
    answer = json.loads(emulator.answer(Request("GET", f"/platform_api/{target}&application_id=1", {})).body)
    result = answer["result"]
    return [entry["key"] for entry in result] if isinstance(result, list) else []


@given(
    order=st.sampled_from(SWITCHES["order"]),
    match=st.sampled_from(("prefix", "namespace")),
    names=st.lists(NAMES, max_size=20),
    pattern=st.text("ab", min_size=1, max_size=2),
    size=st.integers(1, 8),
)
def test_pages_together_are_the_listing(
    bare: dict[tuple[str, str], Emulator], order: str, match: str, names: list[str], pattern: str, size: int
) -> None:
    """Whatever order, match and size of pages: read until one is short, they hold every entry once."""
    emulator = bare[order, match]
    emulator.reset()
    for name in names:
        ask(emulator, f"SetKeyValueItem?key={name}&value=v")
    found: list[str] = []
    page = None
    while page is None or len(page) == size:
        page = ask(emulator, f"GetKeyValueItems?key={pattern}&count={size}&offset={len(found)}")
        found += page
    wanted = {name for name in names if name.startswith(pattern)}
    if match == "namespace":
        wanted = {name for name in wanted if f"{name}:".startswith(f"{pattern}:")}
    assert sorted(found) == sorted(wanted)
