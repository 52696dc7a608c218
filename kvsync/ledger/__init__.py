"""Ledger: the record of what kvsync last applied at a place, in the state directory and optionally in the store."""
