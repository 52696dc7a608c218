"""Helpers that are independent of kvsync: files, threads, text."""
