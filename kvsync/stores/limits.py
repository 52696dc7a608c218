"""Checks writes against the capabilities of a store before they are sent."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache

from kvsync.errors import BatchRefused
from kvsync.model.capabilities import Capabilities, SizeUnit
from kvsync.model.entry import Content
from kvsync.planning.audit import is_text, length_of
from kvsync.stores.base import Write


def check_batch(where: str, writes: Sequence[Write], has: Capabilities) -> None:
    """Raise BatchRefused if a call has too many writes, is too large, or names an entry twice. `where` is store/namespace."""
    if len(writes) > has.batch:
        raise BatchRefused(f"{where}: {len(writes):,} writes in one call; the limit is {has.batch:,}")
    if len({write.identity for write in writes}) < len(writes):
        raise BatchRefused(f"{where}: one call names the same entry twice")
    size = sum(len(write.content.value) for write in writes if write.content is not None)
    if has.max_batch_bytes is not None and size > has.max_batch_bytes and len(writes) > 1:
        raise BatchRefused(f"{where}: {size:,} bytes in one call; the limit is {has.max_batch_bytes:,}")


def check_entry(remote_key: str, content: Content | None, has: Capabilities) -> None:
    """Raise ValueError, with the reason, if the store cannot hold the entry. For a delete, `content` is None."""
    _check_key(remote_key, has)
    if content is None:
        return
    if has.max_value is not None and (length := length_of(content.value, has.value_unit)) > has.max_value:
        raise ValueError(f"the value has {length:,} {has.value_unit}; the limit is {has.max_value:,}")
    if has.max_metadata is not None and len((content.metadata or "").encode()) > has.max_metadata:
        raise ValueError(f"the metadata has more than {has.max_metadata} bytes")
    if not has.binary and not is_text(content.value):
        raise ValueError("the value is not UTF-8 text")


@lru_cache(maxsize=64)
def _key_shape(pattern: str) -> Callable[[str], object]:
    return re.compile(pattern).fullmatch


def _check_key(remote_key: str, has: Capabilities) -> None:
    try:
        size = len(remote_key.encode()) if has.key_unit is SizeUnit.BYTES else len(remote_key)
    except UnicodeEncodeError:
        raise ValueError("the key is not Unicode text") from None
    if has.max_key is not None and size > has.max_key:
        raise ValueError(f"the key has {size:,} {has.key_unit}; the limit is {has.max_key:,}")
    if has.key_pattern is not None and not _key_shape(has.key_pattern)(remote_key):
        raise ValueError(
            f"the key contains a character that the store does not allow (it must match {has.key_pattern})"
        )
