"""Many seeds, one after the other, and what became of them."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from tests.episodes.episode import Episode, Episodes, Wrong

Play = Callable[[Episodes, Path, int], str]
"""Does what a seed says in a folder; gives the name of the store. Raises Wrong."""


def play(shared: Episodes, folder: Path, seed: int) -> str:
    """Play an episode to its end."""
    episode = Episode(shared, folder, seed)
    try:
        episode.play()
    except Exception as error:
        raise Wrong(f"seed {seed}: {error!r}\n{episode.account()}\nfolder: {folder}") from error
    return episode.name


def each(do: Play, first: int, count: int) -> int:
    """Play so many seeds, and print them. Gives the exit code."""
    wrong = 0
    with ExitStack() as stack:
        root = Path(tempfile.mkdtemp(prefix="episodes-"))
        episodes = Episodes(root, stack)
        for seed in range(first, first + count):
            began, folder = time.monotonic(), root / f"seed-{seed}"
            try:
                name = do(episodes, folder, seed)
                print(f"seed {seed} {name} {time.monotonic() - began:.1f} s", flush=True)
                shutil.rmtree(folder)
            except Wrong as error:
                wrong += 1
                print(f"WRONG {error}", flush=True)
    if not wrong:
        shutil.rmtree(root)
    return min(wrong, 1)
