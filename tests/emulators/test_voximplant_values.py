"""One key: what it takes, how long it lasts, what is answered; and every switch about it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.emulators.conftest import vox_with
from tests.emulators.vox_api import DAY, DELETE, GET, NOON, SET, VoxApi, error


def test_set_get_delete(vox: VoxApi) -> None:
    """An item is set, got and deleted; deleting gives 1."""
    vox.stop_at(NOON)
    item = {"key": "test:1", "value": "один & two=2", "expires_at": NOON + 60}
    assert vox.set("test:1", "один & two=2", ttl=60) == item
    assert vox.call(GET, key="test:1") == item
    assert vox.call(DELETE, key="test:1") == 1
    assert vox.code(GET, key="test:1") == 341


@pytest.mark.parametrize("key", ["k" * 200, "аяАЯёЁ", "A-z_0:;.#+", ".", ".."])
def test_keys(vox: VoxApi, key: str) -> None:
    """Keys have up to 200 characters, Latin and Cyrillic letters, digits, and some signs."""
    vox.set(key)
    assert vox.keys() == [key]


@pytest.mark.parametrize(
    ("key", "code"), [("", 485), ("k" * 201, 477), *((f"a{sign}b", 496) for sign in "/@= ()!'%é,")]
)
def test_keys_that_are_refused(vox: VoxApi, key: str, code: int) -> None:
    """A missing, a long and a misspelt key are distinguished, by every method."""
    for method in (SET, GET, DELETE):
        assert vox.code(method, key=key, value="v") == code
    assert vox.keys() == []


def test_values(vox: VoxApi) -> None:
    """Values have up to 2,000 characters, whatever their bytes; an empty one is a value, a missing one is not."""
    for value in ("", "🎉" * 2_000, "\x00\r\n\t"):
        vox.set("k", value)
        assert vox.value("k") == value
    assert error(vox.ask(SET, key="k", value="v" * 2_001)) == (
        200,
        477,
        "The 'value' parameter length must not exceed 2000 symbols.",
    )
    assert vox.code(SET, key="k") == 485


def test_nothing_lives_forever(vox: VoxApi) -> None:
    """Without an end it is 30 days; at its end a key is gone, to the second, from Get, Del and lists."""
    vox.stop_at(NOON)
    ends = {"usual": vox.set("usual"), "longest": vox.set("longest", ttl=90 * DAY)}
    ends["moment"] = vox.set("moment", expires_at=NOON + 31 * DAY)
    assert {key: (item["expires_at"] - NOON) // DAY for key, item in ends.items()} == {
        "usual": 30,
        "longest": 90,
        "moment": 31,
    }
    for day, left in ((30, {"longest", "moment"}), (31, {"longest"}), (90, set[str]())):
        vox.stop_at(NOON + day * DAY - 1)
        assert set(vox.keys()) > left
        vox.stop_at(NOON + day * DAY)
        assert set(vox.keys()) == left
        assert {key for key in ends if vox.value(key)} == left
    assert vox.code(DELETE, key="longest") == 341


def test_a_renewal(vox: VoxApi) -> None:
    """Setting an equal value moves the end, later or sooner."""
    vox.stop_at(NOON)
    vox.set("k", ttl=DAY)
    for ttl in (90 * DAY, 60):
        vox.set("k", ttl=ttl)
        assert vox.call(GET, key="k")["expires_at"] == NOON + ttl


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({"ttl": -1}, 497),
        ({"ttl": "soon"}, 496),
        ({"ttl": "1.5"}, 496),
        ({"expires_at": NOON}, 497),
        ({"expires_at": "never"}, 496),
        ({"ttl": 60, "expires_at": NOON + 60}, 458),
    ],
)
def test_wrong_ends(vox: VoxApi, parameters: dict[str, Any], code: int) -> None:
    """An end that is not a number, or is past, and two ends, are refused, and nothing is written."""
    vox.stop_at(NOON)
    assert vox.code(SET, key="k", value="v", **parameters) == code
    assert vox.keys() == []


def life(**parameters: Any) -> dict[str, Any]:
    """Parameters of a Set."""
    return {"key": "k", "value": "v"} | parameters


@pytest.mark.parametrize(
    ("switches", "parameters", "expected"),
    [
        ({}, {"ttl": 91 * DAY}, 90 * DAY),
        ({}, {"expires_at": NOON + 91 * DAY}, 90 * DAY),
        ({"ttl_limit": "error"}, {"ttl": 91 * DAY}, 497),
        ({"ttl_limit": "error"}, {"expires_at": NOON + 91 * DAY}, 497),
        ({"ttl_limit": "error"}, {"ttl": 90 * DAY}, 90 * DAY),
        ({}, {"ttl": 0}, 30 * DAY),
        ({"ttl_zero": "error"}, {"ttl": 0}, 497),
        ({"ttl_zero": "ended"}, {"ttl": 0}, None),
        ({"both_ends": "ttl"}, {"ttl": 60, "expires_at": NOON + 70}, 60),
        ({"both_ends": "expires_at"}, {"ttl": 60, "expires_at": NOON + 70}, 70),
    ],
)
def test_what_is_open_about_ends(switches: dict[str, str], parameters: dict[str, Any], expected: int | None) -> None:
    """Switches: an end too late, a TTL of 0, and two ends are refused (497), or mean one thing or the other."""
    with vox_with(**switches) as vox:
        vox.stop_at(NOON)
        if expected == 497:
            assert vox.code(SET, **life(**parameters)) == 497
        else:
            vox.call(SET, **life(**parameters))
        found = [entry["expires_at"] - NOON for entry in vox.all()]
        assert found == ([] if expected in (None, 497) else [expected])


def test_empty_values_off() -> None:
    """With `empty-value=off` an empty value is refused."""
    with vox_with(empty_value="off") as vox:
        assert vox.code(SET, key="k", value="") == 134


@pytest.mark.parametrize(
    ("choice", "document"), [("null", {"result": None}), ("absent", {}), ("error", {"error": {"code": 341}})]
)
def test_a_missing_key(choice: str, document: dict[str, Any]) -> None:
    """Switch `missing`: an error, null, or no result at all."""
    with vox_with(missing=choice) as vox:
        found = vox.ask(GET, key="k").json()
        found.get("error", {}).pop("msg", None)
        assert found == document


def test_deleting_what_is_not_there() -> None:
    """Switch `delete-missing`: an error, 0 or 1."""
    with vox_with() as vox:
        assert vox.code(DELETE, key="k") == 341
    for number in (0, 1):
        with vox_with(delete_missing=str(number)) as vox:
            assert vox.call(DELETE, key="k") == number


@pytest.mark.parametrize("choice", ["old", "new"])
def test_the_answer_to_an_overwrite(choice: str) -> None:
    """Switch `set-answer`: the item as it was, or as it is; both times it is overwritten."""
    with vox_with(set_answer=choice) as vox:
        assert vox.set("k", "old")["value"] == "old"
        assert vox.set("k", "new")["value"] == choice
        assert vox.value("k") == "new"


def test_equal_values_do_not_renew() -> None:
    """With `renew-equal=off` only another value moves the end."""
    with vox_with(renew_equal="off") as vox:
        vox.stop_at(NOON)
        vox.set("k", ttl=60)
        vox.set("k", ttl=600)
        assert vox.call(GET, key="k")["expires_at"] == NOON + 60
        vox.set("k", "other", ttl=600)
        assert vox.call(GET, key="k")["expires_at"] == NOON + 600
