"""Replicas that share a state and are killed, paused, cut off, slow and wrong about the time, on a database that fails."""

from __future__ import annotations

import pytest

from tests.leader.fleet_episodes import Noted
from tests.leader.judge import Landing
from tests.support.postgres import programs
from tests.support.seeds import count_of, play_all

CLAIMS = [("web", 10.0, "a", 1), ("web", 20.0, None, 1), ("web", 20.0, "b", 2)]
INTENTS = [("web", "k1", 11.0, "a"), ("web", "k1", 21.0, "b")]


@pytest.mark.parametrize(
    ("moment", "replica", "key", "objection"),
    [
        (12.0, "a", "k1", None),
        (22.0, "b", "k1", None),
        (22.0, "a", "k1", "{'b'} held web"),
        (12.0, "b", "k1", "{'a'} held web"),
        (12.0, "a", "k2", "no intent for k2"),
        (10.5, "a", "k1", "no intent for k1"),
    ],
)
def test_a_write_without_claim_or_intent_is_found(moment: float, replica: str, key: str, objection: str | None) -> None:
    """The judge of the episodes objects to what no replica may do."""
    noted = Noted(CLAIMS, INTENTS, lambda name: name)
    landing = Landing(moment, moment, replica, f"PUT /kv/web:{key}")
    assert noted.objection(landing) == objection


@pytest.mark.system
@pytest.mark.timeout(6 * 3600)
def test_many_episodes_of_a_fleet() -> None:
    """Each entry has one writer at any time, who holds its target and has recorded the intent; nothing is recorded under a
    claim that is over; and the store is as wanted in the end."""
    programs()
    count = count_of(4)
    assert play_all("tests.leader.fleet_episodes", count).count("seed ") == count
