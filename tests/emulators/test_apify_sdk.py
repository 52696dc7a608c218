"""The official Python client, sync and async, unchanged, over everything that it does with key-value stores."""

from __future__ import annotations

import gzip
import inspect
import json
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import apify_client as vendor
import httpx
import pytest
from apify_client.errors import ApifyApiError

from kvsync.emulators.server import Running
from tests.emulators.apify_api import AWKWARD, ApifyApi


class Sdk:
    """One of the two clients, called in one way, on one store."""

    def __init__(self, client: Any) -> None:
        self.client, self.store = client, ""

    async def __call__(self, operation: str, *args: Any, **kwargs: Any) -> Any:
        """Call an operation on the store in use."""
        return await _call(getattr(self.client.key_value_store(self.store), operation), *args, **kwargs)

    async def on_account(self, operation: str, *args: Any, **kwargs: Any) -> Any:
        """Call an operation that is about all stores."""
        return await _call(getattr(self.client.key_value_stores(), operation), *args, **kwargs)

    async def stream(self, key: str) -> Any:
        """A record that is read as a stream, whole; None for none."""
        async with AsyncExitStack() as stack:
            opened = self.client.key_value_store(self.store).stream_record(key)
            if hasattr(opened, "__aenter__"):
                found = await stack.enter_async_context(opened)
                return found and (await found["value"].aread(), found["content_type"])
            found = stack.enter_context(opened)
            return found and (found["value"].read(), found["content_type"])


async def _call(method: Any, *args: Any, **kwargs: Any) -> Any:
    answer = method(*args, **kwargs)
    if hasattr(answer, "__aiter__"):
        return [item async for item in answer]
    if inspect.isgenerator(answer):
        return list(answer)
    return await answer if inspect.isawaitable(answer) else answer


@pytest.fixture(params=["sync", "async"])
async def sdk(request: pytest.FixtureRequest, apify: Running) -> Sdk:
    """A client, with a store of its own."""
    class_ = vendor.ApifyClient if request.param == "sync" else vendor.ApifyClientAsync
    found = Sdk(_client(class_, apify))
    found.store = (await found.on_account("get_or_create", name="test")).id
    return found


def fetch(url: str) -> httpx.Response:
    """What anybody gets at a URL."""
    return httpx.get(url)


def _client(class_: Any, server: Running, **options: Any) -> Any:
    url = server.env["APIFY_CLIENT_BASE_URL"]
    options = {"token": server.env["APIFY_TOKEN"], "max_retries": 0} | options
    return class_(api_url=url, api_public_url=url, **options)


async def test_stores(sdk: Sdk) -> None:
    """Stores are made once for a name, found by id and by name, changed, listed and removed."""
    again = await sdk.on_account("get_or_create", name="TEST")
    assert (again.id, again.name) == (sdk.store, "test")
    unnamed = await sdk.on_account("get_or_create")
    assert unnamed.name is None
    updated = await sdk("update", name="renamed", title="A title", general_access="RESTRICTED")
    assert (updated.name, updated.title, updated.general_access) == ("renamed", "A title", "RESTRICTED")
    listed = await sdk.on_account("list", unnamed=True, desc=True)
    assert [item.id for item in listed.items] == [unnamed.id, sdk.store]
    assert (listed.total, listed.count, listed.desc, listed.unnamed) == (2, 2, True, True)
    assert [item.id for item in await sdk.on_account("iterate", chunk_size=1, unnamed=True)] == [sdk.store, unnamed.id]
    sdk.store = f"{updated.username}/Renamed"
    found = await sdk("get")
    assert (found.id, found.stats.write_count) == (updated.id, 0)
    assert found.url_signing_secret_key
    await sdk("delete")
    assert await sdk("get") is None


async def test_a_store_with_a_schema(sdk: Sdk) -> None:
    """A schema is kept with the store, and its collections choose keys."""
    collections = {"pages": {"title": "Pages", "keyPrefix": "page-", "contentTypes": ["text/html"]}}
    schema = {"actorKeyValueStoreSchemaVersion": 1, "title": "Schema", "collections": collections}
    made = await sdk.on_account("get_or_create", name="with-schema", schema=schema)
    assert made.schema_ == schema
    sdk.store = made.id
    await sdk("set_record", "page-1", "<p>", content_type="text/html")
    await sdk("set_record", "other", "text")
    with pytest.raises(ApifyApiError) as refused:
        await sdk("set_record", "page-2", "text")
    assert refused.value.status_code == 400
    assert [item.key for item in (await sdk("list_keys", collection="pages")).items] == ["page-1"]


async def test_records(sdk: Sdk) -> None:
    """A record keeps its bytes and its content type, whatever it is made from."""
    records: dict[str, Any] = {
        "json": {"a": [1, "é"]},
        "text": "é",
        "bytes": b"\x00\xff\r\n",
        "number": 1.5,
        "empty": b"",
    }
    for key, value in records.items():
        await sdk("set_record", key, value)
    found = {key: await sdk("get_record", key) for key in records}
    assert {key: record["value"] for key, record in found.items()} == records
    assert [found[key]["content_type"] for key in ("json", "text", "bytes")] == [
        "application/json; charset=utf-8",
        "text/plain; charset=utf-8",
        "application/octet-stream",
    ]
    assert json.loads((await sdk("get_record_as_bytes", "json"))["value"]) == records["json"]
    assert await sdk.stream("bytes") == (b"\x00\xff\r\n", "application/octet-stream")
    assert [await sdk("record_exists", key) for key in ("json", "none")] == [True, False]
    await sdk("delete_record", "json")
    await sdk("delete_record", "json")
    assert [await sdk("get_record", "json"), await sdk("get_record_as_bytes", "json"), await sdk.stream("json")] == [
        None
    ] * 3


async def test_what_the_client_compresses_is_the_same_afterwards(sdk: Sdk, apify: Running) -> None:
    """The client compresses on its own, and may be handed what is compressed already; readers see neither."""
    text = "long enough to be compressed " * 100
    await sdk("set_record", "own", text)
    await sdk("set_record", "given", gzip.compress(text.encode()), content_encoding="gzip", content_type="text/plain")
    for key in ("own", "given"):
        assert (await sdk("get_record", key))["value"] == text
    sizes = [item.size for item in (await sdk("list_keys")).items]
    assert all(size < len(text) / 10 for size in sizes)


async def test_keys(sdk: Sdk) -> None:
    """Keys are listed over pages in the order of their bytes; awkward ones can be read and removed."""
    for key in AWKWARD:
        await sdk("set_record", key, key)
    assert [item.key for item in await sdk("iterate_keys", chunk_size=3)] == sorted(AWKWARD)
    assert [item.key for item in await sdk("iterate_keys", prefix="a", limit=1)] == ["a"]
    page = await sdk("list_keys", limit=2, exclusive_start_key="A0")
    assert [item.key for item in page.items] == sorted(AWKWARD)[sorted(AWKWARD).index("A") + 1 :][:2]
    assert (page.is_truncated, page.next_exclusive_start_key) == (True, page.items[-1].key)
    last = await sdk("list_keys")
    assert (last.is_truncated, last.next_exclusive_start_key, last.limit) == (False, None, 1000)
    for key in AWKWARD:
        assert (await sdk("get_record", key))["value"] == key
        await sdk("delete_record", key)
    assert await sdk("iterate_keys") == []


async def test_signed_urls(sdk: Sdk) -> None:
    """URLs that the client signs open what they name to everybody, and nothing else, until they expire."""
    await sdk("set_record", "k", "value")
    await sdk("update", general_access="RESTRICTED")
    url = await sdk("get_record_public_url", "k")
    assert fetch(url).text == "value"
    assert fetch(url.replace("/records/k", "/records/other")).status_code == 403
    keys = await sdk("create_keys_public_url", limit=1)
    assert [item["key"] for item in fetch(keys).json()["data"]["items"]] == ["k"]
    expired = await sdk("create_keys_public_url", expires_in=timedelta(hours=-1))
    assert fetch(expired).status_code == 403
    (item,) = (await sdk("list_keys")).items
    assert str(item.record_public_url) == url
    found = await sdk("get")
    assert fetch(str(found.records_public_url)).headers["content-type"] == "application/zip"


async def test_what_fails_for_a_moment_is_repeated(sdk: Sdk, apify: Running) -> None:
    """The client understands that a call may be repeated, and the second time it works."""
    patient = _client(type(sdk.client), apify, max_retries=3, min_delay_between_retries=timedelta(milliseconds=1))
    with ApifyApi(apify) as http:
        for status in (429, 503):
            http.control("PUT", "faults", {"spec": f"{status}:1", "times": 1})
            assert await _call(patient.key_value_store(sdk.store).get)
        assert set(http.control("GET", "stats")["statuses"]) >= {"429", "503"}


async def test_the_account(sdk: Sdk) -> None:
    """The client reads the user, the limits and the usage of the month into its models."""
    user = sdk.client.user()
    limits, usage = await _call(user.limits), await _call(user.monthly_usage)
    assert (await _call(user.get)).username == "kvsync-emulator"
    assert limits.current.monthly_usage_usd == usage.total_usage_credits_usd_after_volume_discount == 0
    assert limits.monthly_usage_cycle == usage.usage_cycle


async def test_credentials(sdk: Sdk, apify: Running) -> None:
    """The client knows who it is; with a wrong token it is nobody."""
    assert (await _call(sdk.client.user("me").get)).username == "kvsync-emulator"
    with pytest.raises(ApifyApiError) as refused:
        await _call(_client(type(sdk.client), apify, token="wrong").key_value_stores().list)
    assert (refused.value.status_code, refused.value.type) == (401, "token-not-valid")
