"""Creates a store, writes, reads, lists and deletes with the SDK that is installed; prints its version."""

import os
from importlib.metadata import version

from apify_client import ApifyClient

client = ApifyClient(os.environ["APIFY_TOKEN"], api_url=os.environ["APIFY_CLIENT_BASE_URL"])
store = client.key_value_store(client.key_value_stores().get_or_create(name="shop")["id"])
store.set_record("a", {"b": 1})
store.set_record("page", "<p>é</p>", content_type="text/html; charset=utf-8")
record = store.get_record("a")
assert record is not None
assert record["value"] == {"b": 1}, record
assert store.record_exists("page")
assert [one["key"] for one in store.list_keys()["items"]] == ["a", "page"]
store.delete_record("a")
assert store.get_record("a") is None
store.delete()
assert client.key_value_stores().list().items == []
print(version("apify-client"))
