"""The store type `voximplant`: the key-value storage of a Voximplant application."""

from kvsync.stores.voximplant.store import VoximplantStore

__all__ = ["VoximplantStore"]
