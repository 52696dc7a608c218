"""Stores: the interface (`base`), the built-in types, and the registry of all installed types (`registry`)."""
