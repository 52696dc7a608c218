"""Several things at once, with nothing left running behind when one of them fails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from typing import TypeVar

_Result = TypeVar("_Result")


async def together(works: Iterable[Awaitable[_Result]]) -> list[_Result]:
    """The results, in order. When one fails the others are cancelled and have ended before its error is raised: a store that is
    then closed stays closed."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def all_of(works: Iterable[Awaitable[_Result]]) -> list[_Result]:
    """The results, in order. All are waited for, so that none goes on behind the back of one that failed."""
    results = await asyncio.gather(*works, return_exceptions=True)
    failures = [result for result in results if isinstance(result, BaseException)]
    if failures:
        raise failures[0]
    return [result for result in results if not isinstance(result, BaseException)]
