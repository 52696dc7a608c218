"""HashiCorp Vault and OpenBao, KV version 2.

store     the seam: what kvsync asks, in the order in which it is asked
api       paths, requests and errors of the API
remote    the connection, the mount, reads of one secret, and listings of paths and metadata
auth      tokens: given, or from a login; renewed before they expire
secrets   a secret with its metadata as an entry with its mark
writing   the requests of one write, and what a crash between two of them means
doctor    address, credential, mount, permissions and clock distinguished
"""

from kvsync.stores.vault_kv.store import KEY_FORMAT, VaultKvStore

__all__ = ["KEY_FORMAT", "VaultKvStore"]
