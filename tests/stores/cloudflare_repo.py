"""A repository for one Workers KV account, as the tests of whole passes use it."""

from __future__ import annotations

from tests.stores.emulated import StoreRepo


class Repo(StoreRepo):
    """A folder with `kvsync.yaml` and state files for one store."""

    store = "edge"

    def options(self) -> str:
        return (
            f"    type: cloudflare-kv\n    account_id: {self.service.account}\n    token: {{env: CLOUDFLARE_API_TOKEN}}\n"
            f"    endpoint: {self.service.url}\n"
        )
