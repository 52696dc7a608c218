"""Reads request bodies with limits on size and time."""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import web

LARGEST_BODY: Final = 1024 * 1024
"""Bytes. A push of thousands of commits fits, and as many as there are connections do not fill the memory."""

BODY_WITHIN: Final = 10.0
"""Seconds in which a body must have come."""


async def body_of(request: web.Request) -> bytes:
    """The body of a request. One that is too large is refused without being read, one that comes too slowly is not waited for:
    raises HTTPException."""
    if (request.content_length or 0) > LARGEST_BODY:
        raise web.HTTPRequestEntityTooLarge(LARGEST_BODY, request.content_length or 0)
    try:
        async with asyncio.timeout(BODY_WITHIN):
            return await request.read()
    except TimeoutError:
        raise web.HTTPRequestTimeout from None
