"""Gives free memory that the C library keeps back to the system."""

from __future__ import annotations

from contextlib import suppress


def release_free_memory() -> None:
    """Release the free pages between blocks that are still in use. glibc keeps them for later: a process that once parsed
    many files, and then does nothing for days, would keep what only the parsing needed. Does nothing with another C library, or
    where `ctypes` may not be used."""
    with suppress(OSError, ImportError, AttributeError, MemoryError):
        import ctypes

        trim = ctypes.CDLL(None).malloc_trim
        trim.argtypes = [ctypes.c_size_t]
        trim(0)
