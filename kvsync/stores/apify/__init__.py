"""The store type `apify`: Apify key-value stores."""

from kvsync.stores.apify.store import ApifyStore

__all__ = ["ApifyStore"]
