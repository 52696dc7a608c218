"""Kills commands at one of their calls to the kernel: `python -m tests.episodes.kills FIRST COUNT`, a store for each number.

Each number is a seed. It chooses the call and its side; before each kill the files ask for something else.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Final

from tests.episodes.episode import Episode, Episodes, Wrong
from tests.episodes.remotes import NAMES
from tests.episodes.run import each
from tests.support.interposer import Side

KILLS: Final = 5
"""How many of them a seed makes."""


def sweep(shared: Episodes, folder: Path, seed: int) -> str:
    """Kill and mend, some times; gives the name of the store. Raises Wrong."""
    episode, chance = Episode(shared, folder, seed, NAMES[seed % len(NAMES)]), random.Random(seed)
    try:
        episode.begin()
        calls = _calls_of_a_run(episode)
        for _ in range(KILLS):
            arguments = chance.choice((("apply", "--yes"), ("run", "--once")))
            for name in "abc":
                episode.edit(name)
            episode.killed_at(arguments, chance.randint(1, calls), chance.choice(list(Side)))
            episode.settle((0, 61, 61))
    except Exception as error:
        raise Wrong(f"seed {seed}: {error}\n{episode.account()}\nfolder: {folder}") from error
    return episode.name


def _calls_of_a_run(episode: Episode) -> int:
    episode.run("apply", "--yes")
    for name in "abc":
        episode.edit(name)
    before = episode.shared.interposer.counted()
    episode.run("apply", "--yes")
    return episode.shared.interposer.counted() - before


if __name__ == "__main__":
    sys.exit(each(sweep, *map(int, sys.argv[1:3])))
