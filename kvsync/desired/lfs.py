"""Recognizes Git LFS pointers: what a checkout without Git LFS has in place of a file."""

from __future__ import annotations

from typing import Final

LFS_POINTER: Final = "is a Git LFS pointer, not the file itself; run git lfs pull"

_BEGINNINGS: Final = (b"version https://git-lfs.github.com/spec/v", b"version https://hawser.github.com/spec/v")
"""Git LFS still reads what it wrote under its first name."""

_OBJECT: Final = b"\noid sha256:"
_LARGEST: Final = 1024  # bytes, by the specification


def is_lfs_pointer(data: bytes) -> bool:
    """True for the content of a pointer, as the specification of Git LFS describes it."""
    return len(data) < _LARGEST and data.startswith(_BEGINNINGS) and _OBJECT in data
