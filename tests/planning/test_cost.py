"""What applying a plan takes, told before it is applied."""

from __future__ import annotations

from typing import Any

import pytest

from kvsync.model.capabilities import Capabilities
from kvsync.model.change import Action, Change
from kvsync.model.entry import Content, Identity
from kvsync.model.plan import Cost
from kvsync.planning.cost import cost_of
from tests.planning.plans import change, stored, target_plan, wanted


def store(**options: Any) -> Capabilities:
    return Capabilities("a-type", "a prefix", **options)


def creates(count: int, value: str = "12345") -> list[Change]:
    return [change(None, wanted(f"key{number:05}", value)) for number in range(count)]


def deletes(count: int, **options: Any) -> list[Change]:
    return [change(stored(f"old{number:05}", "v", **options), None) for number in range(count)]


@pytest.mark.parametrize(
    ("changes", "capabilities", "requests"),
    [
        ([], store(), 0),
        (creates(3), store(), 3),
        (creates(129), store(batch=128), 2),
        (creates(1) + deletes(1), store(batch=128), 2),
        (creates(100), store(batch=1000, max_batch_bytes=650), 2),
        (creates(10), store(compare_and_set=False), 30),
        (creates(10), store(compare_and_set=False, batch=10, read_batch=5), 5),
        (creates(10), store(compare_and_set=False, batch=10, read_batch=10, settle=60), 2),
        (deletes(4, content=None), store(batch=10, read_batch=2), 3),
        (deletes(4), store(batch=10, read_batch=2), 1),
    ],
)
def test_requests(changes: list[Change], capabilities: Capabilities, requests: int) -> None:
    """Requests are batches of writes, deletes apart; looks where there is no compare-and-set; values unread so far."""
    assert cost_of(target_plan(*changes), capabilities).requests == requests


def test_sensitive_values_are_not_read() -> None:
    """The journal keeps no sensitive value, so none is read for it."""
    change_ = change(stored("k", "v", content=None), wanted("k", "w", sensitive=True))
    assert cost_of(target_plan(change_), store()).requests == 1


def test_moves_are_looked_at() -> None:
    """The old half of a move costs a look at the new one."""
    moved = change(stored("old", "v"), None, moved_to=Identity("new"))
    assert cost_of(target_plan(moved), store()).requests == 2


def test_bytes() -> None:
    """Bytes are those of keys, labels, values, content types, tags and metadata, in UTF-8; a delete sends its key."""
    content = Content("é".encode(), "text/a", (("t", "1"),), "{}")
    assert cost_of(target_plan(change(None, wanted("kü", content, "l"))), store()).bytes == 4 + 2 + 6 + 2 + 2
    assert cost_of(target_plan(*deletes(1)), store()).bytes == len("old00000")


def test_seconds() -> None:
    """Seconds are calls at the declared rate, and nothing where no rate is declared."""
    assert cost_of(target_plan(*creates(10)), store(writes_per_second=4)).seconds == 2.5
    assert cost_of(target_plan(*creates(10)), store(writes_per_second=4, batch=10)).seconds == 0.25
    assert cost_of(target_plan(*creates(10)), store()).seconds == 0


def test_renewals_cost_a_write() -> None:
    """A renewal is a write as any other."""
    renewal = change(stored("k", "v"), wanted("k", "v", ttl=60), ("ttl",), action=Action.RENEW)
    assert cost_of(target_plan(renewal), store()) == Cost(1, 2, 0)
