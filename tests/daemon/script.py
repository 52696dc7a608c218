"""A small daemon in a process of its own: `python -m tests.daemon.script MODE`, over a pass that behaves as MODE says."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable

from kvsync.daemon.loop import Daemon
from kvsync.daemon.parts import DaemonOptions
from kvsync.daemon.ports import PassRequest
from kvsync.model.result import PassResult
from tests.daemon.support import QUIET, A, FakeReconciler, FakeRecorder


def say(text: str) -> None:
    print(text, flush=True)


async def batches(request: PassRequest, stop: Callable[[], bool]) -> PassResult:
    """Write batch after batch, slowly, until told to stop."""
    while not stop():
        say("batch begun")
        await asyncio.sleep(0.2)
        say("batch ended")
    return PassResult(request.target)


async def deaf(request: PassRequest, stop: Callable[[], bool]) -> PassResult:
    """Never listen."""
    say("batch begun")
    await asyncio.sleep(3600)
    raise AssertionError


async def stuck(request: PassRequest, stop: Callable[[], bool]) -> PassResult:
    """Block the whole loop until a line comes in."""
    say("stuck")
    sys.stdin.readline()
    say("free")
    return PassResult(request.target)


async def quick(request: PassRequest, stop: Callable[[], bool]) -> PassResult:
    say(f"pass {'+'.join(request.triggers)}")
    return PassResult(request.target)


async def main(mode: str) -> None:
    reconciler = FakeReconciler([A])
    reconciler.scripts[A] = {"batches": batches, "deaf": deaf, "stuck": stuck, "quick": quick}[mode]
    result = await Daemon(
        reconciler, FakeRecorder(), QUIET, DaemonOptions(leave_within=0.3 if mode == "deaf" else 8)
    ).run()
    say(f"left {result.reason} {result.unfinished}")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
