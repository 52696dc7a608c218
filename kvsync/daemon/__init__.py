"""Daemon: decides when each target gets a pass."""
