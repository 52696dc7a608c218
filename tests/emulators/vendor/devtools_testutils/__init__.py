"""Takes the place of the vendor's package of this name, which is in no package index: its tests then run as live tests, with
nothing recorded or replayed, against the endpoint in the environment."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from azure.core.credentials import AccessToken

_LONGEST = 0.01
"""Seconds that a test sleeps: the emulator is never late."""


class Credential:
    """Signs in with the token that the emulator prints."""

    def get_token(self, *_scopes: str, **_options: Any) -> AccessToken:
        """The token, valid for an hour."""
        return AccessToken(os.environ["AZURE_APPCONFIG_TOKEN"], int(time.time()) + 3600)


class AsyncCredential(Credential):
    """The same for the asynchronous client."""

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:  # type: ignore[override]
        """The token, valid for an hour."""
        return super().get_token(*scopes, **options)

    async def close(self) -> None:
        """Nothing is open."""


def get_credential(*, is_async: bool = False, **_options: Any) -> Credential:
    """The credential of all tests."""
    return AsyncCredential() if is_async else Credential()


class AzureRecordedTestCase:
    """Base class of the vendor's tests."""

    def get_credential(self, _client: type, **options: Any) -> Credential:
        """The credential of all tests."""
        return get_credential(**options)

    def get_resource_name(self, name: str) -> str:
        """A name of a snapshot or key that no other test uses: two tests may begin in the same second."""
        test = os.environ["PYTEST_CURRENT_TEST"].partition(" ")[0]
        return f"{name}{hashlib.sha256(test.encode()).hexdigest()[:8]}"


class EnvironmentVariableLoader:
    """Decorator that passes values of the environment to a test; `names` are the arguments with their defaults."""

    def __init__(self, _directory: str, **names: str) -> None:
        self._values = {name: os.environ.get(name.upper(), default) for name, default in names.items()}

    def __call__(self, test: Callable[..., Any]) -> Callable[..., Any]:
        """The test without arguments."""
        wanted = {name: self._values[name] for name in inspect.signature(test).parameters if name in self._values}
        if inspect.iscoroutinefunction(test):

            async def run_async(self: Any) -> None:
                await test(self, **wanted)

            return run_async

        def run(self: Any) -> None:
            test(self, **wanted)

        return run


def recorded_by_proxy(test: Callable[..., Any]) -> Callable[..., Any]:
    """The test as it is."""
    return test


def is_live() -> bool:
    """False: there are no roles that take minutes until they apply."""
    return False


def _nothing(*_arguments: Any, **_options: Any) -> None:
    """Do nothing: nothing is recorded."""


add_general_regex_sanitizer = remove_batch_sanitizers = set_bodiless_matcher = set_custom_default_matcher = _nothing


@pytest.fixture(scope="session")
def test_proxy() -> None:
    """No proxy."""


@pytest.fixture(scope="session")
def patch_sleep() -> Iterator[None]:
    """Shorten the waits of tests."""
    sleep = time.sleep
    with pytest.MonkeyPatch.context() as patches:
        patches.setattr(time, "sleep", lambda seconds: sleep(min(seconds, _LONGEST)))
        yield


@pytest.fixture(scope="session")
def patch_async_sleep() -> Iterator[None]:
    """The same for asynchronous tests."""
    sleep = asyncio.sleep
    with pytest.MonkeyPatch.context() as patches:
        patches.setattr(asyncio, "sleep", lambda seconds, *rest: sleep(min(seconds, _LONGEST), *rest))
        yield
