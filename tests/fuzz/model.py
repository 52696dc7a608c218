"""Targets of the fuzzers. Each reads bytes as one part of kvsync does, and lets only unexpected errors get out."""

from __future__ import annotations

import atexit
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from shutil import rmtree
from typing import Any

Read = Callable[[bytes], object]


@dataclass(frozen=True)
class Target:
    """`read` raises nothing, unless there is a mistake in kvsync. `seeds` are inputs to begin with, `words` parts of inputs."""

    read: Read
    seeds: tuple[bytes, ...]
    words: tuple[bytes, ...] = ()


TARGETS: dict[str, Target] = {}


def target(*seeds: bytes | str | dict[str, Any] | list[Any], words: str = "") -> Callable[[Read], Read]:
    """Make a target of a function, under its name."""

    def add(read: Read) -> Read:
        TARGETS[read.__name__] = Target(read, tuple(map(_bytes, seeds)), tuple(word.encode() for word in words.split()))
        return read

    return add


def _bytes(seed: bytes | str | dict[str, Any] | list[Any]) -> bytes:
    if isinstance(seed, bytes):
        return seed
    return (seed if isinstance(seed, str) else json.dumps(seed)).encode()


JSON = '{ } [ ] " : , null true 1e999 NaN Infinity -1 \\ud800 '
"""Words of JSON."""


@cache
def folder() -> Path:
    """A folder for the inputs that are files, until the process ends."""
    memory = Path("/dev/shm")  # inputs by the thousand are not work for a disk
    made = Path(tempfile.mkdtemp(prefix="kvsync-fuzz-", dir=memory if memory.is_dir() else None))
    atexit.register(rmtree, made, ignore_errors=True)
    return made


def parsed(data: bytes, kind: type[Any], size: int | None = None) -> Any:
    """JSON of a kind, None for other data."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, kind) and (size is None or len(found) == size) else None
