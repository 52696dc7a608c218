"""What is due: the difference between the present state and what was reported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvsync.config.model import ChannelConfig, Credential, CredentialKind, NoticeKind
from kvsync.model.result import PassResult
from kvsync.notify.delivery_state import DeliveryState
from kvsync.notify.facts import FactExtractor
from tests.daemon.support import A, B, C

URL = Credential(CredentialKind.ENV, "HOOK_URL")
EVERYTHING = ChannelConfig(URL)

GOOD = PassResult(A, digest="sha256:0")
STILL = PassResult(A, drift={"drifted": 2, "missing": 0}, pending=2)
HEALED = PassResult(A, drift={"drifted": 2}, changes={"applied": 2})
PARKED = PassResult(A, digest="sha256:1", parked=("40 of 50 entries would be deleted",), pending=40)
OTHER = PassResult(A, digest="sha256:2", parked=("41 of 50 entries would be deleted",), pending=41)
DOWN = PassResult(A, error="edge: no connection", unavailable=True, retryable=True)
HICCUP = PassResult(A, error="state directory: locked", retryable=True)
WRONG = PassResult(A, error="state/web.yaml:3:1: no such store")
REFUSED = PassResult(A, changes={"failed": 1}, retryable=True)


class RestartingReceiver:
    """A channel whose notices are delivered at once, and whose delivery state restarts on request."""

    def __init__(self, config: ChannelConfig = EVERYTHING) -> None:
        self.config, self.extractor, self._moments = config, FactExtractor(), count(1.0)
        self.delivery = DeliveryState(config, {})
        self.kept: dict[object, dict[str, str]] = {}

    def passes(self, *results: PassResult) -> list[str]:
        """What is reported after each of these passes, as words."""
        return [word for result in results for word in self._after(result)]

    def misses(self, *results: PassResult) -> None:
        """Passes after which the receiver cannot be reached."""
        for result in results:
            self._note(result)

    def restarts(self) -> None:
        self.delivery = DeliveryState(self.config, self.kept)  # type: ignore[arg-type]  # by target
        self.extractor = FactExtractor()

    def _note(self, result: PassResult) -> None:
        self.delivery.note(result.target, self.extractor.facts(replace(result, at=next(self._moments))))

    def _after(self, result: PassResult) -> Sequence[str]:
        self._note(result)
        words: list[str] = []
        while (due := self.delivery.due(1)).sent:
            for notice in due.notices:
                ended = f" {'+'.join(notice.ended)}" if notice.ended else ""
                words.append(f"{notice.kind}{ended}" + (f" {notice.fact.which}" if notice.fact else ""))
            self.delivery.settle(due.sent)
            for target, kind, which in due.sent:
                self.kept.setdefault(target, {}).pop(str(kind), None)
                if which is not None:
                    self.kept[target][str(kind)] = which
        return [word.strip() for word in words]


@pytest.mark.parametrize(
    ("results", "sent"),
    [
        ([GOOD, GOOD], []),
        ([STILL, STILL, STILL, GOOD, GOOD], ["drift found", "healed drift"]),
        ([STILL, HEALED, GOOD], ["drift found", "healed drift"]),
        ([HEALED, HEALED, GOOD, GOOD, HEALED], ["drift healed", "drift healed"]),
        ([HEALED, STILL, GOOD], ["drift healed", "drift found", "healed drift"]),
        ([PARKED, PARKED, GOOD], ["parked sha256:1", "healed parked"]),
        ([PARKED, OTHER, OTHER], ["parked sha256:1", "parked sha256:2"]),
        ([DOWN, DOWN, DOWN, GOOD], ["failed", "healed failed"]),
        ([WRONG, WRONG, GOOD], ["failed", "healed failed"]),
        ([HICCUP, HICCUP, GOOD, HICCUP, HICCUP], []),
        ([HICCUP, HICCUP, HICCUP, HICCUP, GOOD], ["failed", "healed failed"]),
        ([REFUSED, REFUSED, REFUSED, GOOD], ["failed", "healed failed"]),
        ([PARKED, DOWN, DOWN, PARKED], ["parked sha256:1", "failed", "healed failed"]),
        ([STILL, DOWN, GOOD], ["drift found", "failed", "healed drift+failed"]),
    ],
)
def test_a_state_is_reported_once(results: list[PassResult], sent: list[str]) -> None:
    """A state that lasts is reported once, its end too; a failure that passes on its own is not reported; an error says nothing
    about drift or what is parked."""
    assert RestartingReceiver().passes(*results) == sent


@pytest.mark.parametrize("before", [STILL, HEALED, PARKED, DOWN, WRONG])
def test_a_restart_tells_nothing_again(before: PassResult) -> None:
    """Nothing is reported again after a restart. The end of a state is, and a first failure that may pass ends nothing."""
    receiver = RestartingReceiver()
    receiver.passes(before)
    receiver.restarts()
    assert receiver.passes(before) == []
    receiver.restarts()
    assert receiver.passes(HICCUP) == []
    assert receiver.passes(GOOD) == (
        [] if before is HEALED else [f"healed {'failed' if before.error else _kind(before)}"]
    )
    receiver.restarts()
    assert receiver.passes(GOOD) == []


def _kind(result: PassResult) -> str:
    return "parked" if result.parked else "drift"


def test_who_was_away_hears_how_things_stand() -> None:
    """What came and went while the receiver was away is not reported, but drift that was healed is, once."""
    receiver = RestartingReceiver()
    receiver.misses(PARKED, GOOD, DOWN, GOOD)
    assert receiver.passes(GOOD) == []
    receiver.misses(HEALED, GOOD, GOOD)
    assert receiver.passes(GOOD) == ["drift healed"]
    receiver.misses(PARKED, OTHER)
    assert receiver.passes(OTHER) == ["parked sha256:2"]


def test_only_what_is_wanted_is_reported() -> None:
    """`on` chooses; without healed nobody hears of an end, and the next beginning is reported all the same."""
    parked_only = RestartingReceiver(ChannelConfig(URL, on=(NoticeKind.PARKED,)))
    assert parked_only.passes(STILL, DOWN, PARKED, GOOD, PARKED) == ["parked sha256:1", "parked sha256:1"]


def test_a_target_that_is_gone_is_not_mentioned() -> None:
    """Nothing is reported of a target that no file names any more, and what was reported of it is forgotten."""
    receiver = RestartingReceiver()
    receiver.passes(PARKED)
    assert receiver.delivery.keep({B, C}) == ((A, NoticeKind.PARKED, None),)
    assert receiver.delivery.due(10).sent == ()
    assert receiver.passes(PARKED) == ["parked sha256:1"]


RESULTS = (GOOD, STILL, HEALED, PARKED, OTHER, DOWN, HICCUP, WRONG, REFUSED)


@given(st.lists(st.tuples(st.sampled_from(RESULTS), st.booleans())))
def test_in_the_end_the_receiver_knows(passes: list[tuple[PassResult, bool]]) -> None:
    """Whatever happens, and whenever the receiver is away: after a good pass that reaches it nothing is held to be wrong, and
    another one tells nothing."""
    receiver = RestartingReceiver()
    for result, reached in passes:
        if reached:
            receiver.passes(result)
        else:
            receiver.misses(result)
    receiver.passes(GOOD)
    assert not any(receiver.kept.values())
    assert receiver.passes(GOOD) == []
