"""The store type `sqlite`: one SQLite file."""

from kvsync.stores.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
