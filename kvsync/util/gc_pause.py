"""Pauses the garbage collector while creating many objects."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def gc_paused() -> Iterator[None]:
    """Context in which the garbage collector does not run: loading creates no cycles, and looking for them takes more than
    half of its time. Do not await inside."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
