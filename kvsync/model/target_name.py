"""Names of targets as people write them: STORE, or STORE/NAMESPACE."""

from __future__ import annotations

from collections.abc import Collection

from kvsync.errors import UsageError


def parse_target(target: str, stores: Collection[str]) -> tuple[str, str | None]:
    """The store, and the namespace unless all of the store is meant. Raises UsageError when no such store is configured."""
    store, slash, namespace = target.partition("/")
    if store not in stores or (slash and not namespace):
        names = ", ".join(sorted(stores))
        raise UsageError(f"unknown target {target!r}; expected STORE or STORE/NS, with one of the stores {names}")
    return store, namespace if slash else None
