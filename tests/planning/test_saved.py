"""A saved plan comes back, and only what is still the same is applied."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from kvsync.errors import InvalidInput, Problem
from kvsync.model.change import Action, Change, Class, OutcomeKind, Refusal
from kvsync.model.entry import Identity, Mark, Target
from kvsync.model.place import Place
from kvsync.model.plan import Plan
from kvsync.rendering.json import render_plan
from kvsync.rendering.plan_selection import PlanSelection, select
from kvsync.rendering.saved_plan import load, mismatch, save
from tests.planning.plans import (
    OWNER,
    TARGET,
    change,
    configured,
    other_seal,
    plan,
    plan_of,
    seal,
    stored,
    target_plan,
    wanted,
)

CREATE = change(None, wanted("a", "v", ttl=60))
UPDATE = change(stored("b", "old"), wanted("b", "new"))
DELETE = change(stored("c", "v", "prod"), None, moved_to=Identity("a"))
SECRET = change(stored("d", "old"), wanted("d", "secret", sensitive=True))
BARE = change(stored("e", "old", etag=None), wanted("e", "new"))
ALL = (CREATE, UPDATE, DELETE, SECRET, BARE)
SAVED = save(plan_of(*ALL), seal, "prod")


def selection(fresh: Plan, text: str = SAVED, sealed: Callable[[bytes], str] = seal) -> PlanSelection:
    return select(load(text), fresh, sealed, configured)[TARGET]


def damaged(**parts: Any) -> str:
    return json.dumps({**json.loads(SAVED), **parts})


def test_nothing_moved() -> None:
    """When the same plan results, all of it is applied."""
    assert selection(plan_of(*ALL)) == PlanSelection(ALL)


RESOLVED = Place("memory", (("id", "1"),), detail="as it was called then")
OTHER = Place("memory", (("id", "2"),))


def at(place: Place | None) -> Plan:
    return plan(target_plan(CREATE, place=place))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (RESOLVED, replace(RESOLVED, detail="renamed")),
        (configured(TARGET), configured(TARGET)),
        (configured(TARGET), OTHER),
    ],
)
def test_the_same_place(old: Place, new: Place) -> None:
    """A place is the same by its id, whatever it is called; one that was not there yet may have been made since."""
    assert selection(at(new), save(at(old), seal, "prod")) == PlanSelection((CREATE,))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (RESOLVED, OTHER),
        (RESOLVED, configured(TARGET)),
        (replace(configured(TARGET), parts=(("name", "twin"),)), configured(TARGET)),
        (replace(configured(TARGET), parts=(("name", "twin"),)), RESOLVED),
        (None, RESOLVED),
    ],
)
def test_another_place(old: Place | None, new: Place) -> None:
    """All that was saved for another place, or for one that the file does not name, is stale."""
    chosen = selection(at(new), save(at(old), seal, "prod"))
    assert chosen.changes == ()
    assert [one.identity for one in chosen.stale] == [CREATE.identity]


@given(st.permutations(ALL), st.integers(0, len(ALL)))
def test_split(changes: list[Change], kept: int) -> None:
    """Every saved change is either applied or stale, and a fresh change that was not saved is never applied."""
    added = change(None, wanted("z", "v"))
    chosen = selection(plan_of(*changes[:kept], added))
    assert set(chosen.changes) == set(changes[:kept])
    assert {one.identity for one in chosen.stale} == {one.identity for one in changes[kept:]}


@pytest.mark.parametrize(
    ("fresh", "reason"),
    [
        (replace(UPDATE, action=Action.ADOPT), "the new plan would adopt it, the saved plan would update it"),
        (replace(UPDATE, before=stored("b", "x", etag="etag-2")), "it changed in the store after the plan was saved"),
        (
            change(stored("b", "old"), wanted("b", "newer")),
            "the files changed after the plan was saved",
        ),
        (
            change(stored("b", "old"), wanted("b", "new", ttl=9)),
            "the files changed after the plan was saved",
        ),
        (replace(DELETE, moved_to=None), "the files changed after the plan was saved"),
        (
            change(stored("e", "moved", etag=None), wanted("e", "new")),
            "it changed in the store after the plan was saved",
        ),
        (
            change(stored("d", "old"), wanted("d", "other", sensitive=True)),
            "the files changed after the plan was saved",
        ),
    ],
)
def test_stale(fresh: Change, reason: str) -> None:
    """An entry whose action, version, content or lifetime is another one now comes back as stale, and the others go on."""
    others = [one for one in ALL if one.identity != fresh.identity]
    chosen = selection(plan_of(*others, fresh))
    assert set(chosen.changes) == set(others)
    (stale,) = chosen.stale
    assert (stale.identity, stale.kind, stale.error) == (fresh.identity, OutcomeKind.STALE, reason)


@pytest.mark.parametrize(
    "fresh",
    [
        replace(UPDATE, cause=Class.DRIFTED),
        replace(UPDATE, before=stored("b", "old", content=None, size=3)),
        replace(UPDATE, before=stored("b", "old", expires_at=7.0, mark=Mark(OWNER, b"", ttl=9))),
        replace(UPDATE, reasons=("value", "tags")),
    ],
)
def test_still_the_same(fresh: Change) -> None:
    """The same version, to be brought to the same state, is the same change, however it was come by."""
    assert fresh in selection(plan_of(fresh)).changes


def test_gone() -> None:
    """A change that no longer results says why: nothing to do, refused, target broken, or target gone."""
    reasons = {one.error for one in selection(plan_of()).stale}
    assert reasons == {"it no longer needs a change"}
    refused = target_plan(refused=[Refusal(Identity("b"), Class.LOCKED, Action.UPDATE, "locked")])
    assert "it would be refused now: locked" in {one.error for one in selection(plan(refused)).stale}
    for broken in (target_plan(error="down"), target_plan(problems=(Problem("down"),))):
        assert {one.error for one in selection(plan(broken)).stale} == {"its target cannot be planned now: down"}
    other = target_plan(target=Target("x", "y"))
    assert {one.error for one in selection(plan(other)).stale} == {"its target is no longer part of the plan"}


def test_another_key() -> None:
    """With another state directory's key sensitive values cannot be compared: those are stale, the others are not."""
    chosen = selection(plan_of(*ALL), sealed=other_seal)
    (stale,) = chosen.stale
    assert stale.identity == SECRET.identity
    assert stale.error is not None
    assert "another state directory" in stale.error
    assert len(chosen.changes) == len(ALL) - 1


def test_facts() -> None:
    """A saved plan remembers whose it is, for which environment, and its digest."""
    saved = load(SAVED)
    assert (saved.owner, saved.environment, saved.digest) == (OWNER, "prod", plan_of(*ALL).digest)
    assert mismatch(saved, OWNER, "prod") is None
    assert (
        mismatch(saved, "them", "prod") == "the plan was saved for owner 'shop', but the configuration has owner 'them'"
    )
    assert (
        mismatch(saved, OWNER, None)
        == "the plan was saved for environment 'prod', but kvsync is running with no environment"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "f.json:1:1: is not valid JSON; the file may be truncated"),
        ("[" * 100_000, "f.json:1:1: is not valid JSON"),
        ("[]", "it has no schema"),
        ("{}", "it has no schema"),
        (damaged(schema="kvsync.plan/2"), "its schema is 'kvsync.plan/2', expected 'kvsync.plan/1'"),
        (render_plan(plan_of(*ALL), seal), "is the output of plan -o json"),
        (damaged(targets=None), "is damaged"),
        (damaged(targets=[{}]), "is damaged"),
        (damaged(owner=7), "is damaged"),
        (damaged(targets=json.loads(SAVED)["targets"] * 2), "is damaged"),
    ],
)
def test_refused_files(text: str, message: str) -> None:
    """A file that is not a saved plan of this version is refused with its place, what is wrong, and what to do."""
    with pytest.raises(InvalidInput) as refused:
        load(text, "f.json")
    assert message in str(refused.value)
    assert "(create a new one with kvsync plan --out FILE)" in str(refused.value)


def test_every_prefix() -> None:
    """A plan file that was cut short anywhere is refused."""
    text = save(plan_of(UPDATE), seal, None).rstrip()
    for end in range(len(text)):
        with pytest.raises(InvalidInput):
            load(text[:end])


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_nonsense(nonsense: Any) -> None:
    """Whatever stands where changes should be, the file is refused, or read, but never a surprise."""
    document = json.loads(SAVED)
    document["targets"][0]["changes"][0] = nonsense
    with pytest.raises(InvalidInput):
        load(json.dumps(document))


def test_repeated_changes() -> None:
    """A file in which someone repeated a change is refused, so nothing is ever applied twice."""
    document = json.loads(SAVED)
    document["targets"][0]["changes"] *= 2
    with pytest.raises(InvalidInput):
        load(json.dumps(document))


def leaves(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all that is not a container, and of empty ones."""
    members = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    found = [leaf for name, member in members for leaf in leaves(member, (*path, name))]
    return found or [path]


PATHS = leaves(json.loads(SAVED))


def test_a_file_as_it_was_saved() -> None:
    """An untouched file is not altered, also when it was laid out again."""
    assert load(SAVED).is_comparable(seal)
    assert not load(SAVED).is_altered(seal)
    assert not load(json.dumps(json.loads(SAVED), indent=2, sort_keys=True)).is_altered(seal)


@given(path=st.sampled_from(PATHS), value=st.none() | st.booleans() | st.integers(0, 9) | st.text(max_size=3))
def test_any_alteration_is_seen(path: tuple[Any, ...], value: Any) -> None:
    """Whatever part of a saved plan is changed, also one that nothing is applied by, such as a summary that people read: the
    file is damaged, of another key, or altered."""
    document = json.loads(SAVED)
    parent = document
    for name in path[:-1]:
        parent = parent[name]
    assume(parent[path[-1]] != value or type(parent[path[-1]]) is not type(value))
    parent[path[-1]] = value
    try:
        plan_ = load(json.dumps(document))
    except InvalidInput:
        return
    assert not plan_.is_comparable(seal) or plan_.is_altered(seal)


@pytest.mark.parametrize("added", [{"note": 1}, {"signature": None}, {"signature": "0" * 32}])
def test_additions_and_lost_signatures_are_seen(added: dict[str, Any]) -> None:
    """A member more, or a signature less, is an alteration too."""
    document = json.loads(SAVED)
    assert load(json.dumps({**document, **added})).is_altered(seal)
    document.pop("signature")
    assert load(json.dumps(document)).is_altered(seal)


def test_a_member_twice() -> None:
    """Of a member that is there twice, one reader takes the first and another the last: the file is refused."""
    with pytest.raises(InvalidInput, match="an object contains the same member twice"):
        load(SAVED.replace('"owner": ', '"owner": "mine", "owner": ', 1))


def test_another_key_cannot_tell() -> None:
    """With another key nothing is known of alterations."""
    assert not load(SAVED).is_comparable(other_seal)
