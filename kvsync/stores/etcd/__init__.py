"""etcd, through its v3 JSON gateway (`kvsync.http.etcd`).

store    the seam: what kvsync asks, in the order in which it is asked
remote   connections to the endpoints, with failover; the ids of the cluster; leases
listing  ranges in pages of 10,000 at one revision, and whether one changed
entries  a key and its sidecar as an entry with its mark, and a batch of writes as one transaction
watch    streams of changes
doctor   endpoints, credential, permissions, alarms and clock distinguished
"""

from kvsync.stores.etcd.store import KEY_FORMAT, EtcdStore

__all__ = ["KEY_FORMAT", "EtcdStore"]
