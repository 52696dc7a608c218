"""Emulator of Voximplant's key-value storage in the Management API."""
