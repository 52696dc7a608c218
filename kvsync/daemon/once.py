"""`kvsync run --once`: one pass over all targets."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from kvsync.config.model import RunConfig, Window
from kvsync.daemon.jobs import unless
from kvsync.daemon.parts import DaemonOptions, DaemonParts, assemble
from kvsync.daemon.ports import LoadedTargets, Reconciler, StatusStore
from kvsync.daemon.signals import StopRequest, handling
from kvsync.daemon.systemd import SystemdNotifier
from kvsync.model.entry import Target
from kvsync.model.result import PassResult
from kvsync.util.values import dataclass


@dataclass(frozen=True, slots=True)
class OnceResult:
    """What became of the pass over all targets: the results, sorted by target, and what stood in the way.

    `denied_by` is the window that denied applying, `paused` are the targets a person has paused; `interrupted` names the
    signal that ended it early: then results may be missing.
    """

    results: tuple[PassResult, ...]
    loaded: LoadedTargets
    denied_by: Window | None = None
    paused: tuple[Target, ...] = ()
    interrupted: str | None = None


async def run_once(
    reconciler: Reconciler,
    recorder: StatusStore,
    settings: RunConfig,
    options: DaemonOptions | None = None,
    *,
    deep: bool = False,
) -> OnceResult:
    """Do one pass over every target, all stores at the same time. Raises what reading the files raises.

    SIGTERM and SIGINT let the batches in flight end, for up to `options.leave_within` seconds; a second one cancels them.
    """
    stop = StopRequest()
    options = replace(options or DaemonOptions(), notifier=SystemdNotifier({}))
    parts = assemble(reconciler, recorder, settings, options)
    denied_by = parts.gate.denied_by
    with handling(stop.callbacks):
        if denied_by is not None:
            parts.reporter.log_window()
        if not await unless(stop.asked, parts.begin(deep=deep)):
            return _outcome(parts, denied_by, stop.reason)
        passes, asked = asyncio.ensure_future(parts.pool.pass_once()), asyncio.ensure_future(stop.asked.wait())
        try:
            await asyncio.wait((passes, asked), return_when=asyncio.FIRST_COMPLETED)
        finally:
            asked.cancel()
            await parts.pool.shutdown(stop.hurry, options.leave_within)
            await passes
    return _outcome(parts, denied_by or parts.gate.denied_by, stop.reason)


def _outcome(parts: DaemonParts, denied_by: Window | None, interrupted: str | None) -> OnceResult:
    workers = parts.pool.working
    return OnceResult(
        tuple(worker.last for worker in workers if worker.last is not None),
        parts.files.loaded,
        denied_by,
        tuple(worker.target for worker in workers if parts.gate.is_paused(worker.target)),
        interrupted,
    )
