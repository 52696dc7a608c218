"""Free memory goes back to the system where the C library can give it, and nothing fails where it cannot."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import pytest

from kvsync.util.memory import release_free_memory

BLOCK = 3_000
COUNT = 20_000


def resident() -> int:
    """Bytes of memory that this process has."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps free memory in this way")
def test_what_was_freed_below_a_block_in_use_is_released() -> None:
    """Most of what was freed is no longer resident, although the block that was made last is still in use."""
    blocks = [bytes([1]) * BLOCK for _ in range(COUNT)]
    last = blocks[-1]
    del blocks
    before = resident()
    release_free_memory()
    assert before - resident() > BLOCK * COUNT // 2
    assert len(last) == BLOCK


def test_nothing_fails_without_ctypes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Python without `ctypes` keeps its memory."""
    monkeypatch.setitem(sys.modules, "ctypes", None)
    release_free_memory()
