from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvsync.apply.model import PendingStep, Step
from kvsync.apply.writes import MOST_CHECKED, batches_of, calls_of, halves, write_for
from kvsync.model.capabilities import Capabilities
from kvsync.model.change import Action, Change, Class
from kvsync.model.entry import Actual, Content, Identity, Mark
from kvsync.stores.base import Precondition
from tests.apply.harness import OWNER, TARGET, entry
from tests.support.places import signer_of

SIGNER = signer_of(TARGET, OWNER)

STORE = Capabilities(type="x", namespace="n")
NOW = 1_000.0


def change(action: Action, after_value: str | None = "new", **fields: object) -> Change:
    after = entry("k", after_value, **fields) if after_value is not None else None
    before = None
    if action is not Action.CREATE:
        old = entry("k", "old")
        before = Actual(Identity("k"), "7", old.fingerprint, old.content, mark=SIGNER.mark_of(old))
    return Change(action, Class.CHANGED, Identity("k"), before=before, after=after)


def test_a_create_insists_on_absence() -> None:
    """A create goes out on the condition that nothing is there."""
    write = write_for(change(Action.CREATE), SIGNER, NOW, STORE)
    assert (write.precondition, write.etag) == (Precondition.ABSENT, None)


@pytest.mark.parametrize("action", [Action.UPDATE, Action.RENEW, Action.ADOPT])
def test_a_change_insists_on_the_version_seen(action: Action) -> None:
    """What replaces an entry goes out on the condition of the etag that was planned against, with our mark."""
    write = write_for(change(action, ttl=60, sensitive=True, protected=True), SIGNER, NOW, STORE)
    assert (write.precondition, write.etag) == (Precondition.UNCHANGED, "7")
    mark = Mark(OWNER, entry("k", "new").fingerprint, 60, sensitive=True, protected=True)
    assert write.mark == SIGNER.signed(Identity("k"), mark)


def test_a_delete_insists_on_the_version_seen_and_carries_nothing() -> None:
    """A delete goes out on the condition of the etag that was planned against."""
    write = write_for(change(Action.DELETE, None), SIGNER, NOW, STORE)
    assert (write.precondition, write.etag) == (Precondition.UNCHANGED, "7")
    assert (write.content, write.mark) == (None, None)


@pytest.mark.parametrize(
    ("fields", "capabilities", "moment"),
    [
        ({}, STORE, None),
        ({"ttl": 60}, STORE, NOW + 60),
        ({"expires_at": 5_000}, STORE, 5_000),
        ({}, Capabilities(type="x", namespace="n", always_expires=True, max_ttl=90), NOW + 90),
        ({"ttl": 60}, Capabilities(type="x", namespace="n", always_expires=True, max_ttl=90), NOW + 60),
    ],
)
def test_lifetimes_are_absolute(fields: dict[str, Any], capabilities: Capabilities, moment: float | None) -> None:
    """A TTL counts from the moment of the write, and a store where everything ends gets its longest lifetime."""
    assert write_for(change(Action.CREATE, **fields), SIGNER, NOW, capabilities).expires_at == moment


def test_only_a_renewal_of_the_same_content_and_mark_is_a_touch() -> None:
    """A store may change the lifetime alone exactly when nothing else differs."""
    same = write_for(change(Action.RENEW, "old"), SIGNER, NOW, STORE)
    other_content = write_for(change(Action.RENEW, "new"), SIGNER, NOW, STORE)
    other_mark = write_for(change(Action.RENEW, "old", ttl=60), SIGNER, NOW, STORE)
    no_renewal = write_for(change(Action.ADOPT, "old"), SIGNER, NOW, STORE)
    assert [write.touch for write in (same, other_content, other_mark, no_renewal)] == [True, False, False, False]


@given(
    sizes=st.lists(st.integers(0, 500), max_size=60),
    batch=st.integers(1, 20),
    limit=st.none() | st.integers(300, 3000),
)
def test_calls_keep_the_order_and_the_limits(sizes: list[int], batch: int, limit: int | None) -> None:
    """Cutting into calls loses nothing, keeps the order, and passes a limit only with an entry that is larger on its own."""
    works = []
    for index, size in enumerate(sizes):
        after = entry(f"{index:03}", "x" * size)
        works.append(PendingStep(index, Step(Change(Action.CREATE, Class.NEW, after.identity, after=after))))
    calls = calls_of(works, Capabilities(type="x", namespace="n", batch=batch, max_batch_bytes=limit))
    assert [work for call in calls for work in call] == works
    assert all(1 <= len(call) <= batch for call in calls)
    if limit is not None:
        assert all(len(call) == 1 or sum(sizes[work.index] for work in call) <= limit for call in calls)


def test_base64_and_metadata_count_against_the_size_of_a_call() -> None:
    """Two entries whose bytes fit only as plain text go in two calls."""
    works = []
    for key in "ab":
        content = Content(b"\xff" * 600, metadata='"' + "m" * 50 + '"')
        change_ = Change(Action.CREATE, Class.NEW, Identity(key), after=entry(key))
        object.__setattr__(change_.after, "content", content)
        works.append(PendingStep(0, Step(change_)))
    assert len(calls_of(works, Capabilities(type="x", namespace="n", batch=10, max_batch_bytes=2000))) == 2


def test_a_batch_is_as_large_as_a_scan_may_check() -> None:
    """One scan checks a batch of up to 1,000 writes; no batch is smaller than it has to be."""
    works = [PendingStep(index, Step(change(Action.CREATE))) for index in range(2 * MOST_CHECKED + 1)]
    batches = batches_of(works, Capabilities(type="x", namespace="n", batch=MOST_CHECKED // 10))
    assert [sum(map(len, calls)) for calls in batches] == [MOST_CHECKED, MOST_CHECKED, 1]


def test_halves_of_one_are_one() -> None:
    """A call of one cannot be cut; any other is cut in two that lose nothing."""
    works = [PendingStep(index, Step(change(Action.CREATE))) for index in range(5)]
    assert halves(works[:1]) == [works[:1]]
    assert halves(works) == [works[:2], works[2:]]
