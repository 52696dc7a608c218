"""One decision for all who ask whether a target may be applied now."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvsync.planning.permit import Hold, PermitInputs, hold_of

FREE = PermitInputs()
HELD = {
    Hold.OBSERVE: {"observes": True},
    Hold.PAUSED: {"is_paused": True},
    Hold.PARKED: {"is_parked": True},
    Hold.WINDOW: {"is_denied": True},
    Hold.STANDBY: {"leads": False},
    Hold.WAVE: {"is_early": True},
}
ANY = st.builds(PermitInputs, *(st.booleans() for _ in dataclasses.fields(PermitInputs)))


def test_nothing_holds_back_a_free_target() -> None:
    """With no reason against it, a target may be applied."""
    assert hold_of(FREE) is None


@pytest.mark.parametrize("hold", Hold)
def test_each_reason_alone_holds_a_target_back(hold: Hold) -> None:
    """Every circumstance is enough on its own."""
    assert hold_of(dataclasses.replace(FREE, **HELD[hold])) is hold


@given(now=ANY)
def test_one_reason_is_enough(now: PermitInputs) -> None:
    """A target may be applied exactly when nothing is against it, and the reason that is given is one that holds."""
    hold = hold_of(now)
    assert (hold is None) == (now == FREE)
    if hold is not None:
        assert all(getattr(now, name) == value for name, value in HELD[hold].items())


@pytest.mark.parametrize("first", range(len(Hold)))
def test_the_reason_that_a_person_ends_is_given_first(first: int) -> None:
    """Of several reasons the earliest of the list is given: a pause before a plan that waits, both before a window."""
    holds = list(HELD)[first:]
    assert (
        hold_of(dataclasses.replace(FREE, **{name: value for hold in holds for name, value in HELD[hold].items()}))
        is holds[0]
    )
