"""Apify key-value stores.

store       the seam: what kvsync asks, in the order in which it is asked
remote      the remote side: one client, and one store of the API for each name
namespaces  names to ids, and new stores where they may be made; those that would expire are refused
place       what a namespace is: user and store by their ids
views       the two ways to see a store as a whole
listing     keys and sizes, a thousand a page, and whether the pages ended well
archive     all records as one ZIP, taken in piece by piece and read without ever being extracted
records     one record: read, written, deleted
versions    what represents what was seen of a record, though the API has no versions
elsewhere   records that another host gives out, which is asked without the token
contents    content types, as the API has them and as kvsync has them
answers     what the API means by its answers; `token` is what proves who we are
rates       how often one store may be asked
doctor      token, permissions, clock distinguished
"""

from kvsync.stores.apify.store import ApifyStore

__all__ = ["ApifyStore"]
