"""Tokens that calls in flight share."""

from __future__ import annotations

import asyncio

import pytest

from kvsync.errors import AuthError
from kvsync.http.shared_token import SharedToken


class SignIn:
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
    sign_in, token = SignIn(error), SharedToken[object]()
    calls = [asyncio.create_task(token.newer_than(None, sign_in)) for _ in range(3)]
    await asyncio.sleep(0)
    sign_in.answer.set()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert sign_in.made == 1
    assert set(results) == {error or token.current}


async def test_sign_in_outlives_the_call_that_began_it() -> None:
    """The next call uses the token that a cancelled call requested."""
    sign_in, token = SignIn(), SharedToken[object]()
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
    sign_in, token = SignIn(), SharedToken[object]()
    sign_in.answer.set()
    old = await token.newer_than(None, sign_in)
    new = await token.newer_than(old, sign_in)
    assert await token.newer_than(old, sign_in) is new
    assert sign_in.made == 2


async def test_closing_cancels_the_sign_in() -> None:
    """A call that still waits for a sign-in ends when the store is closed."""
    sign_in, token = SignIn(), SharedToken[object]()
    call = asyncio.create_task(token.newer_than(None, sign_in))
    await asyncio.sleep(0)
    await token.aclose()
    with pytest.raises(asyncio.CancelledError):
        await call
