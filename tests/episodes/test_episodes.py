"""Whatever happens to files, stores, clocks, state and processes: the next quiet runs put everything right, and nothing
untrue is said."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.episodes.episode import Episodes
from tests.episodes.kills import KILLS
from tests.episodes.run import play
from tests.support.interposer import compiler
from tests.support.seeds import count_of, play_all


def test_a_few_episodes(tmp_path: Path) -> None:
    """Three of those that `make test-system` plays: over a file, over a store with marks, and over one with a ledger."""
    with ExitStack() as stack:
        episodes = Episodes(tmp_path, stack)
        assert [play(episodes, tmp_path / "here", seed) for seed in (7, 1, 11)] == [
            *("sqlite", "azure-appconfig", "apify with a ledger")
        ]


@pytest.mark.system
@pytest.mark.timeout(6 * 3600)
def test_many_episodes() -> None:
    """Edits, broken and vanished files, other writers, faults, kills, wrong clocks, restarts, lost and older state directories,
    over every kind of store: then ours is as wanted and theirs as it was, exit codes were true, a second run does nothing, and
    no secret, traceback or "bug in kvsync" was ever said."""
    compiler()
    count = count_of(60)
    assert play_all("tests.episodes", count).count("seed ") == count


@pytest.mark.system
@pytest.mark.timeout(6 * 3600)
def test_many_kills() -> None:
    """`apply` and `run --once` are killed before, within or after one of their calls that write, sync, rename, send or connect;
    the next run puts everything right."""
    compiler()
    count = count_of(6)
    print(f"{count * KILLS} kills")
    assert play_all("tests.episodes.kills", count).count("seed ") == count
