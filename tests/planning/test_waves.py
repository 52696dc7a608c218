"""When the targets of a wave may follow those of an earlier one."""

from __future__ import annotations

import pytest

from kvsync.model.entry import Target
from kvsync.planning.waves import Wave, WaveFacts, WaveRecord, wave_hold

DEV, PROD = Target("main", "dev"), Target("main", "prod")
NOW, BAKE = 1_000_000.0, 60


@pytest.mark.parametrize(("since", "until"), [(NOW - 61, None), (NOW - 20, NOW + 40), (NOW + 3600, NOW + BAKE)])
def test_a_target_waits_for_no_longer_than_the_bake(since: float, until: float | None) -> None:
    """The bake counts from the moment since which the earlier target is in sync; a moment in the future, from a clock that was
    set back, does not make it longer."""
    members, desired = {0: [DEV], 1: [PROD]}, {DEV: "dev", PROD: "prod"}
    facts = WaveFacts(members, desired, {DEV: WaveRecord("dev", since)}, NOW)
    hold = wave_hold(1, [Wave(("main/dev",), BAKE)], facts)
    assert (None if hold is None else hold.until) == until
