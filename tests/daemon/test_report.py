"""What the daemon reports of passes whose result cannot be recorded, and of passes that are due already."""

from __future__ import annotations

from typing import Any

from kvsync.daemon.gate import Gate
from kvsync.daemon.report import Reporter
from kvsync.daemon.systemd import SystemdNotifier
from kvsync.errors import ClaimLost, KvsyncError, StateDirError
from kvsync.model.result import PassResult
from kvsync.testing import FakeClock
from tests.daemon.support import A, FakeRecorder, Log

FULL = StateDirError("/state", "the disk is full; free some space and run again")


class FailingRecorder(FakeRecorder):
    """Refuses to record while it has an error."""

    def __init__(self) -> None:
        super().__init__()
        self.error: KvsyncError | None = None

    def record(self, *arguments: Any, **fields: Any) -> None:
        if self.error is not None:
            raise self.error
        super().record(*arguments, **fields)


def reporter_of(recorder: FakeRecorder, clock: FakeClock) -> Reporter:
    return Reporter(recorder, SystemdNotifier({}), Gate((), observe=False, clock=clock), clock)


async def test_a_pass_that_cannot_be_recorded_is_logged_once(log: Log) -> None:
    """A pass with nothing to do fails at nothing else, and `kvsync status` goes on to show an older one."""
    recorder, clock = FailingRecorder(), FakeClock()
    reporter, unchanged = reporter_of(recorder, clock), PassResult(A, digest="sha256:1")
    for error, events in ((FULL, 1), (FULL, 1), (None, 1), (ClaimLost("main/a"), 1), (FULL, 2)):
        recorder.error = error
        reporter.pass_done(unchanged, held=False)
        assert len(log.events("status.unrecorded")) == events
    [first, _] = log.events("status.unrecorded")
    assert (first["error"], first["code"]) == (str(FULL), FULL.code)


async def test_a_retry_that_is_due_already_has_no_negative_wait(log: Log) -> None:
    """Logging takes time, and the moment of the next pass may be over."""
    clock = FakeClock()
    reporter = reporter_of(FakeRecorder(), clock)
    failed = PassResult(A, error="no answer", retryable=True, next_at=clock.now() - 0.1)
    reporter.pass_done(failed, held=False)
    assert [event["retry_in"] for event in log.events("pass.failed")] == [0.0]
