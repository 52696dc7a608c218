"""What a store holds, as desired-state files that ask for exactly that."""

from kvsync.app.dump.collect import Dumped, convert, dump

__all__ = ["Dumped", "convert", "dump"]
