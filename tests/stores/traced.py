"""The functions of kvsync that lead to a request, compared with the architecture page."""

from __future__ import annotations

import asyncio
import re
import sys
from asyncio.events import Handle
from collections.abc import Coroutine, Mapping
from contextvars import ContextVar, copy_context
from pathlib import Path
from types import FrameType
from typing import Any, cast

import pytest

from kvsync.http.model import Request, Response
from kvsync.http.transport import Transport

ROOT = Path(__file__).parents[2]


def documented_path() -> list[tuple[str, str]]:
    """The functions that the page lists, with their modules, from the command to the transport."""
    page = (ROOT / "docs/architecture.md").read_text()
    return re.findall(r"^\| `(\S+)` in `(\S+)` \|", page, re.MULTILINE)


def traced_writes(monkeypatch: pytest.MonkeyPatch) -> list[list[tuple[str, str]]]:
    """The functions of kvsync that lead to each write that is sent from now on, with their modules."""
    before: ContextVar[tuple[tuple[str, str], ...]] = ContextVar("before", default=())
    exchange, paths = Transport.exchange, []

    def path() -> tuple[tuple[str, str], ...]:
        found: list[tuple[str, str]] = []
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and frame.f_code is not Handle._run.__code__:
            if frame.f_code.co_filename.startswith(f"{ROOT}/kvsync/"):
                found.append((frame.f_code.co_qualname, frame.f_code.co_filename.removeprefix(f"{ROOT}/kvsync/")))
            frame = frame.f_back
        return before.get() + tuple(found[::-1])

    def task(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any], **more: Any) -> asyncio.Task[Any]:
        context = more.pop("context", None) or copy_context()
        context.run(before.set, path())
        return asyncio.Task(work, loop=loop, context=context, **more)

    async def traced(self: Transport, call: Request, headers: Mapping[str, str], seconds: float) -> Response:
        if call.writes:
            paths.append([*path(), (exchange.__qualname__, "http/transport.py")])
        return await exchange(self, call, headers, seconds)

    asyncio.get_running_loop().set_task_factory(cast("Any", task))
    monkeypatch.setattr(Transport, "exchange", traced)
    return paths
