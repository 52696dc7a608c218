"""From state files to what is desired of each target."""

from kvsync.sources.cache import Cache
from kvsync.sources.loader import Source
from kvsync.sources.model import Loaded, StoreFacts, WatchSet

__all__ = ["Cache", "Loaded", "Source", "StoreFacts", "WatchSet"]
