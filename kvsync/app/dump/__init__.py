"""Export of a store's entries as state files that describe exactly what the store holds."""

from kvsync.app.dump.collect import Secrets, convert, dump
from kvsync.app.dump.encryption import Encryption
from kvsync.app.dump.model import Dumped, LeftOut
from kvsync.app.dump.strays import strays

__all__ = ["Dumped", "Encryption", "LeftOut", "Secrets", "convert", "dump", "strays"]
