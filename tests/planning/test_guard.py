"""The guard parks what is more likely a mistake than a request."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvsync.model.change import Action, Change
from kvsync.model.entry import Identity, Mode
from kvsync.model.policy import Guard
from kvsync.planning.guard import check
from tests.planning.plans import change, stored, wanted

GUARD = Guard(max_delete_pct=30, max_update_pct=50, min_existing=10, max_deletes=1000)
LOOSE = Guard(max_delete_pct=100, max_update_pct=100, max_deletes=5)


def deletes(count: int) -> list[Change]:
    return [change(stored(f"key{number}", "v"), None) for number in range(count)]


def updates(count: int) -> list[Change]:
    return [change(stored(f"key{number}", "v"), wanted(f"key{number}", "w")) for number in range(count)]


def reasons(
    changes: list[Change],
    guard: Guard = GUARD,
    *,
    owned: int = 30,
    desired: int = 30,
    complete: bool = True,
    problems: tuple[str, ...] = (),
) -> tuple[str, ...]:
    entries = {one.after.identity: one.after for one in changes if one.after is not None}
    entries |= {Identity(f"key{number}"): wanted(f"key{number}", "v") for number in range(desired - len(entries))}
    return check(changes, guard, owned, entries, complete, problems)


@pytest.mark.parametrize(
    ("changes", "owned", "expected"),
    [
        (deletes(9), 30, ()),
        (deletes(10), 30, ("would delete 10 of 30 entries (33.3 %); the limit is 30 % (guard.max_delete_pct)",)),
        (deletes(12), 30, ("would delete 12 of 30 entries (40 %); the limit is 30 % (guard.max_delete_pct)",)),
        (updates(15), 30, ()),
        (updates(16), 30, ("would update 16 of 30 entries (53.3 %); the limit is 50 % (guard.max_update_pct)",)),
        (deletes(9), 9, ()),
        (deletes(10), 10, ("would delete 10 of 10 entries (100 %); the limit is 30 % (guard.max_delete_pct)",)),
        (updates(9), 9, ()),
    ],
)
def test_shares(changes: list[Change], owned: int, expected: tuple[str, ...]) -> None:
    """A share of deletes or updates above its limit parks, the limit itself does not, nor do few existing entries."""
    assert reasons(changes, owned=owned) == expected


def test_max_deletes() -> None:
    """More deletes than max_deletes park, however large the target is."""
    assert reasons(deletes(5), LOOSE, owned=10**6) == ()
    assert reasons(deletes(6), LOOSE, owned=10**6) == ("would delete 6 entries; the limit is 5 (guard.max_deletes)",)


def test_empty_target() -> None:
    """A target for which the files ask nothing is parked before it deletes anything, even a single entry."""
    assert reasons(deletes(1), owned=1, desired=1) == ()
    (reason,) = reasons(deletes(1), owned=1, desired=0)
    assert reason == "would delete 1 entry because the files ask for none (an empty target)"


def test_incomplete_listing() -> None:
    """After an incomplete listing every change is withheld, and the reason says what went wrong; no change needs no release."""
    (reason,) = reasons(updates(1), complete=False, problems=("page 2 of 3 failed",))
    assert reason == "the listing of the store is incomplete: page 2 of 3 failed; 1 change is withheld"
    assert reasons(updates(1), complete=False) == ("the listing of the store is incomplete; 1 change is withheld",)
    assert reasons([], complete=False, problems=("page 2 of 3 failed",)) == ()


def test_problems_of_a_complete_listing() -> None:
    """What a store remarks about a complete listing parks nothing."""
    assert reasons(updates(1), complete=True, problems=("slow",)) == ()


def moves(count: int, value: str = "v", *, written: bool = True) -> list[Change]:
    """So many keys with the value `v` whose new names have `value`, and the creates of these."""
    ends = [change(stored(f"old{number}", "v"), None, moved_to=Identity(f"key{number}")) for number in range(count)]
    return ends + [change(None, wanted(f"key{number}", value)) for number in range(count) if written]


def test_moves_do_not_count() -> None:
    """The delete that is half of a move is not a loss, so it does not count, whether or not the new name is there already."""
    for moved in (moves(30), moves(30, written=False)):
        assert reasons(moved) == ()
    apart = [change(stored(f"more{number}", "v"), None) for number in range(10)]
    assert reasons([*moves(30), *apart]) == reasons(deletes(10))


@pytest.mark.parametrize("action", [Action.CREATE, Action.UPDATE, None])
def test_a_move_to_another_content_is_a_delete(action: Action | None) -> None:
    """A move is not a way round the guard: where the content does not live on it counts."""
    moved = moves(30, "junk", written=action is not None)
    if action is None:
        moved = [replace(one, before=stored(one.identity.key, "other")) for one in moved]
    if action is Action.UPDATE:
        moved = [replace(one, action=action) if one.after else one for one in moved]
    assert "would delete 30 of 30 entries (100 %); the limit is 30 % (guard.max_delete_pct)" in reasons(moved)


def test_a_move_onto_another_entry_is_a_delete() -> None:
    """One of two contents is lost where the new name held another one, or where its mode lets it hold anything."""
    onto = [replace(one, action=Action.UPDATE, before=stored("x", "y")) if one.after else one for one in moves(14)]
    assert "would delete 14 of 30" in reasons(onto)[0]
    kept = wanted("key0", "v", mode=Mode.CREATE_ONLY)
    (moved,) = moves(1, written=False)
    assert check([moved], replace(LOOSE, max_deletes=0), 1, {kept.identity: kept}, True, ()) != ()


def test_only_updates_and_deletes_count() -> None:
    """Creating, adopting and renewing never park."""
    harmless = [change(None, wanted(f"new{number}", "v")) for number in range(50)]
    for action in (Action.RENEW, Action.ADOPT):
        harmless += [
            change(stored(f"{action}{number}", "v"), wanted(f"{action}{number}", "v"), action=action)
            for number in range(50)
        ]
    assert reasons(harmless) == ()


def test_entries_that_are_not_ours() -> None:
    """Deleting many entries of which we own few (prune: scope) is measured by what would go, so it parks too."""
    assert reasons(deletes(40), owned=2) == (
        "would delete 40 of 40 entries (100 %); the limit is 30 % (guard.max_delete_pct)",
    )


@given(st.integers(0, 200), st.integers(0, 200), st.integers(0, 100))
def test_more_deletes_are_never_safer(count: int, owned: int, limit: int) -> None:
    """When a plan is parked for its deletes, the plan with one delete more is parked as well."""
    guard = Guard(max_delete_pct=limit, min_existing=10)
    if reasons(deletes(count), guard, owned=max(owned, count)):
        assert reasons(deletes(count + 1), guard, owned=max(owned, count + 1))


def test_moves_to_one_name_count() -> None:
    """A move is not a delete, but of several keys that are moved to one name all but one are deletes: it is not a way round."""
    assert reasons(moves(6), LOOSE, owned=10**6) == ()
    to_one = [replace(one, moved_to=Identity("key0")) for one in deletes(7)]
    assert reasons(to_one, LOOSE, owned=10**6) == ("would delete 6 entries; the limit is 5 (guard.max_deletes)",)
