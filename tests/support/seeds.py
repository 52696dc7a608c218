"""Many seeds in processes of their own, as many at a time as there are processors.

`KVSYNC_SEEDS` is the first seed (0), and `KVSYNC_EPISODES` how many there are of each kind.
"""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise
from typing import Final

from tests.support.command import ROOT

FIRST: Final = int(os.environ.get("KVSYNC_SEEDS", "0"))
_LONGEST: Final = 6 * 3600


def count_of(usual: int) -> int:
    """How many seeds to play of a kind."""
    return int(os.environ.get("KVSYNC_EPISODES", usual))


def play_all(module: str, count: int) -> str:
    """Run `python -m module FIRST COUNT` with these seeds in equal parts; gives what they print. Fails with what went wrong."""
    parts = min(max(os.cpu_count() or 1, 2), count)
    bounds = [FIRST + count * part // parts for part in range(parts + 1)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", module, str(first), str(last - first)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for first, last in pairwise(bounds)
    ]
    try:
        said = [process.communicate(timeout=_LONGEST)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    text = "".join(said)
    print(text)
    assert [process.returncode for process in processes] == [0] * parts, text[text.find("WRONG") :]
    return text
