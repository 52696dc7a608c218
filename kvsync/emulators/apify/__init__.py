"""Emulator of Apify key-value stores (API v2)."""
