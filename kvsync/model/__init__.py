"""Domain model: entries, places, policies and plans as frozen values. No I/O, no clock, no logging."""
