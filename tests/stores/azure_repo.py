"""A repository for one App Configuration store, as the tests of whole passes use it."""

from __future__ import annotations

from tests.stores.emulated import StoreRepo


class Repo(StoreRepo):
    """A folder with `kvsync.yaml` and state files for one App Configuration store."""

    store = "settings"

    def options(self) -> str:
        return "    type: azure-appconfig\n    connection_string: {env: AZURE_APPCONFIG_CONNECTION_STRING}\n"
