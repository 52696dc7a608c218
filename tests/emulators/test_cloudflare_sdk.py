"""The official Python SDK, sync and async, unchanged, over every operation on KV that it offers."""

from __future__ import annotations

import inspect
import time
from collections.abc import AsyncIterator
from typing import Any

import cloudflare as vendor
import pytest

from kvsync.emulators.server import Running
from tests.emulators.kv_api import AWKWARD, KvApi


class Sdk:
    """One of the two clients, called in one way, on one namespace."""

    def __init__(self, client: Any, account: str) -> None:
        self.kv, self.account, self.namespace = client.kv, account, ""

    async def __call__(self, operation: str, *args: Any, **kwargs: Any) -> Any:
        """Call an operation below `namespaces`, such as `values.get`, on the namespace in use."""
        where = {"account_id": self.account, "namespace_id": self.namespace}
        return await self._call(operation, *args, **where, **kwargs)

    async def on_account(self, operation: str, **kwargs: Any) -> Any:
        """Call an operation that is about no namespace."""
        return await self._call(operation, account_id=self.account, **kwargs)

    async def _call(self, operation: str, *args: Any, **kwargs: Any) -> Any:
        found = self.kv.namespaces
        for name in operation.split("."):
            found = getattr(found, name)
        answer = found(*args, **kwargs)
        if hasattr(answer, "__aiter__"):
            return [item async for item in answer]
        if inspect.isawaitable(answer):
            answer = await answer
        return list(answer) if hasattr(answer, "iter_pages") else answer

    async def value(self, key: str) -> bytes:
        """The bytes of a value."""
        answer = (await self("values.get", key)).read()
        found: bytes = await answer if inspect.isawaitable(answer) else answer
        return found


@pytest.fixture(params=["sync", "async"])
async def sdk(
    request: pytest.FixtureRequest, cloudflare: Running, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Sdk]:
    """A client that finds everything in its environment, with a namespace of its own."""
    for name, value in cloudflare.env.items():
        monkeypatch.setenv(name, value)
    account = cloudflare.env["CLOUDFLARE_ACCOUNT_ID"]
    if request.param == "sync":
        with vendor.Cloudflare() as client:
            yield await _with_namespace(Sdk(client, account))
    else:
        async with vendor.AsyncCloudflare() as client_of_its_own:
            yield await _with_namespace(Sdk(client_of_its_own, account))


async def _with_namespace(sdk: Sdk) -> Sdk:
    sdk.namespace = (await sdk.on_account("create", title="test")).id
    return sdk


async def test_namespaces(sdk: Sdk) -> None:
    """Namespaces are made, found, listed over pages, renamed and removed; a title is taken once."""
    with pytest.raises(vendor.BadRequestError) as taken:
        await sdk.on_account("create", title="test")
    assert taken.value.errors[0].code == 10014
    for number in range(45):
        await sdk.on_account("create", title=f"n{number:02}")
    found = await sdk.on_account("list", order="title", direction="desc", per_page=20)
    assert [item.title for item in found] == ["test", *(f"n{number:02}" for number in reversed(range(45)))]
    assert (await sdk("update", title="renamed")).title == "renamed"
    found = await sdk("get")
    assert (found.id, found.title, found.supports_url_encoding) == (sdk.namespace, "renamed", True)
    await sdk("delete")
    with pytest.raises(vendor.NotFoundError) as gone:
        await sdk("get")
    assert gone.value.errors[0].code == 10013


async def test_values(sdk: Sdk) -> None:
    """A value keeps its bytes, and has its metadata and end replaced with it."""
    value = b"\x00\xff\r\n--boundary\r\n"
    await sdk("values.update", "k", value=value, metadata={"a": [1, "é"]}, expiration_ttl=3600)
    assert await sdk.value("k") == value
    assert await sdk("metadata.get", "k") == {"a": [1, "é"]}
    (key,) = await sdk("keys.list")
    assert (key.name, key.metadata) == ("k", {"a": [1, "é"]})
    assert abs(key.expiration - time.time() - 3600) < 60
    await sdk("values.update", "k", value=b"")
    assert (await sdk.value("k"), await sdk("metadata.get", "k")) == (b"", None)
    assert [item.expiration for item in await sdk("keys.list")] == [None]
    await sdk("values.delete", "k")
    await sdk("values.delete", "k")
    with pytest.raises(vendor.NotFoundError) as missing:
        await sdk.value("k")
    assert missing.value.errors[0].code == 10009


async def test_awkward_keys(sdk: Sdk) -> None:
    """The SDK's own encoding of names arrives as the name that was meant."""
    for number, key in enumerate(AWKWARD):
        await sdk("values.update", key, value=str(number).encode(), metadata={"n": number})
    assert [item.name for item in await sdk("keys.list", limit=10)] == sorted(AWKWARD, key=str.encode)
    found = await sdk("bulk_get", keys=list(AWKWARD))
    assert found.values == {key: str(number) for number, key in enumerate(AWKWARD)}
    for number, key in enumerate(AWKWARD):
        assert (await sdk.value(key), await sdk("metadata.get", key)) == (str(number).encode(), {"n": number})
        await sdk("values.delete", key)
    assert await sdk("keys.list") == []


async def test_bulk(sdk: Sdk) -> None:
    """Pairs are put, got and deleted in bulk; base64 is decoded, and what is missing is null."""
    pairs: list[dict[str, Any]] = [
        {"key": "plain", "value": "é"},
        {"key": "binary", "value": "AAECAw==", "base64": True, "metadata": {"b": True}},
        {"key": "json", "value": '{"a": [1]}', "expiration": int(time.time()) + 3600, "metadata": "m"},
    ]
    done = await sdk("bulk_update", body=pairs)
    assert (done.successful_key_count, done.unsuccessful_keys) == (3, [])
    assert await sdk.value("binary") == b"\x00\x01\x02\x03"
    assert (await sdk("bulk_get", keys=["plain", "none"])).values == {"plain": "é", "none": None}
    assert (await sdk("bulk_get", keys=["json"], type="json")).values == {"json": {"a": [1]}}
    found = (await sdk("bulk_get", keys=["json", "none"], with_metadata=True)).values
    assert (found["json"].value, found["json"].metadata, found["none"]) == ('{"a": [1]}', "m", None)
    assert found["json"].expiration == pairs[2]["expiration"]
    done = await sdk("bulk_delete", body=["plain", "json", "none"])
    assert done.successful_key_count == 3
    assert [item.name for item in await sdk("keys.list")] == ["binary"]


@pytest.mark.filterwarnings("ignore:Please use kv.namespaces:DeprecationWarning")
async def test_deprecated_names_of_bulk_operations(sdk: Sdk) -> None:
    """The bulk operations that the SDK still has under `keys` work, too."""
    await sdk("keys.bulk_update", body=[{"key": "k", "value": "v"}])
    assert (await sdk("keys.bulk_get", keys=["k"])).values == {"k": "v"}
    await sdk("keys.bulk_delete", body=["k"])
    assert await sdk("keys.list") == []


async def test_lists(sdk: Sdk) -> None:
    """All keys with a prefix are listed, page after page."""
    body = [{"key": f"{prefix}/{number:03}", "value": ""} for prefix in "ab" for number in range(105)]
    await sdk("bulk_update", body=body)
    found = await sdk("keys.list", prefix="b/", limit=10)
    assert [item.name for item in found] == [f"b/{number:03}" for number in range(105)]


async def test_what_fails_for_a_moment_is_repeated(sdk: Sdk, cloudflare: Running) -> None:
    """The SDK understands that a call may be repeated, and the second time it works."""
    with KvApi(cloudflare) as http:
        http.control("PUT", "faults", {"spec": "503:1", "times": 1})
        assert [item.title for item in await sdk.on_account("list")] == ["test"]
        assert http.control("GET", "stats")["statuses"]["503"] == 1


async def test_credentials(cloudflare: Running) -> None:
    """The older pair of mail address and key opens as well; a wrong token does not."""
    account, key = cloudflare.env["CLOUDFLARE_ACCOUNT_ID"], cloudflare.env["CLOUDFLARE_EMULATOR_API_KEY"]
    email = cloudflare.env["CLOUDFLARE_EMULATOR_EMAIL"]
    with vendor.Cloudflare(api_email=email, api_key=key, base_url=cloudflare.url) as legacy:
        assert list(legacy.kv.namespaces.list(account_id=account)) == []
    with (
        vendor.Cloudflare(api_token="wrong", base_url=cloudflare.url) as wrong,
        pytest.raises(vendor.AuthenticationError),
    ):
        wrong.kv.namespaces.list(account_id=account)
