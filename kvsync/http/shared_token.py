"""Token that is fetched when it is needed, with one fetch for all calls in flight."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

_Token = TypeVar("_Token")


class SharedToken(Generic[_Token]):
    """Holds the newest token. Calls that need a newer one share one fetch, and its error.

    A fetch goes on if the call that waits for it is cancelled, because the next call uses its result: a sign-in can take longer
    than a single call has time.
    """

    def __init__(self) -> None:
        self.current: _Token | None = None
        self._fetching: asyncio.Task[_Token] | None = None

    async def newer_than(self, old: _Token | None, fetch: Callable[[], Coroutine[Any, Any, _Token]]) -> _Token:
        """A token other than `old` (None: any): the current one, or the result of `fetch` or of the fetch under way. Raises
        what the fetch raises."""
        if self.current is not None and self.current is not old:
            return self.current
        if self._fetching is None:
            self._fetching = asyncio.create_task(fetch())
            self._fetching.add_done_callback(self._finish)
        return await asyncio.shield(self._fetching)

    async def aclose(self) -> None:
        """Cancel the fetch under way. Idempotent."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.gather(self._fetching, return_exceptions=True)

    def _finish(self, task: asyncio.Task[_Token]) -> None:
        self._fetching = None
        if not task.cancelled() and task.exception() is None:
            self.current = task.result()
