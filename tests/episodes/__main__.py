"""Plays episodes: `python -m tests.episodes FIRST COUNT`. Prints each seed, and what went wrong; then it exits with 1."""

from __future__ import annotations

import sys

from tests.episodes.run import each, play

if __name__ == "__main__":
    sys.exit(each(play, *map(int, sys.argv[1:3])))
