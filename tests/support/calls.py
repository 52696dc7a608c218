"""Counts calls of Python functions, which unlike time a busy machine does not change."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from kvsync.util.gc_pause import gc_paused


class CallCounter:
    """How many functions of Python were called in this thread, of all files or of those whose path contains `part`."""

    def __init__(self, part: str = "") -> None:
        self.count, self._part = 0, part

    def see(self, frame: FrameType, event: str, _argument: Any) -> None:
        """Count a call; turns of generators count too."""
        self.count += event == "call" and self._part in frame.f_code.co_filename


@contextmanager
def counted_calls(part: str = "") -> Iterator[CallCounter]:
    """Count the calls that are made inside, without those of other tests' callbacks in the garbage collector."""
    calls, before = CallCounter(part), sys.getprofile()
    with gc_paused():
        sys.setprofile(calls.see)
        try:
            yield calls
        finally:
            sys.setprofile(before)
