"""Export of a store's entries as state files that describe exactly what the store holds."""

from kvsync.app.dump.collect import convert, dump
from kvsync.app.dump.model import Dumped, LeftOut
from kvsync.app.dump.strays import strays

__all__ = ["Dumped", "LeftOut", "convert", "dump", "strays"]
