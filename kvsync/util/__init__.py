"""Helpers that know nothing of kvsync: files, threads."""
