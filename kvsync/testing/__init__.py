"""Test tools for kvsync and for third-party stores. Shipped with kvsync, but not needed at run time.

- `StoreConformance`: the tests that every store passes; subclass it (`kvsync.testing.conformance` says how).
- `MemoryServer`, `memory_store`: a remote in this process that fails on command, and a connection to it.
- `FakeClock`: a clock that moves only when a test advances it.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kvsync.testing.clock import FakeClock
    from kvsync.testing.conformance import StoreConformance, StoreHarness
    from kvsync.testing.server import MemoryServer, memory_store

__all__ = ["FakeClock", "MemoryServer", "StoreConformance", "StoreHarness", "memory_store"]

_HOMES = {
    "StoreHarness": "conformance",
    "FakeClock": "clock",
    "MemoryServer": "server",
    "StoreConformance": "conformance",
    "memory_store": "server",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(name)
    suite = "kvsync.testing.conformance"
    if (pytest := sys.modules.get("pytest")) is not None and suite not in sys.modules:
        pytest.register_assert_rewrite(suite)  # so that failed assertions of the suite show both sides
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
