"""Whether the last clean pass of a place still says what is there."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import Final

from kvsync.config.model import StoreConfig
from kvsync.state import CleanPass, StateDir

COUNTED: Final = ("unchanged", "foreign", "ignored", "expired", "orphans")
"""The numbers of a plan that a clean pass keeps."""

OWNED: Final = "owned"
"""Name of the number of entries that the store held of ours. Earlier versions did not keep it."""


def current_clean_pass(state: StateDir, key: str, digests: tuple[str, str], now: float) -> CleanPass | None:
    """What the last clean pass of a place saw, unless files, configuration or time have moved on. `digests` are those of the
    desired state and of the configuration. None also if the record is damaged. Raises StateDirError."""
    clean = state.clean_passes.get(key, *digests)
    if clean is None or not clean.counts.keys() >= {*COUNTED}:
        return None
    return None if clean.next_moment is not None and clean.next_moment <= now else clean


def config_digest(owner: str, owner_keys: Iterable[bytes], store: StoreConfig) -> str:
    """A digest of what gives the same files and the same token another meaning: owner, keys, place and key format."""
    keys = [blake2b(key, digest_size=16, person=b"kvsync.memo").hexdigest() for key in owner_keys]
    what = (owner, keys, store.type, store.endpoint, store.key_format, sorted(store.options.items()))
    return blake2b(repr(what).encode(errors="surrogateescape"), digest_size=16).hexdigest()
