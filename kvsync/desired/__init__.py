"""Loads the desired state of each target from the state files."""

from kvsync.desired.cache import Cache
from kvsync.desired.loader import Source
from kvsync.desired.model import DesiredState, StoreFacts, WatchSet

__all__ = ["Cache", "DesiredState", "Source", "StoreFacts", "WatchSet"]
