"""Sends one long write while it leads, for `test_fence.py` to stop. Arguments: origin, seconds of the lease, bytes."""

from __future__ import annotations

import asyncio
import sys

from kvsync.errors import StoreError
from kvsync.http.client import Client
from kvsync.http.client_options import ClientLimits, ClientOptions
from kvsync.http.model import Request
from kvsync.model.health import Traffic
from kvsync.util.clock import Clock
from kvsync.util.write_fence import Fence


async def main(origin: str, seconds: float, size: int) -> None:
    clock, fence = Clock(), Fence()
    ends = clock.monotonic() + seconds
    fence.follow(lambda: ends - clock.monotonic())
    options = ClientOptions(limits=ClientLimits(timeout=60), fence=fence)
    client = Client("store x", origin, clock, Traffic(), options)
    try:
        answer = await client.send(Request("PUT", "/a", "writing a", body=bytes(size), expects=(200,)))
        print("answered", answer.status)
    except StoreError as error:
        print(type(error).__name__, error)
    await client.aclose()


asyncio.run(main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3])))
