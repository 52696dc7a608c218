"""The ledger of a namespace in its store, read and written whole, with retries."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from kvsync.errors import PermanentError, TransientError
from kvsync.stores.extensions import LedgerKeeping
from kvsync.stores.pacing import ConcurrencyLimiter, RetryPolicy, RetryState, Stopped
from kvsync.util.clock import Clock

_Result = TypeVar("_Result")


class LedgerInStore:
    """Reads, writes and removes the ledger that `keeper` keeps of one namespace.

    Calls are retried at the pace of the store, until `stop` returns True: a ledger is read and written whole, so each of them
    can be repeated. All methods raise StoreError.
    """

    def __init__(
        self, keeper: LedgerKeeping, namespace: str, pace: ConcurrencyLimiter, clock: Clock, stop: Callable[[], bool]
    ) -> None:
        self._keeper, self._namespace = keeper, namespace
        from random import Random  # a plan does not pay for it

        rng = Random()  # noqa: S311 - spreads retries, guards nothing
        self._patience = RetryState(RetryPolicy(), pace, clock, rng, stop)

    async def read(self) -> bytes | None:
        """The text; None if there is none, empty if it cannot be read whole: it is lost then, and replaced."""
        return await self._retried(self._read)

    async def write(self, text: bytes) -> None:
        """Replace the ledger."""
        await self._retried(lambda: self._keeper.write_ledger(self._namespace, text))

    async def remove(self) -> None:
        """Remove the ledger."""
        await self._retried(lambda: self._keeper.remove_ledger(self._namespace))

    async def _read(self) -> bytes | None:
        try:
            return await self._keeper.read_ledger(self._namespace)
        except PermanentError:
            return b""

    async def _retried(self, call: Callable[[], Awaitable[_Result]]) -> _Result:
        while True:
            try:
                return await call()
            except TransientError as error:
                try:
                    await self._patience.wait(error)
                except Stopped:
                    raise error from None
