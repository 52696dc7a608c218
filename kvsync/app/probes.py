"""Asks the probes of waves: HTTP requests and programs that the operator configured."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from kvsync.errors import StoreError
from kvsync.http.client import Client
from kvsync.http.client_options import ClientLimits, ClientOptions
from kvsync.http.failures import cleaned
from kvsync.http.model import Request
from kvsync.model.answer_limits import AnswerLimits
from kvsync.model.health import Traffic
from kvsync.planning.waves import Probe, Wave
from kvsync.util.background import in_background
from kvsync.util.bounded_process import ProcessOutputTooLarge, ProcessTimeout, run_bounded
from kvsync.util.clock import Clock

TRUST: Final = 30.0
"""Seconds for which an answer is used again, unless an earlier wave was written to since: a wave may have thousands of
targets."""

_MOST_BYTES: Final = 64 * 1024
_LABEL: Final = "probe"


class Probes:
    """The probes of a workspace. Programs run in the folder `root` with the environment of this process. `now` is by the steady
    timeline."""

    def __init__(self, root: Path, clock: Clock, now: Callable[[], float]) -> None:
        self._root, self._clock, self._now = root, clock, now
        self._known: dict[Probe, tuple[float, str | None]] = {}
        self._asking = asyncio.Lock()

    async def failures(self, waves: Mapping[int, Wave], since: float) -> dict[int, str]:
        """Why the probes of these waves fail, by wave; those that succeed are missing. `since` is when the earlier waves were
        last written to: older answers say nothing about that."""
        asked = {index: wave.probe for index, wave in waves.items() if wave.probe is not None}
        async with self._asking:
            found = {index: await self._ask(probe, since) for index, probe in asked.items()}
        return {index: why for index, why in found.items() if why is not None}

    async def _ask(self, probe: Probe, since: float) -> str | None:
        """Why the probe fails now, or failed within the last seconds."""
        now = self._now()
        known = self._known.get(probe)
        if known is None or known[0] <= since or not 0 <= now - known[0] < TRUST:
            ask = self._get(probe, probe.http) if probe.http is not None else in_background(lambda: self._run(probe))
            why = await ask
            known = self._known[probe] = (now, None if why is None else f"{probe}: {why}")
        return known[1]

    async def _get(self, probe: Probe, url: str) -> str | None:
        parts = urlsplit(url)
        limits = ClientLimits(probe.timeout, concurrency=1, answers=AnswerLimits(answer=_MOST_BYTES))
        options = ClientOptions(limits=limits, repeats_reads=False)
        client = Client(_LABEL, f"{parts.scheme}://{parts.netloc}", self._clock, Traffic(), options)
        try:
            async with asyncio.timeout(probe.timeout):
                await client.send(Request("GET", parts.path or "/", "the request", expects=range(200, 300)))
        except TimeoutError:
            return f"no answer within {probe.timeout:g} s"
        except StoreError as error:
            return str(error).removeprefix(f"{_LABEL}: ")
        finally:
            await client.aclose()
        return None

    def _run(self, probe: Probe) -> str | None:
        program = probe.command[0]
        path = str(self._root / program) if os.sep in program else shutil.which(program)
        if path is None:
            return "there is no such program in PATH; install it, or write its path"
        command, timeout = (path, *probe.command[1:]), probe.timeout
        try:
            done = run_bounded(command, b"", os.environ, timeout=timeout, most=_MOST_BYTES, folder=self._root)
        except ProcessTimeout:
            return f"it took longer than {timeout:g} s"
        except ProcessOutputTooLarge:
            return f"it wrote more than {_MOST_BYTES // 1024} KiB to stdout"
        except OSError as error:
            return f"cannot run it: {error.strerror}"
        if done.code == 0:
            return None
        said = cleaned(done.error.decode("utf-8", "replace").strip().rpartition("\n")[2])
        return f"exit code {done.code}{f': {said}' if said else ''}"
