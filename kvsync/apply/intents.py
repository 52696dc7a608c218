"""Commits intents of concurrent calls together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from kvsync.apply.model import PendingStep


class GroupedIntents:
    """One commit for all calls that become ready in the same turn of the event loop.

    A commit costs as much as a call of one entry. No intent is committed early: each belongs to a call that is sent next, so a
    killed run leaves as few open intents as with a commit for each call. `commit` raises StateDirError.
    """

    def __init__(self, commit: Callable[[Sequence[PendingStep]], None]) -> None:
        self._commit = commit
        self._waiting: list[tuple[Sequence[PendingStep], asyncio.Future[None]]] = []

    async def commit(self, works: Sequence[PendingStep]) -> None:
        """Commit the intents of one call. Raises StateDirError: then nothing of the call may be sent."""
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._commit_all)
        done = loop.create_future()
        self._waiting.append((works, done))
        await done

    def _commit_all(self) -> None:
        waiting, self._waiting = self._waiting, []
        calls = [(works, done) for works, done in waiting if not done.done()]  # a cancelled call is not sent
        try:
            self._commit([work for works, _ in calls for work in works])
        except Exception as error:  # noqa: BLE001 - each of the calls raises it
            for _, done in calls:
                done.set_exception(error)
        else:
            for _, done in calls:
                done.set_result(None)
