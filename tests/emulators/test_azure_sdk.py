"""The official Python SDK, sync and async, unchanged, over every operation that it offers."""

from __future__ import annotations

import inspect
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from azure.appconfiguration import (
    AzureAppConfigurationClient,
    ConfigurationSetting,
    ConfigurationSettingsFilter,
    FeatureFlagConfigurationSetting,
    ResourceReadOnlyError,
    SecretReferenceConfigurationSetting,
)
from azure.appconfiguration.aio import AzureAppConfigurationClient as AsyncClient
from azure.core import MatchConditions
from azure.core.credentials import AccessToken
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
)
from azure.core.rest import HttpRequest

from kvsync.emulators.server import Running
from tests.emulators.conftest import Http, azure_emulator


class Sdk:
    """One of the two clients, called in one way: `await sdk.set_configuration_setting(…)`, `await sdk.listed(…)`."""

    def __init__(self, client: Any) -> None:
        self.client = client

    def __getattr__(self, name: str) -> Any:
        async def call(*args: Any, **kwargs: Any) -> Any:
            found = getattr(self.client, name)(*args, **kwargs)
            return await found if inspect.isawaitable(found) else found

        return call

    async def items(self, found: Any) -> list[Any]:
        """Everything in a pager."""
        return [item async for item in found] if hasattr(found, "__aiter__") else list(found)

    async def listed(self, operation: str, /, **kwargs: Any) -> list[Any]:
        """Everything that a listing operation yields."""
        return await self.items(getattr(self.client, operation)(**kwargs))

    async def etags(self, pages: Any) -> list[str]:
        """The etags of all pages that are not skipped."""
        if hasattr(pages, "__aiter__"):
            return [pages.etag async for _ in pages]
        return [pages.etag for _ in pages]

    async def put(self, key: str, value: str = "v", label: str | None = None, **members: Any) -> Any:
        """Set a key-value."""
        return await self.set_configuration_setting(ConfigurationSetting(key=key, value=value, label=label, **members))

    async def snapshot(self, name: str, *filters: ConfigurationSettingsFilter, **options: Any) -> Any:
        """Make a snapshot and wait for it."""
        poller = await self.begin_create_snapshot(name, list(filters), polling_interval=0.01, **options)
        found = poller.result()
        return await found if inspect.isawaitable(found) else found


@pytest.fixture(params=["sync", "async"])
async def sdk(request: pytest.FixtureRequest, azure: Running) -> AsyncIterator[Sdk]:
    """A client made from the connection string that the emulator prints."""
    connection_string = azure.env["AZURE_APPCONFIG_CONNECTION_STRING"]
    if request.param == "sync":
        with AzureAppConfigurationClient.from_connection_string(connection_string) as client:
            yield Sdk(client)
    else:
        async with AsyncClient.from_connection_string(connection_string) as client_of_its_own:
            yield Sdk(client_of_its_own)


async def test_add_get_set_delete(sdk: Sdk) -> None:
    """A setting is added once, read with its label, changed, and deleted; what is not there is not found."""
    setting = ConfigurationSetting(
        key="a/b c+é", label="pröd/1", value="1", content_type="text/plain", tags={"t": "x=y"}
    )
    added = await sdk.add_configuration_setting(setting)
    with pytest.raises(ResourceExistsError):
        await sdk.add_configuration_setting(setting)
    found = await sdk.get_configuration_setting("a/b c+é", label="pröd/1")
    assert (found.value, found.content_type, found.tags, found.etag) == ("1", "text/plain", {"t": "x=y"}, added.etag)
    assert abs((found.last_modified - datetime.now(UTC)).total_seconds()) < 60
    with pytest.raises(ResourceNotFoundError):
        await sdk.get_configuration_setting("a/b c+é")
    found.value = "2"
    assert (await sdk.set_configuration_setting(found)).etag != added.etag
    assert (await sdk.delete_configuration_setting("a/b c+é", label="pröd/1")).value == "2"
    assert await sdk.delete_configuration_setting("a/b c+é", label="pröd/1") is None


async def test_conditions(sdk: Sdk) -> None:
    """Reads, writes and deletes on the condition of an etag are refused when someone else has written."""
    seen = await sdk.put("k", "1")
    unchanged = {"etag": seen.etag, "match_condition": MatchConditions.IfModified}
    assert await sdk.get_configuration_setting("k", **unchanged) is None
    current = await sdk.put("k", "2")
    seen.value = "mine"
    ours = {"etag": seen.etag, "match_condition": MatchConditions.IfNotModified}
    with pytest.raises(ResourceModifiedError):
        await sdk.set_configuration_setting(seen, **ours)
    with pytest.raises(ResourceModifiedError):
        await sdk.delete_configuration_setting("k", **ours)
    assert (await sdk.get_configuration_setting("k", **unchanged)).value == "2"
    current.value = "3"
    await sdk.set_configuration_setting(current, match_condition=MatchConditions.IfNotModified)
    with pytest.raises(ResourceNotFoundError):
        await sdk.set_configuration_setting(
            ConfigurationSetting(key="new", value=""), match_condition=MatchConditions.IfPresent
        )


async def test_read_only(sdk: Sdk) -> None:
    """A read-only setting cannot be changed or deleted until it is writable again."""
    setting = await sdk.put("k")
    locked = await sdk.set_read_only(setting)
    assert locked.read_only is True
    with pytest.raises(ResourceReadOnlyError):
        await sdk.put("k", "w")
    with pytest.raises(ResourceReadOnlyError):
        await sdk.delete_configuration_setting("k")
    with pytest.raises(ResourceModifiedError):
        await sdk.set_read_only(setting, read_only=False, match_condition=MatchConditions.IfNotModified)
    await sdk.set_read_only(locked, read_only=False, match_condition=MatchConditions.IfNotModified)
    assert (await sdk.put("k", "w")).read_only is False


async def test_lists(sdk: Sdk) -> None:
    """Settings are listed over pages, by key, label and tags, with chosen fields."""
    for number in range(105):
        await sdk.put(f"k{number:03}", str(number), label="odd" if number % 2 else None, tags={"n": str(number % 10)})
    await sdk.put("a,b*c\\d")

    async def keys(**asked: Any) -> list[str]:
        return [item.key for item in await sdk.listed("list_configuration_settings", **asked)]

    assert len(await keys()) == 106
    assert len(await keys(key_filter="k*", label_filter="\0")) == 53
    assert len(await keys(label_filter="odd")) == 52
    assert await keys(key_filter="k001,k003", label_filter="odd,\0") == ["k001", "k003"]
    assert await keys(key_filter="a\\,b\\*c\\\\d") == ["a,b*c\\d"]
    assert await keys(key_filter="k0*", tags_filter=["n=7"]) == [f"k0{tens}7" for tens in range(10)]
    found = await sdk.listed("list_configuration_settings", key_filter="k001", fields=["key", "read_only"])
    assert [(item.key, item.read_only, item.value, item.etag) for item in found] == [("k001", False, None, None)]
    with pytest.raises(HttpResponseError):
        await keys(key_filter="a*b")


async def test_unchanged_pages(sdk: Sdk) -> None:
    """Pages that have not changed since their etags were seen are skipped, with GET and with HEAD."""
    for number in range(150):
        await sdk.put(f"k{number:03}")

    async def etags(**conditions: Any) -> list[str]:
        return await sdk.etags(sdk.client.list_configuration_settings().by_page(**conditions))

    seen = await etags()
    assert len(seen) == 2
    assert await etags(match_conditions=seen) == []
    await sdk.put("k120", "changed")
    changed = await etags(match_conditions=seen)
    assert len(changed) == 1
    assert changed != seen[1:]


async def test_heads_of_lists(sdk: Sdk, http: Http) -> None:
    """`check_configuration_settings` asks with HEAD and gets the page etag."""
    await sdk.put("k")
    pages = sdk.client.check_configuration_settings(key_filter="k").by_page()
    await sdk.etags(pages)
    assert pages.etag == http.get("/kv?key=k").headers["ETag"]
    assert http.control("GET", "stats")["routes"]["HEAD /kv"] >= 1


async def test_revisions_and_the_past(sdk: Sdk, http: Http) -> None:
    """Revisions are listed newest first, and a setting is read as it was at a moment."""
    http.control("PUT", "clock", {"now": time.time() - 3600})
    await sdk.put("k", "1", label="x", tags={"a": "b"})
    http.control("PUT", "clock", {"now": time.time()})
    await sdk.put("k", "2", label="x")
    assert [item.value for item in await sdk.listed("list_revisions", key_filter="k")] == ["2", "1"]
    assert [item.value for item in await sdk.listed("list_revisions", tags_filter=["a=b"])] == ["1"]
    then = datetime.now(UTC) - timedelta(minutes=30)
    assert (await sdk.get_configuration_setting("k", label="x", accept_datetime=then)).value == "1"
    for moment in (then, str(then), f"{then:%a, %d %b %Y %H:%M:%S GMT}"):
        past = await sdk.listed("list_configuration_settings", accept_datetime=moment)
        assert [item.value for item in past] == ["1"]
    assert len(await sdk.listed("list_revisions", accept_datetime=then)) == 1


async def test_labels(sdk: Sdk) -> None:
    """Labels are listed once each, by name, the null label among them."""
    for label in ("b", None, "a", "b"):
        await sdk.put("k", label=label)
    assert [item.name for item in await sdk.listed("list_labels")] == [None, "a", "b"]
    assert [item.name for item in await sdk.listed("list_labels", name="b*")] == ["b"]


async def test_snapshots(sdk: Sdk) -> None:
    """A snapshot is made, found, listed, read, archived and recovered."""
    await sdk.put("a", "1")
    await sdk.put("a", "2", label="x", tags={"t": "1"})
    tagged = ConfigurationSettingsFilter(key="*", label="x", tags=["t=1"])
    made = await sdk.snapshot("s 1", ConfigurationSettingsFilter(key="*"), tagged, composition_type="key_label",
                              retention_period=3600, tags={"a": "b"})  # fmt: skip
    assert (made.name, made.status, made.items_count, made.retention_period) == ("s 1", "ready", 2, 3600)
    assert [each.tags for each in made.filters] == [None, ["t=1"]]
    with pytest.raises(ResourceExistsError):
        await sdk.snapshot("s 1", tagged)
    await sdk.put("a", "later")
    content = await sdk.listed("list_configuration_settings", snapshot_name="s 1")
    assert [item.value for item in content] == ["1", "2"]
    archived = await sdk.archive_snapshot("s 1", etag=made.etag, match_condition=MatchConditions.IfNotModified)
    assert (archived.status, archived.expires is not None) == ("archived", True)
    with pytest.raises(ResourceModifiedError):
        await sdk.recover_snapshot("s 1", etag=made.etag, match_condition=MatchConditions.IfNotModified)
    assert [item.name for item in await sdk.listed("list_snapshots", status=["archived"], name="s*")] == ["s 1"]
    assert (await sdk.recover_snapshot("s 1")).status == "ready"
    assert (await sdk.get_snapshot("s 1", fields=["name", "status"])).etag is None
    with pytest.raises(ResourceNotFoundError):
        await sdk.get_snapshot("none")


async def test_feature_flags_and_secret_references(sdk: Sdk) -> None:
    """Feature flags and Key Vault references come back as what they are."""
    flag = FeatureFlagConfigurationSetting(
        "beta", enabled=True, filters=[{"name": "Percentage", "parameters": {"Value": 50}}]
    )
    found = await sdk.set_configuration_setting(flag)
    assert isinstance(found, FeatureFlagConfigurationSetting)
    assert (found.key, found.enabled) == (".appconfig.featureflag/beta", True)
    assert found.filters == flag.filters
    reference = SecretReferenceConfigurationSetting("password", "https://vault.example/secrets/password")
    await sdk.set_configuration_setting(reference)
    found = await sdk.get_configuration_setting("password")
    assert isinstance(found, SecretReferenceConfigurationSetting)
    assert found.secret_id == "https://vault.example/secrets/password"


async def test_sync_tokens_make_writes_seen(sdk: Sdk, azure: Running, http: Http) -> None:
    """A client sees its own write where others read a stale state; given its token, another client sees it too."""
    http.control("PUT", "faults", {"spec": "stale-read:1h"})
    written = await sdk.put("k", "mine")
    assert (await sdk.get_configuration_setting("k")).etag == written.etag
    token = http.put("/kv/other", json={}).headers["Sync-Token"]
    with AzureAppConfigurationClient.from_connection_string(azure.env["AZURE_APPCONFIG_CONNECTION_STRING"]) as other:
        for _ in range(2):
            with pytest.raises(ResourceNotFoundError):
                other.get_configuration_setting("k")
        other.update_sync_token(token)
        assert other.get_configuration_setting("k") is not None


async def test_any_request(sdk: Sdk) -> None:
    """A request of one's own goes through the client's pipeline, signed."""
    await sdk.put("k")
    answer = await sdk.send_request(HttpRequest("GET", "/keys?api-version=2024-09-01"))
    assert answer.json()["items"] == [{"name": "k"}]


async def test_retries_until_it_works(sdk: Sdk, http: Http) -> None:
    """The SDK waits and tries again when it is throttled or the service breaks."""
    http.control("PUT", "faults", {"spec": "429:1", "times": 2})
    assert (await sdk.put("k", "1")).value == "1"
    http.control("PUT", "faults", {"spec": "503:1", "times": 1})
    assert (await sdk.get_configuration_setting("k")).value == "1"


class _Token:
    """A credential as azure-identity would give it."""

    def get_token(self, *_scopes: str, **_options: Any) -> AccessToken:
        """The well-known token of the emulator."""
        return AccessToken("kvsync-emulator-token", int(time.time()) + 3600)


def test_bearer_tokens_over_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    """With `--tls` the SDK talks HTTPS with a bearer token, as it insists; a wrong token is refused."""
    with azure_emulator(tls=True) as server:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", server.env["REQUESTS_CA_BUNDLE"])
        with AzureAppConfigurationClient(server.url, _Token()) as client:
            client.set_configuration_setting(ConfigurationSetting(key="k", value="v"))
            assert client.get_configuration_setting("k") is not None
    with azure_emulator(token="another") as server:
        client = AzureAppConfigurationClient(server.url, _Token())
        with client, pytest.raises(ClientAuthenticationError):
            client.get_configuration_setting("k", enforce_https=False)
