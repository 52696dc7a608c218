"""Replicas that share a state and are killed, paused, cut off, slow and wrong about the time, on a database that fails."""

from __future__ import annotations

import pytest

from tests.support.postgres import programs
from tests.support.seeds import count_of, play_all


@pytest.mark.system
@pytest.mark.timeout(6 * 3600)
def test_many_episodes_of_a_fleet() -> None:
    """Each entry has one writer at any time, who holds its target and has recorded the intent; nothing is recorded under a
    claim that is over; and the store is as wanted in the end."""
    programs()
    count = count_of(4)
    assert play_all("tests.leader.fleet_episodes", count).count("seed ") == count
