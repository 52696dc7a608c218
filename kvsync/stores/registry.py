"""Registry of store types, and how a configured store is opened.

A type is added with one line here or, from another package, with an entry point in the group `kvsync.stores`. Types are
imported on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from kvsync.errors import PermanentError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from kvsync.config.model import StoreConfig
    from kvsync.stores.base import Store, StoreContext
    from kvsync.yaml.fields import Field

BUILTIN = {
    "apify": "kvsync.stores.apify:ApifyStore",
    "azure-appconfig": "kvsync.stores.azure_appconfig:AzureAppConfigStore",
    "cloudflare-kv": "kvsync.stores.cloudflare_kv:CloudflareKvStore",
    "etcd": "kvsync.stores.etcd:EtcdStore",
    "memory": "kvsync.stores.memory:MemoryStore",
    "sqlite": "kvsync.stores.sqlite:SqliteStore",
    "vault-kv": "kvsync.stores.vault_kv:VaultKvStore",
    "voximplant": "kvsync.stores.voximplant:VoximplantStore",
}
"""Type name to the location of its class."""

GROUP = "kvsync.stores"
"""The group of entry points by which other packages add types."""


class UnknownStoreType(LookupError):
    """No such store type, built in or installed."""


def store_types() -> tuple[str, ...]:
    """All type names, built in and installed, sorted. Loads none of them."""
    return tuple(sorted({*BUILTIN, *(point.name for point in _installed())}))


def store_class(type_name: str) -> type[Store]:
    """The class of a store type. Raises UnknownStoreType, and PermanentError if an installed package is broken."""
    if (place := BUILTIN.get(type_name)) is not None:
        module, _, name = place.partition(":")
        found: type[Store] = getattr(import_module(module), name)
        return found
    points = [point for point in _installed() if point.name == type_name]
    if not points:
        raise UnknownStoreType(f'unknown store type "{type_name}"; known types are {", ".join(store_types())}')
    if len(points) > 1:
        packages = ", ".join(sorted(_package(point) for point in points))
        raise PermanentError(
            f'store type "{type_name}" is provided by several packages ({packages}); uninstall all but one'
        )
    return _load(points[0])


class InstalledStoreTypes:
    """The built-in and installed store types, for reading the configuration."""

    def names(self) -> tuple[str, ...]:
        """All names, sorted."""
        return store_types()

    def options(self, name: str) -> tuple[Field, ...]:
        """The fields that a type declares. Raises UnknownStoreType, and PermanentError if an installed package is broken."""
        return store_class(name).options


def open_store(config: StoreConfig, context: StoreContext) -> Store:
    """Build a configured store, without I/O; in a read-only context with a wrapper that refuses writes.

    Raises UnknownStoreType, PermanentError (a broken installed package) and ValueError (an option or key_format that the type
    does not support).
    """
    from kvsync.stores.read_only import ReadOnlyStore

    store = store_class(config.type)(config, context)
    return ReadOnlyStore(store) if context.read_only else store


def _installed() -> tuple[EntryPoint, ...]:
    from importlib.metadata import entry_points  # 20 ms that the built-in types need not pay

    return tuple({(point.name, point.value): point for point in entry_points(group=GROUP)}.values())


def _load(point: EntryPoint) -> type[Store]:
    from kvsync.model.capabilities import Capabilities
    from kvsync.stores.base import Store

    origin = f'store type "{point.name}" of the package {_package(point)}'
    try:
        found = point.load()
    except Exception as error:  # importing a foreign package can raise anything
        raise PermanentError(
            f"{origin} cannot be loaded: {type(error).__name__}: {error}; update or uninstall the package"
        ) from error
    if not (isinstance(found, type) and issubclass(found, Store)):
        raise PermanentError(
            f"{origin}: {point.value} is not a subclass of kvsync.stores.base.Store; correct its entry point"
        )
    if found.__abstractmethods__:
        raise PermanentError(
            f"{origin}: {point.value} does not implement {', '.join(sorted(found.__abstractmethods__))}"
        )
    if not isinstance(getattr(found, "capabilities", None), Capabilities):
        raise PermanentError(f"{origin}: {point.value} has no capabilities")
    return found


def _package(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else point.value
