"""Export of a store's entries as state files that describe exactly what the store holds."""

from kvsync.app.dump.collect import Secrets, convert, dump
from kvsync.app.dump.encryption import Encryption
from kvsync.app.dump.model import Dumped, OmittedEntry
from kvsync.app.dump.strays import strays

__all__ = ["Dumped", "Encryption", "OmittedEntry", "Secrets", "convert", "dump", "strays"]
