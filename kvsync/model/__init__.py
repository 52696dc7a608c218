"""Frozen values that travel between the parts: entries, places, policies, plans. No I/O, no clock, no logging."""
