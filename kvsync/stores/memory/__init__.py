"""The store type `memory`: entries in a dictionary of this process."""

from kvsync.stores.memory.store import MemoryStore

__all__ = ["MemoryStore"]
