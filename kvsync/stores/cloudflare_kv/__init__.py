"""Cloudflare Workers KV.

store       the seam: what kvsync asks, in the order in which it is asked
remote      the remote side: one client, one quota for all who share a token, one id for each title
namespaces  titles to ids, and new namespaces where they may be made
listing     names, lifetimes and metadata, a thousand a call; hardly anything of it is kept
reading     values by the hundred, and one by one where they are not text
writing     pairs by the thousand, deletes apart
metadata    what of an entry's metadata is the user's, and what is kvsync's mark
answers     what the API means by its answers; `token` is what proves who we are
doctor      token, account, permissions, namespaces, clock and quota distinguished
"""

from kvsync.stores.cloudflare_kv.store import CloudflareKvStore

__all__ = ["CloudflareKvStore"]
