"""Runs one pass for the daemon, and turns every exception into a result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from kvsync.daemon.files import Files
from kvsync.daemon.gate import Gate
from kvsync.daemon.ports import PassRequest, Reconciler
from kvsync.daemon.report import Reporter
from kvsync.daemon.triggers import PendingTriggers
from kvsync.daemon.worker import Worker
from kvsync.errors import KvsyncError
from kvsync.model.entry import Target
from kvsync.model.result import PassResult, failed_pass
from kvsync.util.shortage import shortage_of


class PassRunner:
    """Does the workers' passes through the reconciler."""

    def __init__(
        self, reconciler: Reconciler, files: Files, gate: Gate, reporter: Reporter, on_done: Callable[[Target], None]
    ) -> None:
        self._reconciler, self._files, self._gate, self._reporter = reconciler, files, gate, reporter
        self._on_done = on_done

    async def run_pass(self, worker: Worker, ask: PendingTriggers) -> PassResult:
        """Do one pass; whatever goes wrong is in the result."""
        try:
            request = self._request(worker, ask)
            self._reporter.pass_started(request)
            result = await self._reconciler.reconcile(request, lambda: self._must_stop(worker, request))
            return self._next_at_end_of_grace(request, result)
        except KvsyncError as error:
            return failed_pass(worker.target, error)
        except Exception as error:  # noqa: BLE001 - one target's accident is not a reason to leave the others alone
            if (shortage := shortage_of(error)) is not None:
                return failed_pass(worker.target, error, shortage)
            self._reporter.pass_crashed(worker.target)
            return failed_pass(worker.target, error, f"unexpected {type(error).__name__}; the log has the details")

    def pass_done(self, worker: Worker, result: PassResult) -> None:
        """Report a pass, unless its target is no longer managed."""
        if not worker.suspended:
            held = self._files.is_held(worker.target)
            planned = replace(result, next_at=worker.next_pass, next_trigger=worker.next_trigger)
            self._reporter.pass_done(planned, held=held)
        self._on_done(worker.target)

    def _request(self, worker: Worker, ask: PendingTriggers) -> PassRequest:
        target = worker.target
        self._reconciler.read_ahead(target)
        self._gate.set_paused(target, paused=self._reconciler.is_paused(target))
        return PassRequest(
            target, self._gate.may_apply(target), ask.deep, self._files.grace(), tuple(sorted(ask.triggers))
        )

    def _next_at_end_of_grace(self, request: PassRequest, result: PassResult) -> PassResult:
        """Schedule the next pass for when the files are stable, if a removal waits: this pass had the longest grace."""
        if not (request.grace and result.pending and result.next_moment):
            return result
        return replace(result, next_moment=min(result.next_moment, self._files.stable_at()))

    def _must_stop(self, worker: Worker, request: PassRequest) -> bool:
        return worker.must_stop or (request.apply and not self._gate.may_apply(request.target))
