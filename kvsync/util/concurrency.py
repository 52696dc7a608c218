"""Structured concurrency: runs several tasks, and cancels the rest when one fails."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


async def gather_or_cancel(works: Iterable[Awaitable[_Result]]) -> list[_Result]:
    """Await all and return the results in order. If one fails, the others are cancelled and awaited before its error is
    raised, so that none of them uses a store after it is closed."""
    tasks = [asyncio.ensure_future(work) for work in works]
    if not tasks:
        return []
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def gather_by_group(
    items: Iterable[_Item],
    work: Callable[[_Item], Awaitable[_Result]],
    *,
    group: Callable[[_Item], str],
    limit: Callable[[str], int],
) -> list[_Result]:
    """Work on every item, at most `limit(group)` items of a group at a time; returns the results in the order of the items.
    When an item fails, the others are still worked on; the first error, in that order, is raised once all are done."""
    items = list(items)
    if len(items) == 1:  # most passes of the daemon: no task is needed
        return [await work(items[0])]
    queues: defaultdict[str, deque[tuple[int, _Item]]] = defaultdict(deque)
    results: dict[int, _Result] = {}
    errors: dict[int, Exception] = {}
    for index, item in enumerate(items):
        queues[group(item)].append((index, item))

    async def drain(queue: deque[tuple[int, _Item]]) -> None:
        while queue:
            index, item = queue.popleft()
            try:
                results[index] = await work(item)
            except Exception as error:  # noqa: BLE001 - it is raised below
                errors[index] = error

    workers = (drain(queue) for name, queue in queues.items() for _ in range(min(limit(name), len(queue))))
    await gather_or_cancel(workers)
    if errors:
        raise errors[min(errors)]
    return [results[index] for index in range(len(results))]
