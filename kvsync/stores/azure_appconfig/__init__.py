"""Azure App Configuration.

store       the seam: what kvsync asks, in the order in which it is asked
connection  where the store is and how to prove who we are: `hmac_key` (connection string) or `entra` (tokens)
requests    paths, queries and escaping
listing     pages with their ETags: what did not change is not sent again; kept in `pages`
items       an entry as the API has it, and kvsync's mark in its tags
entries     the entries of a listing, made when they are asked for, and which of them are settled
writes      one write as a conditional request, one answer as a result
holds       what the service cannot hold, known offline
doctor      wrong secret, clock, role and endpoint distinguished
"""

from kvsync.stores.azure_appconfig.store import KEY_FORMAT, AzureAppConfigStore

__all__ = ["KEY_FORMAT", "AzureAppConfigStore"]
