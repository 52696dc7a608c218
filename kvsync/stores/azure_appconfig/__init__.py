"""The store type `azure-appconfig`: Azure App Configuration."""

from kvsync.stores.azure_appconfig.store import AzureAppConfigStore

__all__ = ["AzureAppConfigStore"]
