"""Places that meet, and the groups of targets whose keys could be the same."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvsync.model.entry import Target
from kvsync.model.key_format import KeyFormat
from kvsync.model.place import KeyScope, Place, groups_of, overlap_text, overlaps


def places(template: str, *namespaces: str, store: str = "edge", container: str = "1") -> dict[Target, Place]:
    keys = KeyFormat(template, native_labels=True)
    parts = (("host", container),)
    return {Target(store, name): Place("kind", parts, keys.scope(name)) for name in namespaces}


def grouped(found: Mapping[Target, Place]) -> list[list[str]]:
    return [[str(target) for target in group] for group in groups_of(found)]


@pytest.mark.parametrize(
    ("template", "groups"),
    [
        ("{namespace}:{key}", [["edge/app", "edge/app:sub", "edge/app:sub:x", "edge/app:two"]]),
        ("a/{namespace}:{key}/z", [["edge/app", "edge/app:sub", "edge/app:sub:x", "edge/app:two"]]),
        ("{key}@{namespace}", []),
        ("{label}/{namespace}/{key}", [["edge/app", "edge/app:sub", "edge/app:sub:x", "edge/app:two", "edge/apple"]]),
    ],
)
def test_groups_are_those_whose_keys_could_meet(template: str, groups: list[list[str]]) -> None:
    """By the key format: one prefix within another, or a namespace in the middle, which both sides could hold too."""
    assert grouped(places(template, "app", "app:sub", "app:sub:x", "app:two", "apple")) == groups


def test_suffixes_meet_as_prefixes_do() -> None:
    """Where the namespace stands last, one is a part of another by its end."""
    found = places("{key}.{namespace}", "com", "shop.com", "a.shop.com", "org", "shop.org", "xcom")
    assert grouped(found) == [["edge/a.shop.com", "edge/com", "edge/shop.com"], ["edge/org", "edge/shop.org"]]


def test_stores_meet_in_one_container_alone() -> None:
    """Two stores of one container meet, whatever their key formats; those of different containers never do."""
    one, two = places("{namespace}:{key}", "app", store="one"), places("{key}", "all", store="two")
    assert grouped(one | two) == [["one/app", "two/all"]]
    elsewhere = places("{key}", "all", store="two", container="2")
    assert grouped(one | elsewhere) == []


def test_namespaces_in_the_middle_are_places_of_their_own() -> None:
    """Namespaces that neither prefix nor suffix holds have a place each: knowledge of one is not that of the other."""
    found = places("{label}/{namespace}/{key}", "app", "web")
    assert len({place.key for place in found.values()}) == 2
    assert [overlap.is_equal for overlap in overlaps(found)] == [False]
    assert "namespace app" in str(found[Target("edge", "app")])


short = st.text("ab:", max_size=4)


@given(st.lists(st.tuples(short, short), unique=True, max_size=8), st.booleans())
def test_no_two_groups_meet(scopes: list[tuple[str, str]], has_suffixes: bool) -> None:
    """Whatever the prefixes, or the suffixes under one prefix, targets that meet are in one group."""
    found = {
        Target("edge", f"{number}"): Place("kind", (), KeyScope("", *(("", one) if has_suffixes else (one, ""))))
        for number, (one, _) in enumerate(scopes)
    }
    group_of = {target: number for number, group in enumerate(groups_of(found)) for target in group}
    for first, second in itertools.combinations(found, 2):
        if found[first].scope.meets(found[second].scope):
            assert first in group_of
            assert group_of[first] == group_of[second]


@pytest.mark.parametrize("template", ["{namespace}:{key}", "{key}.{namespace}", "{label}/{namespace}/{key}"])
def test_many_namespaces_are_not_compared_with_each_other(template: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Finding the groups of N targets takes about N comparisons, not N times N."""
    calls = 0
    compared = KeyScope.meets

    def counting(self: KeyScope, other: KeyScope) -> bool:
        nonlocal calls
        calls += 1
        return compared(self, other)

    monkeypatch.setattr(KeyScope, "meets", counting)
    groups_of(places(template, *(f"namespace-{number}" for number in range(500))))
    assert calls <= 500


def test_a_ledger_takes_the_whole_container() -> None:
    """A target that keeps its ledger in the container meets every other one there, and its place is the same as without it."""
    local, other = places("a-{key}", "app", store="one"), places("b-{key}", "app", store="two")
    assert overlaps(local | other) == []
    shared = {target: replace(place, takes_all=True) for target, place in local.items()}
    (overlap,) = overlaps(shared | other)
    assert "set ledger: local and different key prefixes" in overlap_text(overlap, {})
    assert [place.key for place in shared.values()] == [place.key for place in local.values()]
