"""An emulator in a thread, so that clients that block can be tried next to it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from kvsync.emulators.model import Options
from kvsync.emulators.server import Running, running

_SECONDS = 60


@contextmanager
def emulator(type_: str, **options: Any) -> Iterator[Running]:
    """Serve until the end of the block. Raises what the start raises."""
    ready: Future[tuple[Running, asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def serve() -> None:
        stop = asyncio.Event()
        async with running(Options(type_, **options)) as server:
            ready.set_result((server, asyncio.get_running_loop(), stop))
            await stop.wait()

    def work() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:
            if ready.done():
                raise
            ready.set_exception(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    server, loop, stop = ready.result(_SECONDS)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(_SECONDS)
