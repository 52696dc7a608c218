"""The ledger: what kvsync applied last at a place, in the state directory and, where a store keeps one, in the store."""
