"""Tokens that calls in flight share."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, Final

import pytest

from kvsync.errors import AuthError
from kvsync.http.client import Client
from kvsync.http.entra import EntraToken, Roles, TokenRequest
from kvsync.http.etcd import Password
from kvsync.http.model import Request
from kvsync.http.shared_token import SharedToken
from kvsync.model.health import Traffic
from kvsync.stores.vault_kv.api import Paths
from kvsync.stores.vault_kv.auth import SignIn, VaultToken
from kvsync.testing.clock import FakeClock
from tests.http.script_server import says, serving


class CountedSignIn:
    """A sign-in that waits until `answer` is set, and counts how often it is made."""

    def __init__(self, error: Exception | None = None) -> None:
        self.made, self.answer, self._error = 0, asyncio.Event(), error

    async def __call__(self) -> object:
        self.made += 1
        await self.answer.wait()
        if self._error is not None:
            raise self._error
        return object()


@pytest.mark.parametrize("error", [None, AuthError("refused")])
async def test_calls_in_flight_share_one_sign_in_and_its_error(error: Exception | None) -> None:
    """A sign-in that fails is not repeated for each call that waits for it."""
    sign_in, token = CountedSignIn(error), SharedToken[object]()
    calls = [asyncio.create_task(token.newer_than(None, sign_in)) for _ in range(3)]
    await asyncio.sleep(0)
    sign_in.answer.set()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert sign_in.made == 1
    assert set(results) == {error or token.current}


async def test_sign_in_outlives_the_call_that_began_it() -> None:
    """The next call uses the token that a cancelled call requested."""
    sign_in, token = CountedSignIn(), SharedToken[object]()
    first = asyncio.create_task(token.newer_than(None, sign_in))
    await asyncio.sleep(0)
    first.cancel()
    second = asyncio.create_task(token.newer_than(None, sign_in))
    await asyncio.sleep(0)
    sign_in.answer.set()
    assert await second is token.current
    assert first.cancelled()
    assert sign_in.made == 1


async def test_token_that_was_replaced_meanwhile_is_not_fetched_again() -> None:
    """Of two calls whose old token was refused, the second uses the token of the first."""
    sign_in, token = CountedSignIn(), SharedToken[object]()
    sign_in.answer.set()
    old = await token.newer_than(None, sign_in)
    new = await token.newer_than(old, sign_in)
    assert await token.newer_than(old, sign_in) is new
    assert sign_in.made == 2


CLOCK: Final = FakeClock()


def etcd_password(client: Client) -> Password:
    return Password("store web", client, ("root", lambda: "pass"), lambda _holder, _token: None, "grant it")


def vault_role(client: Client) -> VaultToken:
    return VaultToken(client, Paths("", "secret"), SignIn(None, "approle/login"), CLOCK)


def entra_identity(client: Client) -> EntraToken:
    request = TokenRequest(client.origin, "an application", lambda: Request("GET", "/", "requesting", is_json=True))
    return EntraToken(request, Roles("Reader", "Owner"), "store web", CLOCK)


@pytest.mark.parametrize(
    ("credentials", "answer"),
    [
        (etcd_password, {"token": "token-{}"}),
        (vault_role, {"auth": {"client_token": "token-{}", "lease_duration": 3600}}),
        (entra_identity, {"access_token": "token-{}", "expires_in": 3600}),
    ],
)
async def test_refusal_of_an_older_token_leaves_the_newer_one(
    credentials: Callable[[Client], Any], answer: dict[str, Any]
) -> None:
    """Two calls in flight are refused one after the other: the second is sent again with the token that the first one
    fetched, however recently, and fetches no further one."""
    tokens = [says(200, json.dumps(answer).replace("{}", str(number), 1).encode()) for number in range(3)]
    async with serving(*tokens) as server:
        client = Client("store web", server.origin, CLOCK, Traffic())
        made, call = credentials(client), Request("GET", "/", "reading")
        old = await made.sign(call, "")
        CLOCK.advance(60)
        assert await made.renew(old)
        new = await made.sign(call, "")
        assert await made.renew(old)
        assert new != old
        assert await made.sign(call, "") == new
        assert len(server.seen) == 2
        await made.aclose()
        await client.aclose()


async def test_closing_cancels_the_sign_in() -> None:
    """A call that still waits for a sign-in ends when the store is closed."""
    sign_in, token = CountedSignIn(), SharedToken[object]()
    call = asyncio.create_task(token.newer_than(None, sign_in))
    await asyncio.sleep(0)
    await token.aclose()
    with pytest.raises(asyncio.CancelledError):
        await call
