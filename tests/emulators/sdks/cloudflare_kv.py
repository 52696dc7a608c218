"""Creates a namespace, writes, reads, lists and deletes with the SDK that is installed; prints its version."""

import os

import cloudflare

client = cloudflare.Cloudflare(api_token=os.environ["CLOUDFLARE_API_TOKEN"])
account = os.environ["CLOUDFLARE_ACCOUNT_ID"]
namespaces = client.kv.namespaces
made = namespaces.create(account_id=account, title="shop")
assert made is not None
assert [one.title for one in namespaces.list(account_id=account)] == ["shop"]
where = {"account_id": account, "namespace_id": made.id}
# Not by `values.update`: version 4 sends JSON, and the service stores that as the value.
values = {"a-b": "1", "c": "2", "d": "3"}
namespaces.bulk_update(
    body=[{"key": key, "value": value, "metadata": {"m": 1}} for key, value in values.items()], **where
)
assert namespaces.values.get("a-b", **where).read() == b"1"
assert namespaces.metadata.get("a-b", **where) == {"m": 1}
assert [one.name for one in namespaces.keys.list(**where)] == ["a-b", "c", "d"]
namespaces.bulk_delete(body=["c"], **where)
namespaces.values.delete("a-b", **where)
assert [one.name for one in namespaces.keys.list(**where)] == ["d"]
namespaces.delete(**where)
print(cloudflare.__version__)
