"""Installed store types, and what each can do."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from kvsync.errors import KvsyncError
from kvsync.model.capabilities import Capabilities
from kvsync.stores.registry import store_class, store_types


@dataclass(frozen=True, slots=True)
class StoreType:
    """One type: its capabilities, and its options as plain data."""

    capabilities: Capabilities
    options: tuple[dict[str, Any], ...]

    def document(self) -> dict[str, Any]:
        """The type as plain data."""
        return asdict(self.capabilities) | {"options": list(self.options)}


def installed_types() -> tuple[list[StoreType], list[str]]:
    """All types, built in and installed, and what is wrong with those that cannot be loaded."""
    found, broken = [], []
    for name in store_types():
        try:
            found.append(_described(name))
        except KvsyncError as error:
            broken.append(str(error))
    return found, broken


def _described(name: str) -> StoreType:
    store = store_class(name)
    options = ({"name": one.name, "required": one.required, "help": one.help} for one in store.options)
    return StoreType(store.capabilities, tuple(options))
