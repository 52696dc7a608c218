"""Export of a store's entries as state files that describe exactly what the store holds."""

from kvsync.app.dump.collect import Dumped, convert, dump

__all__ = ["Dumped", "convert", "dump"]
