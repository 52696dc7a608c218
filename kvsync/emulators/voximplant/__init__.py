"""Voximplant's key-value storage, as its Management API shows it."""
