"""The store type `cloudflare-kv`: Cloudflare Workers KV."""

from kvsync.stores.cloudflare_kv.store import CloudflareKvStore

__all__ = ["CloudflareKvStore"]
